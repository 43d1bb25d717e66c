"""Problem documents, correlation ids, the request's log line and the headers of every answer."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
import structlog
from flask import Flask

from aragora_cp.api.app import BASE, create_app
from aragora_cp.api.services import services
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import Role
from aragora_cp.tenancy.tokens import TokenIssuer
from aragora_cp.wiring import ControlPlane, build

from .conftest import SUBMIT, Caller, RecordingBroker


def _is_problem(answer: Any, status: int, code: str) -> None:
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    body = answer.json
    assert set(body) - {"errors"} == {"type", "title", "status", "detail", "code", "correlation_id"}
    assert body["type"] == f"urn:aragora-cp:problem:{code}"
    assert (body["status"], body["code"]) == (status, code)
    assert body["title"]
    assert body["detail"]
    assert body["correlation_id"] == answer.headers["X-Correlation-ID"]
    assert ("errors" in body) is (status == 422)


def test_every_kind_of_error_is_a_problem(submitter: Caller, viewer: Caller, anyone: Caller) -> None:
    _is_problem(submitter.post("/tasks/submit", data=b"{", content_type="application/json"), 400, "malformed-request")
    _is_problem(anyone.get("/tasks"), 401, "unauthenticated")
    _is_problem(viewer.post("/tasks/submit", {}), 403, "forbidden")
    _is_problem(anyone.get("/nothing"), 404, "not-found")
    _is_problem(viewer.get("/tasks/x"), 404, "not-found")
    _is_problem(viewer.get("/tasks/submit/"), 404, "not-found")
    _is_problem(submitter.post("/tasks/submit", data=b"x" * 2**20), 413, "payload-too-large")
    _is_problem(submitter.post("/tasks/submit", data=b"x"), 415, "unsupported-media-type")
    _is_problem(submitter.post("/tasks/submit", {}), 422, "invalid-request")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH"])
def test_a_wrong_method_is_told_the_right_ones(viewer: Caller, method: str) -> None:
    answer = viewer.call(method, "/tasks")
    _is_problem(answer, 405, "method-not-allowed")
    assert set(re.split(r", *", answer.headers["Allow"])) == {"GET", "HEAD"}


def test_what_nobody_expected_tells_nothing(app: Flask, viewer: Caller, monkeypatch: Any, caplog: Any) -> None:
    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("redis://secret@10.0.0.1 {acme}:task:1")

    monkeypatch.setattr(services(app).plane.scheduler, "list", broken)
    answer = viewer.get("/tasks")
    _is_problem(answer, 500, "internal-error")
    assert not re.search("secret|Traceback|RuntimeError|acme", answer.text)
    assert any(record.exc_info for record in caplog.records)


def test_without_a_store_the_answer_is_503() -> None:
    config = ControlPlaneConfig(redis_url="redis://127.0.0.1:1", redis_timeout=0.2)
    plane = build(config, broker=RecordingBroker())
    lonely = create_app(plane)
    try:
        token = "acp_0123456789abcdef_" + "x" * 43
        answer = lonely.test_client().get(f"{BASE}/tasks", headers={"Authorization": f"Bearer {token}"})
        _is_problem(answer, 503, "store-unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
        assert "127.0.0.1" not in answer.text
    finally:
        services(lonely).close()
        plane.close()


class TestCorrelation:
    def test_a_sane_id_is_taken_over_and_stored(self, submitter: Caller) -> None:
        answer = submitter.post("/tasks/submit", dict(SUBMIT), headers={"X-Correlation-ID": "req-1:a/b"})
        assert answer.headers["X-Correlation-ID"] == answer.json["correlation_id"] == "req-1:a/b"
        assert submitter.get(f"/tasks/{answer.json['task_id']}").json["correlation_id"] == "req-1:a/b"

    def test_a_trace_gives_its_id(self, submitter: Caller) -> None:
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        answer = submitter.post("/tasks/submit", dict(SUBMIT), headers=headers)
        assert answer.headers["X-Correlation-ID"] == answer.json["correlation_id"] == trace

    def test_an_id_is_made(self, anyone: Caller) -> None:
        made = {anyone.get("/livez").headers["X-Correlation-ID"] for _ in range(2)}
        assert len(made) == 2
        assert all(re.fullmatch("[0-9a-f]{32}", each) for each in made)

    @pytest.mark.parametrize("given", ["", "a b", "x" * 129, 'a"b', "é", "<script>"])
    def test_what_is_not_safe_is_replaced(self, anyone: Caller, given: str) -> None:
        answer = anyone.get("/livez", headers={"X-Correlation-ID": given})
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Correlation-ID"])


class TestLog:
    def test_one_line_a_request_without_what_people_send(self, submitter: Caller, caplog: Any) -> None:
        seen: list[dict[str, Any]] = []

        class Bound(logging.Filter):
            def filter(self, record: logging.LogRecord) -> bool:
                seen.append(structlog.contextvars.get_contextvars())
                return True

        watch = Bound()
        log = logging.getLogger("aragora_cp.api")
        log.addFilter(watch)
        try:
            with caplog.at_level(logging.INFO, "aragora_cp.api"):
                submitter.post(
                    "/tasks/submit?secret=s3cret",
                    {**SUBMIT, "payload": {"a": "s3cret"}},
                    headers={"X-Correlation-ID": "corr-1"},
                )
        finally:
            log.removeFilter(watch)
        (line,) = [record for record in caplog.records if record.name == "aragora_cp.api"]
        told = vars(line)
        assert (told["method"], told["route"]) == ("POST", f"{BASE}/tasks/submit")
        assert told["status"] == 202
        assert told["duration_ms"] >= 0
        assert seen[0]["correlation_id"] == "corr-1"
        assert seen[0]["workspace"] == "acme"
        assert not re.search("s3cret|acp_", str(told) + str(seen))
        assert structlog.contextvars.get_contextvars() == {}

    def test_a_path_that_does_not_exist_is_not_repeated(self, anyone: Caller, caplog: Any) -> None:
        with caplog.at_level(logging.INFO, "aragora_cp.api"):
            anyone.get("/s3cret")
        assert "s3cret" not in str([vars(record) for record in caplog.records])


@pytest.mark.parametrize("path", ["/livez", "/tasks", "/nothing"])
def test_every_answer_has_the_security_headers(viewer: Caller, path: str) -> None:
    headers = viewer.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_expired_tokens_are_refused(plane: ControlPlane, anyone: Caller, monkeypatch: Any) -> None:
    issued = TokenIssuer(plane.tokens).issue(workspace="acme", role=Role.VIEWER, expires_in=3600)
    headers = {"Authorization": f"Bearer {issued.text}"}
    assert anyone.get("/tasks", headers=headers).status_code == 200
    plane.client.hset(f"{plane.config.key_prefix}{{@}}:token:{issued.record.token_id}", "expires_at", 1)
    fresh = create_app(plane)
    try:
        _is_problem(fresh.test_client().get(f"{BASE}/tasks", headers=headers), 401, "unauthenticated")
    finally:
        services(fresh).close()
