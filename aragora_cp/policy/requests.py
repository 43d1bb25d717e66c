"""What the policy is asked, and the Cedar schema that rules are checked against: one table makes both. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_UP, Decimal, InvalidOperation
from functools import cached_property
from typing import Any, NamedTuple

from aragora_cp.errors import InvalidRequest
from aragora_cp.model import MICROS, AgentSpec, Caller, NewTask, Task

Value = str | int | bool | tuple[str, ...]

#: Kinds of principals: a token, an agent that submits a sub-task, a program with the store's own access.
KINDS = ("Token", "Agent", "Service")


class Attribute(NamedTuple):
    """One attribute of a request's context; `kind` as Cedar names it."""

    kind: str
    optional: bool = False


_TASK = {
    "task_type": Attribute("String"),
    "capabilities": Attribute("Set<String>"),
    "priority": Attribute("String"),
}
#: The context of each action.
CONTEXTS: Mapping[str, Mapping[str, Attribute]] = {
    "submit": {
        **_TASK,
        "timeout": Attribute("Long"),  # seconds, rounded up
        "sub_task": Attribute("Bool"),
        "agent_id": Attribute("String", optional=True),
        "model": Attribute("String", optional=True),  # of the agent that the task names
        "estimated_cost": Attribute("decimal", optional=True),
    },
    "register": {
        "agent_id": Attribute("String"),
        "capabilities": Attribute("Set<String>"),
        "task_types": Attribute("Set<String>"),
        "model": Attribute("String"),
        "shared": Attribute("Bool"),
    },
    "read": {"kind": Attribute("String")},  # tasks, agents, approvals, audit, tokens, workspaces
    "approve": {**_TASK, "submitted_by": Attribute("String")},  # to reject is the same right
}

_ATTRIBUTES = "{ role: String, platform: Bool }"


def schema_text() -> str:
    """The schema, as Cedar writes it."""
    lines = ["entity Workspace;", *(f"entity {kind} in [Workspace] = {_ATTRIBUTES};" for kind in KINDS)]
    for action, context in CONTEXTS.items():
        told = ", ".join(f"{name}{'?' if each.optional else ''}: {each.kind}" for name, each in context.items())
        lines.append(
            f"action {action} appliesTo {{ principal: [{', '.join(KINDS)}], resource: [Workspace], "
            f"context: {{ {told} }} }};"
        )
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `platform`: not a workspace's own."""

    kind: str
    name: str
    role: str
    platform: bool

    @classmethod
    def of(cls, caller: Caller) -> Principal:
        return cls("Token", caller.token_id, caller.role.value, caller.workspace is None)


@dataclass(frozen=True)
class PolicyRequest:
    """One question. Equal ones are answered equally by one version of the rules: Cedar has no clock and no state."""

    action: str
    principal: Principal
    workspace: str
    #: Sorted by name.
    context: tuple[tuple[str, Value], ...] = field(default=())

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """What a decision depends on."""
        return (self.action, self.principal, self.workspace, self.context)

    @cached_property
    def cedar_context(self) -> str:
        """The context, as Cedar reads it."""
        kinds = CONTEXTS[self.action]
        return json.dumps({name: _as_cedar(kinds[name].kind, value) for name, value in self.context})

    def to_json(self) -> str:
        told = self.principal
        return json.dumps(
            {
                "action": self.action,
                "principal": {"kind": told.kind, "id": told.name, "role": told.role, "platform": told.platform},
                "workspace": self.workspace,
                "context": {name: list(value) if isinstance(value, tuple) else value for name, value in self.context},
            }
        )


def submit_request(principal: Principal, new: NewTask, *, model: str | None = None) -> PolicyRequest:
    """May this task be submitted? `model` is that of the agent which the task names."""
    context: dict[str, Value] = {
        "task_type": new.task_type,
        "capabilities": tuple(sorted(new.required_capabilities)),
        "priority": new.priority.label,
        "timeout": -int(-new.timeout // 1),
        "sub_task": new.parent_id is not None,
    }
    if new.agent_id is not None:
        context["agent_id"] = new.agent_id.rpartition("/")[2]
    if model is not None:
        context["model"] = model
    if new.estimate_micros is not None:
        context["estimated_cost"] = f"{Decimal(new.estimate_micros) / MICROS:f}"
    return _request("submit", principal, new.workspace, context)


def register_request(principal: Principal, workspace: str, spec: AgentSpec) -> PolicyRequest:
    """May this agent be registered?"""
    context: dict[str, Value] = {
        "agent_id": spec.agent_id,
        "capabilities": tuple(sorted(spec.capabilities)),
        "task_types": tuple(sorted(spec.task_types)),
        "model": spec.model,
        "shared": spec.workspace is None,
    }
    return _request("register", principal, workspace, context)


def read_request(principal: Principal, workspace: str, kind: str) -> PolicyRequest:
    """May things of this kind be read?"""
    return _request("read", principal, workspace, {"kind": kind})


def approve_request(principal: Principal, task: Task, submitted_by: str) -> PolicyRequest:
    """May they approve or reject this task?"""
    context: dict[str, Value] = {
        "task_type": task.task_type,
        "capabilities": tuple(sorted(task.required_capabilities)),
        "priority": task.priority.label,
        "submitted_by": submitted_by,
    }
    return _request("approve", principal, task.workspace, context)


def parse_request(told: Mapping[str, Any], workspace: str) -> PolicyRequest:
    """A request as people write it (and as `to_json` does), in `workspace` unless it names one.

    Raises InvalidRequest."""
    errors: dict[str, list[str]] = {}
    for name in set(told) - {"action", "principal", "workspace", "context"}:
        errors[name] = ["Unknown field."]
    action, given = str(told.get("action")), told.get("context", {})
    if action not in CONTEXTS:
        errors["action"] = [f"must be one of: {', '.join(CONTEXTS)}"]
    context: dict[str, Value] = {}
    if not isinstance(given, Mapping):
        errors["context"] = ["must be an object"]
    elif action in CONTEXTS:
        context = _read_context(CONTEXTS[action], given, errors)
    principal = _read_principal(told.get("principal"), errors)
    named = told.get("workspace", workspace)
    if not isinstance(named, str) or not named:
        errors["workspace"] = ["must be a workspace's name"]
    if errors or principal is None:
        raise InvalidRequest(errors)
    return _request(action, principal, named, context)


def _request(action: str, principal: Principal, workspace: str, context: Mapping[str, Value]) -> PolicyRequest:
    return PolicyRequest(action, principal, workspace, tuple(sorted(context.items())))


def _read_principal(told: Any, errors: dict[str, list[str]]) -> Principal | None:
    if not isinstance(told, Mapping) or not isinstance(told.get("role"), str):
        errors["principal"] = ["must be an object with a role"]
        return None
    kind, name, platform = told.get("kind", "Token"), told.get("id", "any"), told.get("platform", False)
    if set(told) - {"kind", "id", "role", "platform"} or kind not in KINDS or not isinstance(name, str):
        errors["principal"] = [f"has role, and may have id, kind ({', '.join(KINDS)}) and platform"]
        return None
    if not isinstance(platform, bool):
        errors["principal"] = ["platform must be true or false"]
        return None
    return Principal(kind, name, told["role"], platform)


def _read_context(
    known: Mapping[str, Attribute], given: Mapping[str, Any], errors: dict[str, list[str]]
) -> dict[str, Value]:
    context: dict[str, Value] = {}
    for name in given.keys() - known.keys():
        errors[f"context.{name}"] = [f"is no attribute of this action; there are {', '.join(known)}"]
    for name, attribute in known.items():
        if name in given:
            value = _read_value(attribute.kind, given[name])
            if value is None:
                errors[f"context.{name}"] = [f"must be of Cedar's type {attribute.kind}"]
            else:
                context[name] = value
        elif not attribute.optional:
            errors[f"context.{name}"] = ["is missing"]
    return context


def _read_value(kind: str, value: Any) -> Value | None:
    """`value` as a request keeps it, None when it is not of that kind."""
    if kind == "String":
        return value if isinstance(value, str) else None
    if kind == "Bool":
        return value if isinstance(value, bool) else None
    if kind == "Long":
        return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None
    if kind == "decimal":
        return value if isinstance(value, str) and _is_amount(value) else None
    return _read_texts(value)


def _read_texts(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, Iterable) and not isinstance(value, str) and all(isinstance(each, str) for each in value):
        return tuple(sorted(set(value)))
    return None


def _is_amount(text: str) -> bool:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return False
    return amount.is_finite() and abs(amount) < 10**12


def _as_cedar(kind: str, value: Value) -> Any:
    if kind == "decimal":
        # Cedar's decimals have four digits; rounded up, no cost passes a limit that it is above.
        return {"__extn": {"fn": "decimal", "arg": f"{Decimal(str(value)).quantize(Decimal('0.0001'), ROUND_UP):f}"}}
    return list(value) if isinstance(value, tuple) else value
