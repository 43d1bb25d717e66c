"""Decisions a second and core: equal requests again and again, and requests that were never asked before.

python -m bench.policy [--seconds 3]
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator

from aragora_cp.model import NewTask
from aragora_cp.policy.requests import PolicyRequest, Principal, submit_request
from aragora_cp.policy.rules import RuleSet, Source, compile_rules

CALLER = Principal("Token", "bench", "submitter", platform=False)


def rules(count: int, action: str = "submit") -> str:
    """One permit for everybody, and forbids for task types that nobody has."""
    permit = f'@id("all")\npermit(principal, action == Action::"{action}", resource);\n'
    forbids = (
        f'@id("no-{n}")\nforbid(principal, action == Action::"{action}", resource) when {{ '
        f'context.task_type == "secret.{n}" && context.priority == "critical" }};\n'
        for n in range(count - 1)
    )
    return permit + "".join(forbids)


def requests(workspace: str, *, new: bool) -> Iterator[PolicyRequest]:
    for n in itertools.count():
        kind = f"type.{n}" if new else f"type.{n % 10}"
        yield submit_request(CALLER, NewTask(workspace, kind, b"{}", ("code",)))


def rate(decide: Callable[[int], object], seconds: float) -> float:
    """Calls a second of this process's processor time."""
    began, done = time.process_time(), 0
    while time.process_time() - began < seconds:
        for _ in range(200):
            decide(done)
            done += 1
    return done / (time.process_time() - began)


def measure(name: str, sets: dict[str, RuleSet], seconds: float) -> None:
    names = list(sets)
    for told, new in (("asked before", False), ("never asked before", True)):
        asked = {workspace: requests(workspace, new=new) for workspace in names}

        def decide(n: int, asked: dict[str, Iterator[PolicyRequest]] = asked) -> object:
            workspace = names[n % len(names)]
            return sets[workspace].judge(next(asked[workspace]))

        print(f"{name}, {told}: {rate(decide, seconds):,.0f} decisions a second and core")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    seconds = parser.parse_args().seconds
    measure("20 rules", {"acme": compile_rules([Source("p", rules(20))])}, seconds)
    fifty = {f"w-{n}": compile_rules([Source("p", rules(10))]) for n in range(50)}
    measure("500 rules in 50 workspaces", fifty, seconds)


if __name__ == "__main__":
    main()
