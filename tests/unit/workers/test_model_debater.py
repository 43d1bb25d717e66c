import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from workers.chat import ChatSettings, ModelError, ModelRefusedError, Reply, complete, settings_from
from workers.debaters import Argument, Statement
from workers.model_debater import ModelDebater
from workers.passages import Passage

KEY = "sk-very-secret"
ENOUGH = 1_000.0


def completion(text: Any, **usage: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}}], "usage": usage}


class ModelServer:
    """Speaks the API on a free port; answers with what is scripted, the last of it for ever."""

    def __init__(self) -> None:
        self.script: list[tuple[int, dict[str, str], Any]] = []
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                status, headers, answer = outer.script.pop(0) if len(outer.script) > 1 else outer.script[0]
                data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.settings = ChatSettings(
            f"http://127.0.0.1:{self.server.server_port}/v1", "tiny", KEY, Decimal("2.50"), Decimal(10)
        )

    def ask(self, sleeps: list[float] | None = None, deadline: float = ENOUGH) -> Reply:
        slept = [] if sleeps is None else sleeps
        return complete(
            self.settings,
            [{"role": "user", "content": "hi"}],
            deadline=deadline,
            now=lambda: 0.0,
            sleep=slept.append,
        )


@pytest.fixture
def server(monkeypatch) -> Iterator[ModelServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    model = ModelServer()
    thread = threading.Thread(target=model.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield model
    model.server.shutdown()
    thread.join(timeout=10)
    model.server.server_close()


def test_a_reply_with_its_tokens_and_cost(server) -> None:
    server.script = [(200, {}, completion(" hello ", prompt_tokens=1000, completion_tokens=200))]

    assert server.ask() == Reply("hello", 1000, 200, Decimal("0.0045"))
    path, headers, body = server.requests[0]
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert body == {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}


def test_a_server_that_counts_no_tokens_or_asks_for_no_key(server) -> None:
    server.script = [(200, {}, {"choices": [{"message": {"content": "hi"}}], "usage": None})]
    server.settings = ChatSettings(server.settings.base_url, "tiny")

    assert server.ask() == Reply("hi", 0, 0, Decimal(0))
    assert "authorization" not in server.requests[0][1]


def test_busy_and_broken_servers_are_asked_again_after_the_pause_they_name(server) -> None:
    server.script = [
        (429, {"Retry-After": "7"}, "slow down"),
        (503, {}, "oops"),
        (500, {"Retry-After": "Thu, 01 Jan 1970 00:00:09 GMT"}, "oops"),
        (200, {}, completion("at last")),
    ]
    sleeps: list[float] = []

    assert server.ask(sleeps).text == "at last"
    assert sleeps == [7.0, 1.0, 9.0]


def test_retries_end(server) -> None:
    server.script = [(502, {}, "bad gateway")]
    sleeps: list[float] = []

    with pytest.raises(ModelError, match="answered 502: bad gateway"):
        server.ask(sleeps)
    assert len(server.requests) == 4
    assert sleeps == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(("wait", "deadline"), [("3600", ENOUGH), ("30", 20.0)])
def test_it_does_not_wait_longer_than_sensible_or_than_the_task_has(server, wait, deadline) -> None:
    server.script = [(429, {"Retry-After": wait}, "")]
    sleeps: list[float] = []

    with pytest.raises(ModelError, match="429"):
        server.ask(sleeps, deadline)
    assert sleeps == []


def test_it_does_not_ask_when_the_time_is_up(server) -> None:
    with pytest.raises(ModelError, match="no time left"):
        server.ask(deadline=0.0)
    assert server.requests == []


@pytest.mark.parametrize(
    ("status", "error"), [(400, ModelRefusedError), (413, ModelRefusedError), (401, ModelError), (404, ModelError)]
)
def test_a_refusal_is_final_and_never_shows_the_key(server, status, error) -> None:
    server.script = [(status, {}, f"Incorrect API key provided: {KEY}")]

    with pytest.raises(ModelError) as caught:
        server.ask()
    assert type(caught.value) is error
    assert len(server.requests) == 1
    assert KEY not in str(caught.value)
    assert KEY not in repr(server.settings)


def test_a_server_that_is_not_there(server) -> None:
    server.settings = ChatSettings("http://127.0.0.1:9/v1", "tiny", KEY)

    with pytest.raises(ModelError, match="cannot be reached: Connect"):
        server.ask()


@pytest.mark.parametrize(
    "answer", ["<html>", [], {}, {"choices": []}, {"choices": [{"message": None}]}, completion(None), completion(" ")]
)
def test_an_answer_that_is_none(server, answer) -> None:
    server.script = [(200, {}, answer)]

    with pytest.raises(ModelError, match="the model's answer is"):
        server.ask()


def test_settings() -> None:
    base = {"OPENAI_BASE_URL": "http://localhost:11434/v1/", "OPENAI_MODEL": "m"}

    assert settings_from({"OPENAI_API_KEY": KEY, "OPENAI_MODEL": "m"}) is None
    assert settings_from(base) == ChatSettings("http://localhost:11434/v1", "m")
    full = settings_from({**base, "OPENAI_API_KEY": KEY, "OPENAI_INPUT_PRICE": "0.15", "OPENAI_OUTPUT_PRICE": "1"})
    assert full == ChatSettings("http://localhost:11434/v1", "m", KEY, Decimal("0.15"), Decimal(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"OPENAI_BASE_URL": "localhost"}, "OPENAI_BASE_URL must start with"),
        ({"OPENAI_MODEL": ""}, "OPENAI_MODEL must name"),
        ({"OPENAI_INPUT_PRICE": "cheap"}, "OPENAI_INPUT_PRICE must be a price"),
        ({"OPENAI_OUTPUT_PRICE": "-1"}, "OPENAI_OUTPUT_PRICE must be a price"),
        ({"OPENAI_OUTPUT_PRICE": "NaN"}, "OPENAI_OUTPUT_PRICE must be a price"),
    ],
)
def test_wrong_settings_are_named(change, message) -> None:
    with pytest.raises(ValueError, match=message):
        settings_from({"OPENAI_BASE_URL": "http://x/v1", "OPENAI_MODEL": "m", **change})


def debater(reply: str, asked: list[Any] | None = None) -> ModelDebater:
    def ask(messages: Any) -> Reply:
        if asked is not None:
            asked.append(messages)
        return Reply(reply, 1, 1, Decimal(0))

    return ModelDebater("tiny", ask)


ARGUMENT = Argument(
    "Tea or coffee?", ("tea", "coffee"), "tea", (Passage("d1", "Tea is warm."), Passage("d 2", "Tea is old.")), 1, ()
)
SAID = Statement(1, "coffee", "Coffee wakes.", (), (), "coffee", 0.0, "tiny")


def test_a_model_argues_from_the_evidence_and_cites_it() -> None:
    asked: list[Any] = []

    said = debater("Tea is warm [d1], old [d 2, d1], and safe [d9].", asked).argue(ARGUMENT)

    assert said.sources == ("d1", "d 2")
    assert (said.position, said.stance, said.model, said.support) == ("tea", "tea", "tiny", 0.0)
    prompt = asked[0][1]["content"]
    assert "Your position: tea" in prompt
    assert "[d1] Tea is warm." in prompt


def test_a_later_round_shows_the_model_what_was_said() -> None:
    asked: list[Any] = []

    debater("no", asked).argue(Argument("q?", ("tea", "coffee"), "tea", (), 2, (SAID,)))

    assert "Round 1, for “coffee”: Coffee wakes." in asked[0][1]["content"]
    assert "Documents: none." in asked[0][1]["content"]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ('{"answer": "tea", "confidence": 0.8, "consensus_reached": true}', ("tea", 0.8, True)),
        ('Sure {ok}!\n```json\n{"answer": " tea ", "confidence": 7}\n```', ("tea", 1.0, False)),
        ('{"answer": "tea", "confidence": "high", "consensus_reached": "yes"}', ("tea", 0.0, False)),
        ('{"answer": "tea", "confidence": NaN}', ("tea", 0.0, False)),
        ('{"answer": "tea", "confidence": true}', ("tea", 0.0, False)),
        ("Tea, clearly.", ("Tea, clearly.", 0.0, False)),
        ('{"verdict": "tea"}', ('{"verdict": "tea"}', 0.0, False)),
    ],
)
def test_the_verdict_is_what_the_model_said_and_no_more(reply, expected) -> None:
    verdict = debater(reply).judge("q?", ("tea", "coffee"), [SAID])

    assert (verdict.answer, verdict.confidence, verdict.consensus_reached) == expected
