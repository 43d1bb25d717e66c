"""Rules in Cedar: read, checked and evaluated by `cedarpy`; parsed once a version, apart by action. Pure."""

from __future__ import annotations

import json
import re
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

import cedarpy

from aragora_cp.errors import InvalidRequest
from aragora_cp.model import Demand
from aragora_cp.policy.requests import CONTEXTS, PolicyRequest, Principal, schema_text

MOST_RULES = 500
MOST_SOURCE = 64 * 1024
MOST_QUORUM = 10
#: For how long approval is asked when the rule does not say so, and the longest that it may say, in seconds.
APPROVAL_EXPIRES = 86400
LONGEST_APPROVAL = 30 * 86400
#: Verdicts that one set of rules keeps.
VERDICTS_KEPT = 20_000

_RULE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_POLICY_IN_ERROR = re.compile(r"`([^`]+)`")
_ANNOTATIONS = {"id", "approval", "expires", "description"}


@dataclass(frozen=True, slots=True)
class Source:
    """One policy's rules; `label` stands before the names of its rules."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one set of rules says. `silent`: it has no rule for this action. `failed` are rules that could not be
    evaluated: then it does not allow, whatever the others say (Cedar alone would pass over a forbid that fails)."""

    allowed: bool
    rules: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    demand: Demand | None = None
    silent: bool = False


SILENT = Verdict(allowed=True, silent=True)


@dataclass(slots=True)
class RuleSet:
    """The rules of one version, ready to be asked. Safe to share between threads."""

    partitions: Mapping[str, cedarpy.PolicySet]
    demands: Mapping[str, Demand]
    kept: OrderedDict[Any, Verdict] = field(default_factory=OrderedDict)

    def judge(self, request: PolicyRequest) -> Verdict:
        """Equal requests get the verdict that the first one got."""
        partition = self.partitions.get(request.action)
        if partition is None:
            return SILENT
        found = self.kept.get(request.key)
        if found is None:
            found = self.evaluate(partition, request)
            self.kept[request.key] = found
            if len(self.kept) > VERDICTS_KEPT:
                self.kept.popitem(last=False)
        return found

    def evaluate(self, partition: cedarpy.PolicySet, request: PolicyRequest) -> Verdict:
        """As Cedar has it, without what is kept."""
        principal, workspace = request.principal, {"type": "Workspace", "id": request.workspace}
        answer = cedarpy.is_authorized(
            {
                "principal": {"type": principal.kind, "id": principal.name},
                "action": {"type": "Action", "id": request.action},
                "resource": workspace,
                "context": request.cedar_context,
            },
            partition,
            _entities(principal, request.workspace),
        )
        errors = answer.diagnostics.errors
        if errors or answer.decision is cedarpy.Decision.NoDecision:
            return Verdict(allowed=False, failed=tuple(sorted(map(_failed_rule, errors))) or ("request",))
        rules = tuple(sorted(answer.diagnostics.reasons))
        demands = [self.demands[rule] for rule in rules if rule in self.demands] if answer.allowed else []
        return Verdict(answer.allowed, rules, demand=strictest(demands))


def strictest(demands: Iterable[Demand | None]) -> Demand | None:
    """What satisfies all of `demands`: the most people, in the shortest time."""
    told = [demand for demand in demands if demand is not None]
    if not told:
        return None
    return Demand(max(demand.quorum for demand in told), min(demand.expires_ms for demand in told))


def compile_rules(sources: Sequence[Source]) -> RuleSet:
    """Read `sources` together. Raises InvalidRequest (field `source`) for what is no Cedar, has no name, or does not
    fit the schema."""
    partitions: dict[str, dict[str, Any]] = defaultdict(dict)
    demands: dict[str, Demand] = {}
    for source in sources:
        for name, rule in _read(source).items():
            for action in _actions(rule["action"]):
                partitions[action][name] = rule
            if (demand := _demand(name, rule)) is not None:
                demands[name] = demand
    return RuleSet({action: _policy_set(rules) for action, rules in partitions.items()}, demands)


def _read(source: Source) -> dict[str, Any]:
    """Rules by name, in Cedar's own JSON."""
    if len(source.text.encode()) > MOST_SOURCE:
        raise _wrong(f"must have at most {MOST_SOURCE} bytes")
    try:
        told = json.loads(cedarpy.policies_to_json_str(source.text))
    except ValueError as error:
        raise _wrong(f"is not Cedar: {str(error)[:500]}") from None
    if told.get("templates"):
        raise _wrong("has a template (?principal or ?resource); rules must be whole")
    rules = told["staticPolicies"]
    if not 1 <= len(rules) <= MOST_RULES:
        raise _wrong(f"must have 1 to {MOST_RULES} rules")
    named: dict[str, Any] = {}
    for rule in rules.values():
        rule_id = rule.get("annotations", {}).get("id") or ""
        if not _RULE_ID.fullmatch(rule_id):
            raise _wrong('every rule needs a name: @id("…"), 1 to 64 of letters, digits and . _ -')
        if f"{source.label}/{rule_id}" in named:
            raise _wrong(f"two rules are called {rule_id!r}")
        named[f"{source.label}/{rule_id}"] = rule
    checked = cedarpy.validate_policies(source.text, _schema())
    if not checked.validation_passed:
        raise _wrong(*(str(each.error)[:500] for each in checked.errors[:10]))
    return named


def _actions(head: Mapping[str, Any]) -> Sequence[str]:
    """The actions that a rule is about."""
    if head["op"] == "All":
        return tuple(CONTEXTS)
    told = head["entities"] if "entities" in head else [head["entity"]]
    return [each.get("__entity", each)["id"] for each in told]


def _demand(name: str, rule: Mapping[str, Any]) -> Demand | None:
    notes = rule.get("annotations", {})
    if unknown := set(notes) - _ANNOTATIONS:
        raise _wrong(
            f"{name}: there is no annotation @{sorted(unknown)[0]}; known are {', '.join(sorted(_ANNOTATIONS))}"
        )
    if "approval" not in notes:
        if "expires" in notes:
            raise _wrong(f"{name}: @expires goes with @approval")
        return None
    if rule["effect"] != "permit" or list(_actions(rule["action"])) != ["submit"]:
        raise _wrong(f'{name}: @approval stands on a permit whose action is == Action::"submit"')
    quorum = _whole(name, "approval", notes["approval"] or "1", MOST_QUORUM)
    seconds = _whole(name, "expires", notes.get("expires") or str(APPROVAL_EXPIRES), LONGEST_APPROVAL)
    return Demand(quorum, seconds * 1000)


def _whole(name: str, note: str, text: str, most: int) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text) or int(text) > most:
        raise _wrong(f"{name}: @{note} must be a whole number from 1 to {most}")
    return int(text)


def _policy_set(rules: Mapping[str, Any]) -> cedarpy.PolicySet:
    return cedarpy.PolicySet.from_json_str(json.dumps({"staticPolicies": rules, "templates": {}, "templateLinks": []}))


def _failed_rule(error: str) -> str:
    found = _POLICY_IN_ERROR.search(error)
    return found[1] if found else "request"


@cache
def _schema() -> cedarpy.Schema:
    return cedarpy.Schema.from_str(schema_text())


@lru_cache(maxsize=10_000)
def _entities(principal: Principal, workspace: str) -> cedarpy.Entities:
    home = {"type": "Workspace", "id": workspace}
    return cedarpy.Entities.from_json_str(
        json.dumps(
            [
                {"uid": home, "attrs": {}, "parents": []},
                {
                    "uid": {"type": principal.kind, "id": principal.name},
                    "attrs": {"role": principal.role, "platform": principal.platform},
                    "parents": [] if principal.platform else [home],
                },
            ]
        )
    )


def _wrong(*what: str) -> InvalidRequest:
    return InvalidRequest({"source": list(what)})
