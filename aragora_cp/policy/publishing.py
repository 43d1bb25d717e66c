"""PolicyPublisher: new versions, checked before they are in force; rolling back; replaying the past."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aragora_cp.documents import PLATFORM, Case, Document, Judged, PolicyRecords, Scope
from aragora_cp.errors import Conflict, InvalidRequest, NotFound
from aragora_cp.model import Decision, Effect
from aragora_cp.policy.engine import PolicyEngine, compile_documents, outcome
from aragora_cp.policy.requests import PolicyRequest, parse_request
from aragora_cp.policy.rules import SILENT, RuleSet

MODES = ("enforce", "shadow")
MOST_POLICIES = 50
MOST_CASES = 200
#: Decisions that a replay looks at, and differences that it lists.
MOST_REPLAYED = 1000
MOST_LISTED = 50
#: The workspace of a platform policy's tests that name none.
_ANY_WORKSPACE = "default"

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class Difference:
    """A decision of the past that would be another one."""

    judged: Judged
    effect: Effect
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Replay:
    """`unreadable`: requests that another release had kept."""

    replayed: int
    differing: int
    unreadable: int
    differences: tuple[Difference, ...]


class PolicyPublisher:
    """What operators do with policies. Raises StoreUnavailable from every method, InvalidRequest where something
    given is wrong, NotFound for a policy that is not there."""

    def __init__(self, records: PolicyRecords, engine: PolicyEngine) -> None:
        self._records = records
        self._engine = engine

    def current(self, scope: Scope) -> list[Document]:
        """What is in force and what only watches, by name. One round trip."""
        found = self._records.read(scope)
        documents = [*found.enforced.values(), *found.shadows.values()]
        return sorted(documents, key=lambda document: (document.name, document.mode))

    def get(self, scope: Scope, name: str) -> list[Document]:
        """The versions of `name` that are in force or watch. One round trip."""
        found = [document for document in self.current(scope) if document.name == name]
        if not found:
            raise _unknown(name)
        return found

    def publish(
        self, scope: Scope, name: str, *, source: str, cases: Sequence[Case], mode: str, author: str
    ) -> Document:
        """Keep a new version and put it in force, or beside what is in force as a shadow; only when it can be read,
        fits the schema, and its own cases come out as they expect. It holds everywhere within 2 s. Raises Conflict when
        there are MOST_POLICIES. Two round trips."""
        errors: dict[str, list[str]] = {}
        if not NAME.fullmatch(name):
            errors["name"] = ["must be 1 to 63 of a-z, 0-9 and -, beginning with a letter or a digit"]
        if mode not in MODES:
            errors["mode"] = [f"must be one of: {', '.join(MODES)}"]
        if not 1 <= len(cases) <= MOST_CASES:
            errors["tests"] = [f"a version is published with 1 to {MOST_CASES} tests of its own"]
        if errors:
            raise InvalidRequest(errors)
        document = Document(name, source, tuple(cases), mode, author)
        if failures := self.run_cases(scope, document):
            raise InvalidRequest({"tests": failures})
        made = self._records.publish(scope, document, most=MOST_POLICIES)
        self._engine.forget()
        if made is None:
            raise Conflict(f"there are {MOST_POLICIES} policies already")
        return made

    def run_cases(self, scope: Scope, document: Document) -> list[str]:
        """What does not come out as expected, of this version alone: other policies come and go. No round trip."""
        rules = compile_documents(scope, {document.name: document})
        told = []
        for n, case in enumerate(document.cases, start=1):
            try:
                request = parse_request(case.request, scope or _ANY_WORKSPACE)
            except InvalidRequest as error:
                told.append(f"test {n}: {error}")
                continue
            effect, decided_by, _, _ = outcome(request, [rules.judge(request) if rules else SILENT])
            if effect != case.expect:
                told.append(f"test {n}: expected {case.expect}, got {effect} ({', '.join(decided_by) or 'no rule'})")
        return told

    def test(self, workspace: str, scope: Scope, told: Mapping[str, Any], source: str | None) -> Decision:
        """How a request is decided now; with `source` by these rules alone. Nothing is kept."""
        request = parse_request(told, workspace)
        if request.workspace != workspace:
            raise InvalidRequest({"request.workspace": ["must be the one that you act in"]})
        if source is None:
            return self._engine.decide(request)
        rules = compile_documents(scope, {"given": Document("given", source, (), "enforce")})
        effect, decided_by, reason, demand = outcome(request, [rules.judge(request) if rules else SILENT])
        return Decision("", effect, decided_by, "given", reason, request.to_json(), demand)

    def delete(self, scope: Scope, name: str) -> None:
        """Take it out of force, and its shadow. Its versions stay, and can be rolled back to. One round trip."""
        if not self._records.delete(scope, name):
            raise _unknown(name)
        self._engine.forget()

    def roll_back(self, scope: Scope, name: str, number: int | None = None) -> Document:
        """Put version `number` in force, or the one that was in force before the present one. Two round trips."""
        found = self._records.roll_back(scope, name, number)
        self._engine.forget()
        if found is None:
            what = f"version {number}" if number else "earlier version that was in force"
            raise NotFound(f"the policy {name[:64]!r} has no {what}")
        return next(document for document in self.versions(scope, name) if document.number == found)

    def versions(self, scope: Scope, name: str) -> Sequence[Document]:
        """Newest first. One round trip."""
        found = self._records.versions(scope, name)
        if not found:
            raise _unknown(name)
        return found

    def mismatches(self, workspace: str, scope: Scope, name: str) -> tuple[Mapping[int, int], list[Judged]]:
        """How often each version in shadow mode would have decided otherwise in this workspace, and the last of these
        decisions. Two round trips."""
        prefix = f"platform:{name}@" if scope is PLATFORM else f"{name}@"
        counts = {
            int(mark.removeprefix(prefix)): count
            for mark, count in self._records.mismatches(workspace).items()
            if mark.startswith(prefix)
        }
        last = self._records.judged(workspace, MOST_REPLAYED)
        found = [judged for judged in last if any(mark.startswith(prefix) for mark in judged.differing)]
        return counts, found[:MOST_LISTED]

    def replay(self, workspace: str, scope: Scope, name: str, source: str, last: int) -> Replay:
        """The last decisions in this workspace, as they would be with `source` in the place of what `name` has in
        force. Nothing changes. Up to three round trips."""
        compiled = {each: self._engine.compiled(each) for each in (PLATFORM, workspace)}
        candidate = {**compiled[scope].policies.enforced, name: Document(name, source, (), "enforce")}
        rules: dict[Scope, RuleSet | None] = {each: found.rules for each, found in compiled.items()}
        rules[scope] = compile_documents(scope, candidate)
        past = self._records.judged(workspace, min(last, MOST_REPLAYED))
        differences, unreadable = [], 0
        for judged in past:
            try:
                request = _kept_request(judged.request, workspace)
            except InvalidRequest:
                unreadable += 1
                continue
            verdicts = [found.judge(request) if found else SILENT for found in rules.values()]
            effect, decided_by, _, _ = outcome(request, verdicts)
            if effect != judged.effect:
                differences.append(Difference(judged, effect, decided_by))
        return Replay(len(past) - unreadable, len(differences), unreadable, tuple(differences[:MOST_LISTED]))


def _kept_request(text: str, workspace: str) -> PolicyRequest:
    return parse_request(json.loads(text), workspace)


def _unknown(name: str) -> NotFound:
    return NotFound(f"there is no policy {name[:64]!r}")
