"""Policies as they are kept: named, in versions that never change; and the seam to where that is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from aragora_cp.model import Decision

#: Policies of the platform: they stand above every workspace's.
PLATFORM = None

Scope = str | None


@dataclass(frozen=True, slots=True)
class Case:
    """A test of a policy: a request, and how it is to be decided."""

    request: Mapping[str, Any]
    expect: str


@dataclass(frozen=True, slots=True)
class Document:
    """One version of one policy. `number` and `created_at` (ms) are the store's to give."""

    name: str
    source: str
    cases: tuple[Case, ...]
    mode: str
    author: str = ""
    number: int = 0
    created_at: int = 0

    @property
    def mark(self) -> str:
        return f"{self.name}@{self.number}"

    def to_json(self) -> str:
        """Without what the store gives."""
        told = asdict(self)
        return json.dumps({name: told[name] for name in ("name", "source", "cases", "mode", "author")})

    @classmethod
    def from_json(cls, text: str, number: int, created_at: int) -> Document:
        told = json.loads(text)
        cases = tuple(Case(**case) for case in told.pop("cases"))
        return cls(**told, cases=cases, number=number, created_at=created_at)


@dataclass(frozen=True, slots=True)
class Policies:
    """All policies of a scope that are in force, and those that only watch; by name. `revision` grows with each
    change."""

    revision: int = 0
    enforced: Mapping[str, Document] = field(default_factory=dict)
    shadows: Mapping[str, Document] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judged:
    """A decision of the past, from the stream that a workspace keeps of them."""

    decision_id: str
    effect: str
    rules: tuple[str, ...]
    version: str
    reason: str
    request: str
    differing: tuple[str, ...]
    actor: str
    target: str
    at: int


class PolicyRecords(Protocol):
    """Where policies are kept. Raises StoreUnavailable from every method. A change is told to local caches."""

    def read(self, scope: Scope) -> Policies: ...

    def publish(self, scope: Scope, document: Document, *, most: int) -> Document | None:
        """Keep a new version and put it in force, or in its place as a shadow; None when there are `most` policies."""
        ...

    def delete(self, scope: Scope, name: str) -> bool:
        """Take it out of force; its versions stay. False when it was not in force in any mode."""
        ...

    def roll_back(self, scope: Scope, name: str, number: int | None) -> int | None:
        """Put an earlier version in force (None: the one before the present one); None when there is none."""
        ...

    def versions(self, scope: Scope, name: str) -> Sequence[Document]:
        """Newest first; empty when there is no such policy."""
        ...

    def judged(self, workspace: str, last: int) -> Sequence[Judged]:
        """The last decisions in a workspace, newest first."""
        ...

    def mismatches(self, workspace: str) -> Mapping[str, int]:
        """By `<policy>@<version>`: how often a shadow would have decided otherwise."""
        ...

    def note(self, workspace: str, decision: Decision, *, action: str, actor: str, target: str, corr: str) -> None:
        """Keep a decision that no other script keeps; one that denies goes into the trail."""
        ...
