"""Loads `lua/*.lua` and runs them by digest. A script is its own text behind the shared fragments and the tables
(keys, legal moves) rendered from their Python originals.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import redis
from redis.exceptions import NoScriptError, ResponseError

from aragora_cp.model import LEGAL_MOVES, ErrorCode
from aragora_cp.store.keys import COMMON_KEYS, FLEET_KEYS, WORKSPACE_KEYS, lua_table
from aragora_cp.telemetry.meters import BOUNDS_MS
from aragora_cp.telemetry.origin import Origin, present

_LIBRARY = {
    "workspace": (
        "clock",
        "trail",
        "counts",
        "record",
        "tenant",
        "backlog",
        "windows",
        "ageing",
        "journal",
        "limits",
        "calendar",
        "budgets",
        "usage",
        "lifecycle",
        "decisions",
        "approvals",
    ),
    "fleet": ("clock", "trail", "breaker", "lanes", "calls", "alerts"),
    "trail": ("clock", "trail", "streams"),
    "flags": ("clock", "trail", "flags"),
    "policy": ("clock", "trail", "decisions"),
}
_KEYS = {
    "workspace": WORKSPACE_KEYS,
    "fleet": FLEET_KEYS,
    "trail": COMMON_KEYS,
    "flags": COMMON_KEYS,
    "policy": COMMON_KEYS,
}


@dataclass(frozen=True, slots=True)
class Script:
    name: str
    source: str
    sha: str


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a script: its root key (which decides the slot) and its arguments. `origin` is where the present call
    comes from, for the audit trail."""

    script: Script
    root: str
    args: tuple[Any, ...]
    origin: Origin = field(default_factory=present)

    @property
    def argv(self) -> tuple[Any, ...]:
        """All that the script gets: the last argument is its origin."""
        return (*self.args, str(self.origin))


def _moves() -> str:
    rows = (
        f"  {status} = {{{', '.join(f'{to} = true' for to in sorted(targets))}}},"
        for status, targets in LEGAL_MOVES.items()
    )
    return "\n".join(("local MOVES = {", *rows, "}"))


def _figures() -> str:
    """What counting knows: the bounds of the buckets, and the codes that have a figure of their own."""
    codes = ", ".join(f"['{code}'] = true" for code in ErrorCode)
    return f"local BOUNDS_MS = {{{', '.join(map(str, BOUNDS_MS))}}}\nlocal CODES = {{{codes}}}"


@cache
def script(name: str) -> Script:
    """The script `lua/<name>.lua`. Its first line names its home: ``-- home: workspace``, ``-- home: fleet``, or
    ``-- home: trail``, ``-- home: flags`` or ``-- home: policy`` for one that works on what either has."""
    folder = files("aragora_cp.store") / "lua"
    body = (folder / f"{name}.lua").read_text()
    home = body.split("\n", 1)[0].removeprefix("-- home:").strip()
    parts = [lua_table(_KEYS[home])]
    if home == "workspace":
        parts += [_moves(), _figures()]
    parts += [(folder / "lib" / f"{part}.lua").read_text() for part in _LIBRARY[home]]
    source = "\n".join((*parts, body))
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def run(client: redis.Redis, call: Call) -> Any:
    """Run one script: one round trip, and a second the first time a server sees it."""
    try:
        return client.evalsha(call.script.sha, 1, call.root, *call.argv)
    except NoScriptError:
        return client.eval(call.script.source, 1, call.root, *call.argv)


def run_all(
    client: redis.Redis, calls: Sequence[Call], extra: Iterable[tuple[Any, ...]] = (), *, raise_errors: bool = True
) -> list[Any]:
    """Run `extra` plain commands and then `calls` in one round trip; answers are the calls' own.

    Not a transaction: each call stands for itself. Raises the first error of any of them, after all have run; without
    `raise_errors` a server's refusal stands in its call's place.
    """
    extra = list(extra)
    pipe = client.pipeline(transaction=False)
    for command in extra:
        pipe.execute_command(*command)
    for call in calls:
        pipe.evalsha(call.script.sha, 1, call.root, *call.argv)
    answers = pipe.execute(raise_on_error=False)
    for n, call in enumerate(calls, start=len(extra)):
        if isinstance(answers[n], NoScriptError):
            answers[n] = client.eval(call.script.source, 1, call.root, *call.argv)
    for answer in answers:
        if isinstance(answer, Exception) and (raise_errors or not isinstance(answer, ResponseError)):
            raise answer
    return answers[len(extra) :]
