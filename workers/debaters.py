"""What a debater is: it argues for one position at a time, and it judges a debate that is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from workers.passages import Passage


@dataclass(frozen=True, slots=True)
class Statement:
    """What one debater said in one round.

    `sources` are the ids of the documents cited in `text`, `quotes` the passages quoted for the position itself.
    `stance` is the position the debater holds after weighing the others': its own, unless it yields. `support` is how
    strongly the evidence speaks for its position, 0 or more, comparable only within one debate; 0 from a debater
    that does not measure it.
    """

    round: int
    position: str
    text: str
    sources: tuple[str, ...]
    quotes: tuple[Passage, ...]
    stance: str
    support: float
    model: str

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "sources": list(self.sources), "quotes": [asdict(quote) for quote in self.quotes]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Statement:
        quotes = tuple(Passage(**quote) for quote in data["quotes"])
        return cls(**{**data, "sources": tuple(data["sources"]), "quotes": quotes})


@dataclass(frozen=True, slots=True)
class Argument:
    """What a debater is asked for: one statement for `position`, one of `positions`, in `round` (from 1).

    `statements` are those of all earlier rounds.
    """

    question: str
    positions: tuple[str, ...]
    position: str
    evidence: tuple[Passage, ...]
    round: int
    statements: tuple[Statement, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "question": self.question,
            "positions": list(self.positions),
            "position": self.position,
            "evidence": [asdict(passage) for passage in self.evidence],
            "round": self.round,
            "statements": [statement.to_json() for statement in self.statements],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Argument:
        return cls(
            question=data["question"],
            positions=tuple(data["positions"]),
            position=data["position"],
            evidence=tuple(Passage(**passage) for passage in data["evidence"]),
            round=data["round"],
            statements=tuple(Statement.from_json(statement) for statement in data["statements"]),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """`confidence` is 0 (none) to 1 (certain)."""

    answer: str
    confidence: float
    consensus_reached: bool


class Debater(Protocol):
    @property
    def model(self) -> str: ...

    def argue(self, argument: Argument) -> Statement: ...

    def judge(self, question: str, positions: Sequence[str], statements: Sequence[Statement]) -> Verdict:
        """`statements`: of all rounds, in their order; at least one for each position."""
        ...
