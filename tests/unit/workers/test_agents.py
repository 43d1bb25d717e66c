import json
import time
from decimal import Decimal
from typing import Any

import pytest
from marshmallow import Schema, ValidationError

from aragora_cp import RejectTask, TaskFailed
from workers import code, debate, search
from workers.chat import ChatSettings, ModelRefusedError, Reply


@pytest.fixture(autouse=True)
def _no_model(monkeypatch) -> None:
    """Whatever the environment of the tests names."""
    monkeypatch.setattr(debate, "CHAT", None)


class FakeContext:
    """Runs sub-tasks on the spot, through their schema and JSON like the control plane."""

    def __init__(self, workspace: str = "acme") -> None:
        self.workspace = workspace
        self.deadline = time.time() + 60
        self.progressed: list[tuple[Any, Any]] = []
        self.used: list[tuple[Any, ...]] = []
        self.results: dict[str, Any] = {}

    def progress(self, percent: float | None = None, message: str | None = None) -> None:
        assert percent is None or 0 <= percent <= 100
        self.progressed.append((percent, message))

    def usage(self, input_tokens: int = 0, output_tokens: int = 0, model: str = "", cost: str = "0") -> None:
        self.used.append((input_tokens, output_tokens, model, cost))

    def submit(self, task_type: str, payload: Any, **options: Any) -> str:
        task_id = str(len(self.results))
        self.results[task_id] = run(debate.agent, task_type, payload, self)
        return task_id

    def wait(self, *task_ids: str, timeout: float | None = None, step_aside: bool = False) -> list[Any]:
        return [self.results[task_id] for task_id in task_ids]


def run(agent: Any, task_type: str, payload: Any, ctx: FakeContext) -> Any:
    handler = agent.handlers[task_type]
    loaded = handler.schema.load(json.loads(json.dumps(payload)))
    return json.loads(json.dumps(handler.function(loaded, ctx)))


def test_what_the_agents_are() -> None:
    assert (code.agent.agent_id, set(code.agent.capabilities)) == ("code-1", {"code", "code.python"})
    assert (search.agent.agent_id, set(search.agent.capabilities)) == ("search-1", {"search"})
    assert (debate.agent.agent_id, set(debate.agent.capabilities)) == ("debate-1", {"debate"})
    assert {agent.concurrency for agent in (code.agent, search.agent, debate.agent)} == {2}


def test_a_review() -> None:
    ctx = FakeContext()

    by_files = run(code.agent, "code.review", {"files": [{"path": "a.py", "source": "import os\n"}]}, ctx)
    diff = "--- /dev/null\n+++ b/a.py\n@@ -0,0 +1 @@\n+import os\n"
    by_diff = run(code.agent, "code.review", {"diff": diff}, ctx)

    assert by_files == by_diff
    assert by_files["findings"][0]["rule"] == "F401"
    assert ctx.progressed[0] == (0, "reading")


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"files": [{"path": "a.py", "source": ""}], "diff": "x"},
        {"diff": "x"},
        {"files": [{"path": "a.py", "source": "#" * 1_500_000}, {"path": "b.py", "source": "#" * 1_500_000}]},
    ],
    ids=["neither", "both", "no diff", "too large"],
)
def test_a_review_that_cannot_be_done_is_rejected(payload) -> None:
    with pytest.raises(RejectTask):
        run(code.agent, "code.review", payload, FakeContext())


def test_indexing_and_searching(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(search, "FOLDER", tmp_path)
    documents = [{"id": "leave", "text": "Everyone has 30 days of leave."}, {"id": "travel", "text": "By train."}]

    indexed = run(search.agent, "search.index", {"index": "book", "documents": documents}, FakeContext())
    found = run(search.agent, "search.query", {"index": "book", "query": "leave?"}, FakeContext())

    assert indexed == {"index": "book", "indexed": 2, "documents": 2}
    assert (found["index"], found["query"]) == ("book", "leave?")
    assert [(hit["id"], hit["passage"]) for hit in found["hits"]] == [("leave", "Everyone has 30 days of leave")]
    with pytest.raises(RejectTask, match="no index 'book' in this workspace"):
        run(search.agent, "search.query", {"index": "book", "query": "leave"}, FakeContext("other"))


def test_a_debate_by_quotes_and_without_anything_to_quote() -> None:
    document = {"id": "d", "text": "Tea is warm. Coffee is not warm."}
    payload = {"question": "What is warm?", "positions": ["tea", "coffee"], "documents": [document]}

    result = run(debate.agent, "debate.run", payload, FakeContext())
    empty = run(debate.agent, "debate.run", {"question": "Why?"}, FakeContext())

    assert result["answer"] == "tea: “Tea is warm.” [d]"
    assert (result["confidence"], result["consensus_reached"], result["model"]) == (0.5, True, "extractive")
    assert len(result["transcript"]) == 4
    assert empty["confidence"] == 0


def test_a_debate_by_a_model_meters_every_call(monkeypatch) -> None:
    def complete(settings: Any, messages: Any, *, deadline: float) -> Reply:
        assert deadline > time.time()
        judge = "You are the judge" in messages[0]["content"]
        text = '{"answer": "tea", "confidence": 0.9, "consensus_reached": true}' if judge else "Tea [d]."
        return Reply(text, 100, 20, Decimal("0.0000001"))

    monkeypatch.setattr(debate, "CHAT", ChatSettings("http://model/v1", "tiny"))
    monkeypatch.setattr(debate, "complete", complete)
    ctx = FakeContext()

    result = run(
        debate.agent,
        "debate.run",
        {"question": "Tea?", "documents": [{"id": "d", "text": "Tea is warm."}], "rounds": 1},
        ctx,
    )

    assert (result["answer"], result["confidence"], result["model"]) == ("tea", 0.9, "tiny")
    assert [said["sources"] for said in result["transcript"]] == [["d"], ["d"]]
    assert ctx.used == [(100, 20, "tiny", "0.0000001")] * 3


def test_a_debate_whose_debater_failed_is_rejected_with_the_reason() -> None:
    class Failing(FakeContext):
        def wait(self, *task_ids: str, timeout: float | None = None, step_aside: bool = False) -> list[Any]:
            raise TaskFailed("budget-exceeded", task_id="t1", status="FAILED", code="budget-exceeded")

    with pytest.raises(RejectTask, match="t1 ended FAILED: budget-exceeded"):
        run(debate.agent, "debate.run", {"question": "Why?"}, Failing())


def test_a_request_the_model_refuses_is_rejected(monkeypatch) -> None:
    def complete(settings: Any, messages: Any, *, deadline: float) -> Reply:
        raise ModelRefusedError("the model answered 400: too long")

    monkeypatch.setattr(debate, "CHAT", ChatSettings("http://model/v1", "tiny"))
    monkeypatch.setattr(debate, "complete", complete)

    with pytest.raises(RejectTask, match="too long"):
        run(debate.agent, "debate.run", {"question": "Why?"}, FakeContext())


@pytest.mark.parametrize(
    ("schema", "payload"),
    [
        (code.ReviewPayload, {"files": []}),
        (code.ReviewPayload, {"files": [{"path": "a.py"}]}),
        (code.ReviewPayload, {"files": [{"path": "a.py", "source": "", "mode": 1}]}),
        (code.ReviewPayload, {"diff": None}),
        (code.ReviewPayload, {"diff": "x", "extra": 1}),
        (search.IndexPayload, {"index": "", "documents": [{"id": "a", "text": "b"}]}),
        (search.IndexPayload, {"index": "i", "documents": []}),
        (search.IndexPayload, {"index": "i", "documents": [{"id": 1, "text": "b"}]}),
        (search.QueryPayload, {"index": "i", "query": ""}),
        (search.QueryPayload, {"index": "i", "query": "x", "limit": 0}),
        (search.QueryPayload, {"index": "i", "query": "x", "limit": "5"}),
        (search.QueryPayload, {"index": "i", "query": "x" * 1001}),
        (debate.DebatePayload, {}),
        (debate.DebatePayload, {"question": "q", "rounds": 6}),
        (debate.DebatePayload, {"question": "q", "positions": ["one"]}),
        (debate.DebatePayload, {"question": "q", "positions": ["Tea", "tea "]}),
        (debate.DebatePayload, {"question": "q", "documents": [{"text": "no id"}]}),
    ],
)
def test_payloads_that_do_not_fit(schema: type[Schema], payload) -> None:
    with pytest.raises(ValidationError):
        schema().load(payload)
