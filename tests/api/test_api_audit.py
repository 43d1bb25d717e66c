"""The audit trail over HTTP: pages, roles, workspaces; and what is refused before it reaches a script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aragora_cp.api.auditing import action_of
from aragora_cp.api.schemas.audit import AuditExportSchema, AuditPageSchema, VerificationSchema
from aragora_cp.model import Role
from aragora_cp.tenancy.verification import Verifier
from aragora_cp.wiring import ControlPlane

from .conftest import SUBMIT, Caller, MakeCaller

UNKNOWN = "0196f9a0-0000-7000-8000-000000000000"

Entries = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def entries(operator: Caller) -> Entries:
    """The workspace's entries that match, oldest first."""

    def find(path: str = "/audit?limit=200", caller: Caller = operator) -> list[dict[str, Any]]:
        answer = caller.get(path)
        assert answer.status_code == 200, answer.json
        return answer.json["items"][::-1]

    return find


@pytest.fixture
def admin(caller: MakeCaller) -> Caller:
    return caller(Role.ADMIN, None)


def seal(plane: ControlPlane) -> None:
    assert plane.monitor().tick()


def test_an_entry_says_who_what_whence(submitter: Caller, entries: Entries) -> None:
    task = submitter.submit()
    ((entry),) = entries("/audit?action=task.submit")
    AuditPageSchema().load({"items": [entry], "next_cursor": None})
    token_id = (submitter.token or "").split("_")[1]
    told = {name: entry[name] for name in ("trail", "actor", "action", "kind", "target", "outcome", "address", "after")}
    assert told["after"].pop("decision")
    assert told == {
        "trail": "acme",
        "actor": f"token:{token_id}",
        "action": "task.submit",
        "kind": "task",
        "target": task["task_id"],
        "outcome": "accepted",
        "address": "127.0.0.1",
        "after": {"status": "PENDING", "rules": "", "policy_version": "p0.w0"},
    }
    assert entry["correlation_id"] == task["correlation_id"]


def test_pages_and_filters(submitter: Caller, operator: Caller, entries: Entries) -> None:
    ids = [submitter.submit()["task_id"] for _ in range(7)]
    operator.post(f"/tasks/{ids[0]}/cancel")
    found, cursor = [], ""
    while cursor is not None:
        answer = operator.get(f"/audit?limit=3&action=task.*{cursor and '&cursor=' + cursor}").json
        found += answer["items"]
        cursor = answer["next_cursor"]
    assert [entry["target"] for entry in found] == [ids[0], *ids[::-1]]
    assert [entry["action"] for entry in entries("/audit?action=task.cancel")] == ["task.cancel"]
    assert entries(f"/audit?actor={found[0]['actor']}") == [found[0]]
    third = found[-3]
    assert [entry["target"] for entry in entries(f"/audit?to={third['time']}&action=task.submit")][:3] == ids[:3]
    assert entries(f"/audit?from={found[0]['time']}")[-1] == found[0]
    assert entries("/audit?from=2100-01-01T00:00:00Z") == []
    for wrong in ("cursor=x", "cursor=1-1-1"):
        assert operator.get(f"/audit?{wrong}").json["code"] == "malformed-request"
    for wrong in ("from=x", "limit=0", "limit=201", "x=1", "platform=maybe"):
        assert operator.get(f"/audit?{wrong}").json["code"] == "invalid-request"


def test_nobody_reads_another_workspaces_trail(
    submitter: Caller, caller: MakeCaller, admin: Caller, entries: Entries, plane: ControlPlane
) -> None:
    submitter.submit()
    seal(plane)
    other = caller(Role.OPERATOR, "beta")
    assert {entry["trail"] for entry in entries(caller=other)} == {"beta"}
    exported = other.get("/audit/export").json["items"]
    assert {record["trail"] for record in exported if record["type"] != "end"} == {"beta"}
    assert not [record for record in exported if record.get("action") == "task.submit"]
    assert other.get("/audit?platform=true").json["code"] == "forbidden"
    for path in ("/audit", "/audit/verify", "/audit/export"):
        assert submitter.get(path).json["code"] == "forbidden"
    there = admin.get("/audit", headers={"X-Workspace-ID": "acme"}).json["items"]
    assert "task.submit" in [entry["action"] for entry in there]


def test_the_platforms_trail_has_agents_and_tokens(admin: Caller, agent: Caller, operator: Caller) -> None:
    agent.register("code-1")
    agent.register("code-1")
    operator.post("/agents/code-1/drain")
    operator.post("/agents/code-1/resume")
    operator.delete("/agents/code-1")
    made = operator.post("/tokens", {"role": "viewer", "name": "x"}).json
    operator.delete(f"/tokens/{made['token_id']}")
    found = admin.get("/audit?platform=true&limit=200").json["items"][::-1]
    ours = [(each["action"], each["target"]) for each in found if each["target"].endswith(("code-1", made["token_id"]))]
    agents = ["register", "register", "drain", "resume", "remove"]
    assert [action for action, _ in ours] == [*(f"agent.{each}" for each in agents), "token.issue", "token.revoke"]
    issued = next(each for each in found if each["action"] == "token.issue" and each["target"] == made["token_id"])
    assert issued["after"]["role"] == "viewer"
    assert made["token"].split("_")[2] not in str(found)
    assert all(each["address"] == "127.0.0.1" and each["correlation_id"] for each in found if each["kind"] == "agent")


def test_export_and_verify(
    submitter: Caller, operator: Caller, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aragora_cp.store.trails.ENTRIES_A_PART", 2)
    monkeypatch.setattr("aragora_cp.notary.ENTRIES_A_SEAL", 2)
    for _ in range(5):
        submitter.submit()  # and the workspace and two tokens were made
    seal(plane)
    submitter.submit()
    records, cursor = [], None
    while True:
        page = operator.get("/audit/export" + (f"?cursor={cursor}" if cursor else "")).json
        AuditExportSchema().load(page)
        records += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    verifier = Verifier()
    for record in records:
        verifier.feed(record)
    report = verifier.end()
    assert report.ok, report.breaks
    assert (report.entries, report.seals, report.unsealed, page["total"]) == (8, 4, 1, 9)
    told = operator.get("/audit/verify").json
    VerificationSchema().load(told)
    assert (told["holds"], told["first_break"], told["entries"], told["unsealed"]) == (True, None, 8, 1)
    assert told["head"] == report.head.hash if report.head else None
    for path in ("/audit/export", "/audit/verify"):
        assert operator.get(f"{path}?cursor=x").json["code"] == "malformed-request"
        assert operator.get(f"{path}?cursor=99").status_code in (404, 409)
    key = f"{plane.config.key_prefix}{{acme}}:audit"
    plane.client.xdel(key, plane.client.xrange(key)[2][0])  # type: ignore[index]
    told = operator.get("/audit/verify").json
    assert told["holds"] is False
    assert told["first_break"]["kind"] == "removed"


# --- refusals --------------------------------------------------------------------------------------------------------


def refused(found: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(e["action"], e["target"], e["outcome"]) for e in found if e["outcome"] != "accepted"]


def test_what_is_refused_before_a_script_is_noted(
    submitter: Caller, viewer: Caller, operator: Caller, entries: Entries
) -> None:
    viewer.post("/tasks/submit", dict(SUBMIT))
    submitter.post("/tasks/submit", {"x": 1})
    submitter.post("/tasks/submit", {**SUBMIT, "payload": {"text": "x" * 9000}})
    operator.post(f"/tasks/{UNKNOWN}/cancel")
    submitter.get("/audit")
    submitter.get(f"/tasks/{UNKNOWN}")  # that there is nothing is no refusal of a read
    task_id = submitter.submit()["task_id"]
    operator.post(f"/tasks/{task_id}/cancel")
    operator.post(f"/tasks/{task_id}/cancel")
    found = [each for each in entries() if each["kind"] != "workspace"]
    assert refused(found) == [
        ("task.submit", "", "forbidden"),
        ("task.submit", "", "invalid-request"),
        ("task.submit", "", "payload-too-large"),
        ("task.cancel", UNKNOWN, "not-found"),
        ("audit.list", "", "forbidden"),
        ("task.cancel", task_id, "already-final"),
    ]
    assert all(each["address"] == "127.0.0.1" and each["correlation_id"] for each in found)


def test_who_is_not_known_is_noted_in_the_platforms_trail(
    admin: Caller, anyone: Caller, submitter: Caller, app: Any, plane: ControlPlane
) -> None:
    token_id = (submitter.token or "").split("_")[1]
    anyone.post("/tasks/submit", dict(SUBMIT))
    submitter.post("/tasks/submit", dict(SUBMIT), headers={"X-Workspace-ID": "beta"})
    plane.tokens.revoke(token_id)
    Caller(app.test_client(), submitter.token).get("/tasks")
    Caller(app.test_client(), f"acp_{token_id}_{'x' * 43}").get("/tasks")
    found = admin.get("/audit?platform=true&limit=200").json["items"][::-1]
    told = [(e["actor"], e["action"], e["outcome"]) for e in found if e["outcome"] != "accepted"]
    assert told[:2] == [
        ("anonymous", "task.submit", "unauthenticated"),
        (f"token:{token_id}", "task.submit", "workspace-mismatch"),
    ]
    assert told[-1] == ("anonymous", "token.authenticate", "unauthenticated")
    assert len(told) in (3, 4)  # that the token was revoked may be known only in a second


def test_a_caller_who_is_refused_for_ever_fills_nothing(viewer: Caller, entries: Entries, plane: ControlPlane) -> None:
    for _ in range(120):
        assert viewer.post(f"/tasks/{UNKNOWN}/cancel").status_code == 403
    assert len(entries()) <= 42  # a minute may have begun in between
    key = f"{plane.config.key_prefix}{{acme}}:refused"
    assert int(plane.client.hget(key, "more") or 0) >= 70  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("endpoint", "action"),
    [
        ("tasks.submit_task", "task.submit"),
        ("reports.complete_task", "task.finish"),
        ("agents.heartbeat", "agent.heartbeat"),
        ("agents.list_agents", "agent.list"),
        ("workspaces.change_workspace", "workspace.change"),
        ("audit.export_audit", "audit.export"),
        ("x.single", "single.single"),
    ],
)
def test_operations_have_the_names_of_their_scripts(endpoint: str, action: str) -> None:
    assert action_of(endpoint) == action
