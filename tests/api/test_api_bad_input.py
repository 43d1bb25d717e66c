"""Bad input: each gets the right problem, and nothing is stored."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from aragora_cp.api.bodies import DEEPEST, ENVELOPE_BYTES

from .conftest import SUBMIT, Caller

JSON = "application/json"
Keys = Callable[[], set[bytes]]


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown field": ({"pririty": "high"}, "pririty"),
    "unknown priority": ({"priority": "urgent"}, "priority"),
    "priority in capitals": ({"priority": "HIGH"}, "priority"),
    "priority as a number": ({"priority": 1}, "priority"),
    "negative timeout": ({"timeout": -1}, "timeout"),
    "zero timeout": ({"timeout": 0}, "timeout"),
    "timeout below the store's grain": ({"timeout": 1e-9}, "timeout"),
    "timeout over a week": ({"timeout": 7 * 86400 + 1}, "timeout"),
    "timeout as text": ({"timeout": "5"}, "timeout"),
    "timeout as truth": ({"timeout": True}, "timeout"),
    "timeout of null": ({"timeout": None}, "timeout"),
    "timeout of 300 digits": ({"timeout": 10**300}, "timeout"),
    "queue_timeout of zero": ({"queue_timeout": 0}, "queue_timeout"),
    "retries as text": ({"max_retries": "3"}, "max_retries"),
    "retries as a float": ({"max_retries": 3.0}, "max_retries"),
    "retries as truth": ({"max_retries": True}, "max_retries"),
    "too many retries": ({"max_retries": 101}, "max_retries"),
    "negative retries": ({"max_retries": -1}, "max_retries"),
    "no task type": ({"task_type": None}, "task_type"),
    "empty task type": ({"task_type": ""}, "task_type"),
    "task type with a line break": ({"task_type": "a\n"}, "task_type"),
    "long task type": ({"task_type": "x" * 129}, "task_type"),
    "task type as a number": ({"task_type": 5}, "task_type"),
    "payload as a list": ({"payload": [1]}, "payload"),
    "payload of null": ({"payload": None}, "payload"),
    "deep payload": ({"payload": {"v": _nested(DEEPEST + 1)}}, "payload"),
    "empty capability": ({"required_capabilities": [""]}, "required_capabilities"),
    "300-character capability": ({"required_capabilities": ["x" * 300]}, "required_capabilities"),
    "capability with a plus": ({"required_capabilities": ["a+b"]}, "required_capabilities"),
    "capability as a number": ({"required_capabilities": [1]}, "required_capabilities.0"),
    "capabilities as text": ({"required_capabilities": "code"}, "required_capabilities"),
    "too many capabilities": ({"required_capabilities": [f"c{n}" for n in range(65)]}, "required_capabilities"),
    "agent id with a slash": ({"agent_id": "a/b"}, "agent_id"),
    "empty agent id": ({"agent_id": ""}, "agent_id"),
    "delay and run_at": ({"delay": 1, "run_at": "2099-01-01T00:00:00Z"}, "run_at"),
    "negative delay": ({"delay": -0.1}, "delay"),
    "delay of centuries": ({"delay": 1e12}, "delay"),
    "run_at without an offset": ({"run_at": "2099-01-01T00:00:00"}, "run_at"),
    "run_at that is no time": ({"run_at": "tomorrow"}, "run_at"),
    "run_at as a number": ({"run_at": 4070908800}, "run_at"),
    "backoff factor below 1": ({"retry_backoff": {"factor": 0.5}}, "retry_backoff.factor"),
    "backoff over a day": ({"retry_backoff": {"maximum": 86401}}, "retry_backoff.maximum"),
    "unknown backoff field": ({"retry_backoff": {"max": 1}}, "retry_backoff.max"),
    "jitter as text": ({"retry_backoff": {"jitter": "yes"}}, "retry_backoff.jitter"),
    "backoff as a list": ({"retry_backoff": []}, "retry_backoff"),
    "empty idempotency key": ({"idempotency_key": ""}, "idempotency_key"),
    "cache_ttl of zero": ({"cache_ttl": 0}, "cache_ttl"),
    "metadata of numbers": ({"metadata": {"a": 1}}, "metadata.a.value"),
    "metadata with an empty name": ({"metadata": {"": "a"}}, "metadata..key"),
    "long metadata": ({"metadata": {"a": "x" * 1025}}, "metadata.a.value"),
    "much metadata": ({"metadata": {f"k{n}": "" for n in range(65)}}, "metadata"),
    "a callback, not supported yet": ({"callback_url": "https://example.org"}, "callback_url"),
    "a cost as a number": ({"estimated_cost": 1.0}, "estimated_cost"),
    "a cost below zero": ({"estimated_cost": "-1.00"}, "estimated_cost"),
    "an unknown placement": ({"placement": "elsewhere"}, "placement"),
    "an empty placement": ({"placement": ""}, "placement"),
    "a placement of null": ({"placement": None}, "placement"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_wrong_field_is_named_and_nothing_is_stored(submitter: Caller, keys: Keys, name: str) -> None:
    changes, field = FIELDS[name]
    before = keys()
    answer = submitter.post("/tasks/submit", {**SUBMIT, **changes})
    assert (answer.status_code, answer.json["code"]) == (422, "invalid-request"), answer.json
    assert list(answer.json["errors"]) == [field]
    assert all(answer.json["errors"][field])
    assert keys() == before


BODIES: dict[str, tuple[bytes, str | None, int]] = {
    "broken": (b'{"task_type": "x", ', JSON, 400),
    "empty": (b"", JSON, 400),
    "no content type, no body": (b"", None, 400),
    "blank": (b" ", JSON, 400),
    "NaN": (b'{"task_type": "x", "payload": {}, "timeout": NaN}', JSON, 400),
    "Infinity": (b'{"task_type": "x", "payload": {}, "timeout": Infinity}', JSON, 400),
    "a number beyond a float": (b'{"task_type": "x", "payload": {}, "timeout": 1e999}', JSON, 400),
    "10,000 levels": (b'{"task_type": "x", "payload": {"v": ' + b"[" * 10_000 + b"]" * 10_000 + b"}}", JSON, 400),
    "10,000 levels, not closed": (b"[" * 10_000, JSON, 400),
    "a lone surrogate": (b'{"task_type": "x", "payload": {"v": "\\ud800"}}', JSON, 400),
    "not UTF-8": (b'{"task_type": "x", "payload": {"v": "\xff"}}', JSON, 400),
    "UTF-16": ('{"task_type": "x"}'.encode("utf-16"), JSON, 400),
    "two values": (b"{}{}", JSON, 400),
    "an integer of 5,000 digits": (b'{"task_type": "x", "payload": {"v": ' + b"9" * 5000 + b"}}", JSON, 400),
    "a list": (b"[]", JSON, 422),
    "a text": (b'"x"', JSON, 422),
    "null": (b"null", JSON, 422),
    "an empty object": (b"{}", JSON, 422),
    "wrong content type": (b"{}", "text/plain", 415),
    "no content type": (b"{}", None, 415),
    "a form": (b"a=1", "application/x-www-form-urlencoded", 415),
    "another charset": (b"{}", "application/json; charset=latin-1", 415),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_wrong_body_is_refused_and_nothing_is_stored(submitter: Caller, keys: Keys, name: str) -> None:
    data, content_type, status = BODIES[name]
    before = keys()
    answer = submitter.post("/tasks/submit", data=data, content_type=content_type)
    assert answer.status_code == status, answer.json
    assert answer.content_type == "application/problem+json"
    assert keys() == before


def _of_size(size: int) -> dict[str, str]:
    return {"v": "x" * (size - len('{"v":""}'))}


class TestSizes:
    """`max_payload_bytes` is 4,096 and `max_result_bytes` 8,192 in these tests."""

    @pytest.mark.parametrize("size", [4095, 4096])
    def test_a_payload_up_to_the_limit_is_accepted(self, submitter: Caller, size: int) -> None:
        assert submitter.post("/tasks/submit", {**SUBMIT, "payload": _of_size(size)}).status_code == 202

    def test_one_byte_more_is_refused(self, submitter: Caller, keys: Keys) -> None:
        before = keys()
        answer = submitter.post("/tasks/submit", {**SUBMIT, "payload": _of_size(4097)})
        assert (answer.status_code, answer.json["code"]) == (413, "payload-too-large")
        assert "4096" in answer.json["detail"]
        assert keys() == before

    def test_what_counts_is_the_payload_and_not_how_it_was_written(self, submitter: Caller) -> None:
        payload = {"v": "é" * 2000}
        data = json.dumps({**SUBMIT, "payload": payload}, indent=8, ensure_ascii=True)
        assert len(data) > 3 * 4000
        assert submitter.post("/tasks/submit", data=data, content_type=JSON).status_code == 202

    def test_a_megabyte_is_refused_before_it_is_parsed(self, submitter: Caller, keys: Keys) -> None:
        before = keys()
        answer = submitter.post("/tasks/submit", data=b"{" * 2**20, content_type=JSON)
        assert (answer.status_code, answer.json["code"]) == (413, "payload-too-large")
        assert keys() == before

    @pytest.mark.parametrize(
        ("size", "status"), [(0, 400), (4095 + ENVELOPE_BYTES, 400), (4096 + ENVELOPE_BYTES, 413), (2**20, 413)]
    )
    def test_a_body_that_does_not_tell_its_length_is_bounded_too(
        self, submitter: Caller, size: int, status: int
    ) -> None:
        answer = submitter.post(
            "/tasks/submit",
            input_stream=io.BytesIO(b"{" * size),
            content_type=JSON,
            headers={"Transfer-Encoding": "chunked"},
            environ_overrides={"wsgi.input_terminated": True},
        )
        assert answer.status_code == status


@pytest.mark.parametrize("action", ["cancel", "retry"])
def test_an_operation_without_fields_takes_none(operator: Caller, submitter: Caller, action: str) -> None:
    path = f"/tasks/{submitter.submit()['task_id']}/{action}"
    assert operator.post(path, {"force": True}).json["errors"] == {"force": ["Unknown field."]}
    assert operator.post(path, data=b"x", content_type=JSON).status_code == 400
    assert operator.post(path, data=b"x", content_type="text/plain").status_code == 415


QUERIES = {
    "/tasks?limit=0": "limit",
    "/tasks?limit=201": "limit",
    "/tasks?limit=-1": "limit",
    "/tasks?limit=5_0": "limit",
    "/tasks?limit=ten": "limit",
    "/tasks?limit=": "limit",
    "/tasks?status=pending": "status",
    "/tasks?task_type=a%20b": "task_type",
    "/tasks?agent_id=": "agent_id",
    "/tasks?statsu=FAILED": "statsu",
    "/agents?limit=201": "limit",
    "/agents?status=GONE": "status",
    "/agents?capability=": "capability",
    "/tasks/0196f9a0-0000-7000-8000-000000000000?wait=-1": "wait",
    "/tasks/0196f9a0-0000-7000-8000-000000000000?wait=nan": "wait",
    "/tasks/0196f9a0-0000-7000-8000-000000000000?wait=soon": "wait",
}


@pytest.mark.parametrize("path", QUERIES)
def test_a_wrong_query_is_named(viewer: Caller, path: str) -> None:
    answer = viewer.get(path)
    assert (answer.status_code, list(answer.json["errors"])) == (422, [QUERIES[path]])


@pytest.mark.parametrize("cursor", ["x", "", "1-", "-1", "²-a", f"{'9' * 400}-x", "1-0196f9a0", "%00"])
def test_a_broken_cursor_is_a_malformed_request(viewer: Caller, cursor: str) -> None:
    answer = viewer.get(f"/tasks?cursor={cursor}")
    assert (answer.status_code, answer.json["code"]) == (400, "malformed-request")


def test_a_broken_cursor_of_agents_is_a_malformed_request(viewer: Caller) -> None:
    assert viewer.get("/agents?cursor=a/b").json["code"] == "malformed-request"


@pytest.mark.parametrize("task_id", ["x", "1", "%00", "0196F9A0-0000-7000-8000-000000000000", "{0}", "a" * 3000, "..."])
def test_what_is_no_task_id_names_no_task(operator: Caller, task_id: str) -> None:
    assert operator.get(f"/tasks/{task_id}").json["code"] == "not-found"
    assert operator.post(f"/tasks/{task_id}/cancel").json["code"] == "not-found"


REGISTER = {"agent_id": "a", "capabilities": ["code"], "model": "m"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"agent_id": "a b"}, "agent_id"),
        ({"capabilities": [""]}, "capabilities"),
        ({"capabilities": None}, "capabilities"),
        ({"model": 1}, "model"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": True}, "concurrency"),
        ({"labels": {"a": 1}}, "labels.a.value"),
        ({"task_types": {"a": 1}}, "task_types.a.value"),
        ({"workspace": "beta"}, "workspace"),
    ],
)
def test_a_wrong_registration_enters_nobody(agent: Caller, keys: Keys, changes: dict[str, Any], field: str) -> None:
    before = keys()
    answer = agent.post("/agents/register", {**REGISTER, **changes})
    assert (answer.status_code, list(answer.json["errors"])) == (422, [field])
    assert keys() == before


def test_many_wrong_fields_are_answered_with_few(submitter: Caller) -> None:
    answer = submitter.post("/tasks/submit", {**SUBMIT, **{f"{'x' * 300}{n}": 1 for n in range(200)}})
    assert answer.status_code == 422
    assert len(answer.json["errors"]) <= 50
    assert len(answer.data) < 20_000
