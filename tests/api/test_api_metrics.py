"""/metrics: what is counted, once, and what the dashboard and the rules ask for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from aragora_cp.api.app import BASE, create_app
from aragora_cp.api.services import services
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.telemetry.meters import BOUNDS_MS, METERS, PREFIX
from aragora_cp.wiring import ControlPlane, build

from .conftest import Caller, RecordingBroker

DOCS = Path(__file__).parents[2] / "docs"
RULES, DASHBOARD = DOCS / "prometheus-rules.yml", DOCS / "grafana-dashboard.json"


def scrape(app: Flask, accept: str = "text/plain") -> str:
    answer = app.test_client().get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200
    return answer.text


def samples(app: Flask) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name.removeprefix(PREFIX), tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(scrape(app))
        for sample in family.samples
    }


@pytest.fixture
def lived(app: Flask, plane: ControlPlane, agent: Caller, submitter: Caller, operator: Caller, claim: Any) -> Flask:
    """A plane in which something of everything has happened, and whose leader has reported."""
    monitor = plane.monitor()
    monitor.tick()
    registered = agent.register("code-1")
    for word, body in (
        ("complete", {"result": 1}),
        ("fail", {"message": "m", "retryable": True}),
        ("fail", {"message": "m", "retryable": False, "code": "timeout"}),
    ):
        task_id = submitter.submit()["task_id"]
        lease = claim(task_id, "code-1").hold.lease
        report = {"session": registered["session"], "attempt": 1, "lease": lease, **body}
        held = {"task_id": task_id, "attempt": 1, "lease": lease}
        agent.post("/agents/code-1/heartbeat", {"session": registered["session"], "running": [held]})
        assert agent.post(f"/tasks/{task_id}/{word}", report).status_code == 200
    operator.get("/tasks/nothing")
    app.test_client().get("/a/path/of/the/callers/own")
    watch = services(app).watch
    watch.store.beat("w1", {"kind": "web", "ready": True, "failing": []})
    watch.tally.count("alert_deliveries", "log", "done")
    watch.tally.count("repairs", "ticket-resent")
    watch.store.add(watch.tally.take())
    again = plane.monitor()
    plane.client.delete(f"{plane.config.key_prefix}{{@}}:monitor:leader")
    again.tick()
    return app


def test_what_happens_to_tasks_is_counted(lived: Flask) -> None:
    found = samples(lived)
    assert found["tasks_submitted_total", ()] == 3
    assert found["attempts_started_total", ()] == 3
    assert found["tasks_ended_total", ("completed",)] == 1
    assert found["tasks_ended_total", ("failed",)] == 1
    assert found["attempts_returned_total", ("retry",)] == 1
    assert found["attempts_failed_total", ("timeout",)] == 1
    assert found["lease_renewals_total", ("renewed",)] == 3
    assert found["queue_wait_seconds_count", ()] == found["run_time_seconds_count", ()] == 3
    assert found["queue_wait_seconds_bucket", ("+Inf",)] == 3
    assert found["run_time_seconds_sum", ()] < 10
    assert (found["agents_online", ()], found["agent_slots", ()]) == (1, 1)
    assert found["tasks", ("delayed",)] == 1


def test_requests_are_counted_by_their_routes(lived: Flask) -> None:
    found = samples(lived)
    submits = ("POST", f"{BASE}/tasks/submit", "2xx")
    assert found["http_requests_total", submits] == 3
    # A submit goes to the store twice: its script, and the leader's copy of the lanes when a second has passed.
    assert 3 <= found["http_store_round_trips_total", (submits[1],)] <= 12
    assert found["http_request_duration_seconds_count", (submits[1],)] == 3
    assert found["rejections_total", ("not-found",)] >= 1
    assert found["http_requests_total", ("GET", "none", "4xx")] == 1
    assert "callers" not in scrape(lived)


def test_a_second_look_counts_nothing_twice(lived: Flask, plane: ControlPlane) -> None:
    before = samples(lived)
    for _ in range(3):
        plane.client.delete(f"{plane.config.key_prefix}{{@}}:monitor:leader")
        plane.monitor().tick()
    assert samples(lived)["tasks_submitted_total", ()] == before["tasks_submitted_total", ()]


def test_no_label_has_a_value_of_a_tenants(lived: Flask) -> None:
    text = scrape(lived)
    for word in ("acme", "beta", "code.review", "code-1"):
        assert word not in text, word


def test_openmetrics_where_it_is_asked_for(lived: Flask) -> None:
    text = scrape(lived, "application/openmetrics-text; version=1.0.0")
    names = {family.name for family in parse_openmetrics(text)}
    assert PREFIX + "tasks_submitted" in names


def test_without_a_store_a_scrape_says_so() -> None:
    away = ControlPlaneConfig(redis_url="redis://127.0.0.1:1", redis_timeout=0.2)
    plane = build(away, broker=RecordingBroker())
    app = create_app(plane)
    found = samples(app)
    services(app).close()
    plane.close()
    assert found["ready", ("store",)] == 0
    assert ("tasks_submitted_total", ()) not in found


def exported(app: Flask) -> set[str]:
    return {sample.name for family in text_string_to_metric_families(scrape(app)) for sample in family.samples}


def test_the_reference_has_every_metric(lived: Flask) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*) \|$", (DOCS / "reference/metrics.md").read_text(), re.M)
    assert rows == [
        (
            PREFIX + name + ("_total" if meter.kind == "counter" else ""),
            meter.kind,
            ", ".join(f"`{label}`" for label in meter.labels) or "-",
            meter.help,
        )
        for name, meter in METERS.items()
    ]
    shown = exported(lived)
    for name, kind, _, _ in rows:
        assert (f"{name}_bucket" if kind == "histogram" else name) in shown, name
    assert len(BOUNDS_MS) == 16


def asked_for(text: str) -> set[str]:
    return set(re.findall(r"\baragora_cp_[a-z0-9_]+", text))


def test_dashboard_and_rules_ask_for_nothing_that_is_not_there(lived: Flask) -> None:
    queries = [target["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel["targets"]]
    assert len(queries) > 20
    for text in (*queries, RULES.read_text()):
        assert asked_for(text) <= exported(lived), asked_for(text) - exported(lived)


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        told = "promtool is not on PATH"
        if os.environ.get("CI") == "true":
            pytest.fail(told)
        pytest.skip(told)
    return found


def test_promtool_takes_rules_queries_and_scrape(promtool: str, lived: Flask, tmp_path: Path) -> None:
    def check(*arguments: str, given: str = "") -> None:
        done = subprocess.run([promtool, *arguments], input=given, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr

    check("check", "rules", str(RULES))
    check("check", "metrics", given=scrape(lived))
    groups = [
        {"record": f"panel:{n}", "expr": target["expr"].replace("$__rate_interval", "5m")}
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for n, target in enumerate(panel["targets"])
    ]
    unique = [{**rule, "record": f"panel:n{n}"} for n, rule in enumerate(groups)]
    queries = tmp_path / "dashboard.yml"
    queries.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": unique}]}))
    check("check", "rules", str(queries))
