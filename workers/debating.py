"""The course of a debate: rounds of statements made as sub-tasks, then a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from workers.debaters import Argument, Debater, Statement
from workers.evidence import PASSAGE_CHARS, select
from workers.passages import split_all
from workers.positions import default_positions

ARGUE = "debate.argue"


class Conference(Protocol):
    """What a debate needs of its task's context."""

    def submit(self, task_type: str, payload: dict[str, Any], *, required_capabilities: Sequence[str] = ()) -> str: ...

    def wait(self, *task_ids: str, step_aside: bool = False) -> list[Any]: ...

    def progress(self, percent: float | None = None, message: str | None = None) -> None: ...


def debate(
    question: str,
    *,
    documents: Sequence[Mapping[str, str]],
    positions: Sequence[str],
    rounds: int,
    debater: Debater,
    conference: Conference,
) -> dict[str, Any]:
    """Runs a debate; `positions` may be empty, `documents` are `[{"id", "text"}]`.

    All debaters of a round speak at the same time, knowing every earlier round. Between rounds the task steps aside and
    is run again from its start, so all of this must come out the same each time: it depends on the arguments and on the
    statements alone. Returns `{"answer", "confidence", "consensus_reached", "transcript", "model"}`.
    """
    passages = split_all(documents, longest=PASSAGE_CHARS)
    sides = tuple(positions) or default_positions(question, passages)
    evidence = select(passages, question, sides)
    statements: tuple[Statement, ...] = ()
    for number in range(1, rounds + 1):
        sub_tasks = [
            conference.submit(
                ARGUE,
                Argument(question, sides, side, evidence, number, statements).to_json(),
                required_capabilities=("debate",),
            )
            for side in sides
        ]
        said = conference.wait(*sub_tasks, step_aside=True)
        statements += tuple(Statement.from_json(statement) for statement in said)
        conference.progress(round(95 * number / rounds), f"round {number} of {rounds} is over")
    verdict = debater.judge(question, sides, statements)
    return {
        "answer": verdict.answer,
        "confidence": verdict.confidence,
        "consensus_reached": verdict.consensus_reached,
        "transcript": [
            {
                "round": statement.round,
                "speaker": f"debater {sides.index(statement.position) + 1}",
                "position": statement.position,
                "text": statement.text,
                "sources": list(statement.sources),
            }
            for statement in statements
        ],
        "model": ", ".join(dict.fromkeys([*(statement.model for statement in statements), debater.model])),
    }
