"""Short ways to write rules and requests."""

from __future__ import annotations

from typing import Any

from aragora_cp.documents import Case, Document, Scope
from aragora_cp.model import Decision, NewTask, Task
from aragora_cp.policy.engine import compile_documents, outcome
from aragora_cp.policy.requests import PolicyRequest, Principal, parse_request, submit_request
from tests.fleet import Fleet

SUBMITTER = Principal("Token", "submitter-1", "submitter", platform=False)

ALL = '@id("all") permit(principal, action, resource);'
TWO_FOR_CRITICAL = (
    '@id("two") @approval("2") @expires("60") permit(principal, action == Action::"submit", resource) '
    'when { context.priority == "critical" };'
)
ONE_FOR_ALL = '@id("one") @approval("1") permit(principal, action == Action::"submit", resource);'
NO_ROOT = (
    '@id("no-root") forbid(principal, action == Action::"submit", resource) '
    'when { context.capabilities.contains("root") };'
)
#: Overflows for a time limit of two seconds or more: a rule that cannot be evaluated.
OVERFLOWS = (
    '@id("broken") forbid(principal, action == Action::"submit", resource) '
    "when { context.timeout * 9223372036854775807 < 0 };"
)


def told(action: str = "submit", *, role: str = "submitter", **context: Any) -> dict[str, Any]:
    """A request as people write it."""
    whole = {"task_type": "t", "capabilities": ["code"], "priority": "normal", "timeout": 1, "sub_task": False}
    return {"action": action, "principal": {"role": role}, "context": (whole if action == "submit" else {}) | context}


def request(
    action: str = "submit", *, workspace: str = "acme", role: str = "submitter", **context: Any
) -> PolicyRequest:
    return parse_request(told(action, role=role, **context), workspace)


def publish(
    fleet: Fleet,
    source: str,
    *,
    name: str = "rules",
    scope: Scope = "acme",
    mode: str = "enforce",
) -> Document:
    """With a case that comes out as it expects."""
    return fleet.policies.publish(
        scope, name, source=source, cases=(passing_case(source, name),), mode=mode, author="token:op"
    )


def passing_case(source: str, name: str = "rules") -> Case:
    """A case that comes out as it expects."""
    rules = compile_documents("acme", {name: Document(name, source, (), "enforce")})
    assert rules is not None
    return Case(told(), outcome(request(), [rules.judge(request())])[0].value)


def judge(fleet: Fleet, new: NewTask) -> Decision:
    return fleet.policy.require(submit_request(SUBMITTER, new), actor="token:submitter-1", target="")


def submit(fleet: Fleet, **more: Any) -> Task:
    """A submit as the API makes it: judged, then admitted."""
    new = fleet.new(actor="token:submitter-1", **more)
    return fleet.scheduler.submit(new, decision=judge(fleet, new))[0]
