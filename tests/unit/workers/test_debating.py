import json
from collections.abc import Sequence
from typing import Any

import pytest

from workers.debaters import Argument, Debater, Statement
from workers.debating import ARGUE, debate
from workers.extractive import ExtractiveDebater

DOCUMENTS = [
    {"id": "ops", "text": "Redis lost messages twice last year. The team knows Redis well."},
    {
        "id": "bench",
        "text": "RabbitMQ keeps messages on disk. RabbitMQ does not lose messages when a node fails. "
        "Redis handled 40,000 messages a second.",
    },
]
QUESTION = "Which broker should carry our messages?"


class SteppedAside(BaseException):
    """The handler is unwound until its sub-tasks are final."""


class Plane:
    """A control plane of one process: sub-tasks are done between two runs of their parent, as JSON."""

    def __init__(self, debater: Debater) -> None:
        self.debater = debater
        self.payloads: list[Any] = []
        self.results: dict[str, Any] = {}
        self.progressed: list[float | None] = []
        self.runs = 0

    def run(self, **arguments: Any) -> dict[str, Any]:
        while True:
            self.runs += 1
            self.submitted = 0
            try:
                return debate(debater=self.debater, conference=self, **arguments)
            except SteppedAside:
                for n in range(len(self.results), len(self.payloads)):
                    argument = Argument.from_json(self.payloads[n])
                    self.results[str(n)] = json.loads(json.dumps(self.debater.argue(argument).to_json()))

    def submit(self, task_type: str, payload: dict[str, Any], *, required_capabilities: Sequence[str] = ()) -> str:
        assert task_type == ARGUE
        assert tuple(required_capabilities) == ("debate",)
        sent = json.loads(json.dumps(payload))
        n = self.submitted
        self.submitted += 1
        if n < len(self.payloads):
            assert self.payloads[n] == sent, "run again, the parent must submit the same"
        else:
            self.payloads.append(sent)
        return str(n)

    def wait(self, *task_ids: str, step_aside: bool = False) -> list[Any]:
        assert step_aside
        if any(task_id not in self.results for task_id in task_ids):
            raise SteppedAside
        return [self.results[task_id] for task_id in task_ids]

    def progress(self, percent: float | None = None, message: str | None = None) -> None:
        self.progressed.append(percent)


def run(question: str = QUESTION, **arguments: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {"documents": DOCUMENTS, "positions": ["Redis", "RabbitMQ"], "rounds": 2}
    return Plane(ExtractiveDebater()).run(question=question, **{**defaults, **arguments})


def test_the_best_supported_position_wins_with_its_quotes() -> None:
    result = run()

    assert result["answer"].startswith("RabbitMQ: “RabbitMQ ")
    assert "“RabbitMQ keeps messages on disk.” [bench]" in result["answer"]
    assert result["model"] == "extractive"
    assert 0.4 < result["confidence"] < 2 / 3
    assert result["consensus_reached"] is True


def test_every_debater_speaks_in_every_round_and_later_rounds_answer_earlier_ones() -> None:
    transcript = run()["transcript"]

    assert [(said["round"], said["speaker"], said["position"]) for said in transcript] == [
        (1, "debater 1", "Redis"),
        (1, "debater 2", "RabbitMQ"),
        (2, "debater 1", "Redis"),
        (2, "debater 2", "RabbitMQ"),
    ]
    assert transcript[0]["sources"] == ["bench", "ops"]
    assert "Against “Redis”: “Redis lost messages twice last year.” [ops]." in transcript[3]["text"]
    assert "yields" in transcript[2]["text"]


def test_a_round_is_one_step_aside_and_all_its_debaters_know_the_rounds_before() -> None:
    plane = Plane(ExtractiveDebater())

    plane.run(question=QUESTION, documents=DOCUMENTS, positions=["Redis", "RabbitMQ"], rounds=3)

    assert plane.runs == 4
    assert [(p["round"], len(p["statements"])) for p in plane.payloads] == [
        (1, 0), (1, 0), (2, 2), (2, 2), (3, 4), (3, 4),
    ]  # fmt: skip
    assert plane.progressed[-3:] == [32, 63, 95]


def test_quotes_are_never_invented_or_repeated() -> None:
    plane = Plane(ExtractiveDebater())
    plane.run(question=QUESTION, documents=DOCUMENTS, positions=["Redis", "RabbitMQ"], rounds=5)

    quotes = [quote for said in plane.results.values() for quote in said["quotes"]]

    texts = {document["id"]: document["text"] for document in DOCUMENTS}
    assert all(quote["text"] in texts[quote["id"]] for quote in quotes)
    assert len({quote["text"] for quote in quotes}) == len(quotes)


@pytest.mark.parametrize("question", ["Which broker?", "Should we?", "¿?", "猫"])
def test_without_documents_it_says_so_without_confidence(question) -> None:
    result = run(question, documents=[], positions=[])

    assert result["confidence"] == 0
    assert result["consensus_reached"] is False
    assert result["answer"] == f"No answer: nothing in the documents given settles “{question}”."
    assert "No document given bears on the question" in result["transcript"][0]["text"]


def test_documents_beside_the_point_settle_nothing() -> None:
    result = run(documents=[{"id": "x", "text": "Bread needs salt."}, {"id": "empty", "text": ""}])

    assert (result["confidence"], result["consensus_reached"]) == (0, False)


def test_a_question_of_yes_or_no() -> None:
    result = run("Does RabbitMQ keep messages?", positions=[], rounds=1)

    assert result["answer"].startswith("yes: “RabbitMQ keeps messages on disk.” [bench]")
    assert {said["position"] for said in result["transcript"]} == {"yes", "no"}


def test_an_open_question_is_answered_by_a_passage() -> None:
    result = run("What does the team know well?", positions=[])

    assert result["answer"].startswith("“The team knows Redis well.” [ops]")
    assert 0 < result["confidence"] <= 0.5


def test_one_quote_is_worth_half_at_most_and_a_tie_goes_to_the_first() -> None:
    tie = [{"id": "a", "text": "Tea is warm."}, {"id": "b", "text": "Coffee is warm."}]

    result = run("Which drink?", documents=tie, positions=["coffee", "tea"], rounds=1)

    assert result["answer"] == "coffee: “Coffee is warm.” [b]"
    assert result["confidence"] == 0.25
    assert result["consensus_reached"] is False


def test_a_fleet_that_runs_two_kinds_of_debaters_names_both() -> None:
    class Other(ExtractiveDebater):
        def argue(self, argument: Argument) -> Statement:
            said = super().argue(argument).to_json()
            return Statement.from_json({**said, "model": "other", "support": 0.0, "quotes": []})

    result = Plane(Other()).run(question=QUESTION, documents=DOCUMENTS, positions=["Redis", "tea"], rounds=1)

    assert result["model"] == "other, extractive"
    assert result["confidence"] == 0
