"""/tokens: what a token may make, narrowed tokens, rotation, guessing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from aragora_cp.api.app import create_app
from aragora_cp.api.services import services
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import Role
from aragora_cp.wiring import ControlPlane, build
from tests.waiting import eventually

from .conftest import SUBMIT, Caller, MakeCaller

UNKNOWN = "0" * 16


@pytest.fixture
def admin(caller: MakeCaller) -> Caller:
    return caller(Role.ADMIN, None)


def made(by: Caller, app: Flask, role: str = "submitter", **more: Any) -> Caller:
    """A caller with a token that `by` makes."""
    answer = by.post("/tokens", {"role": role, "name": "made", **more})
    assert answer.status_code == 201, answer.json
    return Caller(app.test_client(), answer.json["token"])


def token_id(of: Caller) -> str:
    assert of.token
    return of.token[4:20]


def test_a_tokens_life(app: Flask, operator: Caller) -> None:
    answer = operator.post("/tokens", {"role": "viewer", "name": "ci", "expires_in": 60})
    assert answer.status_code == 201
    record = {name: value for name, value in answer.json.items() if name != "token"}
    assert (record["workspace"], record["role"], record["name"]) == ("acme", "viewer", "ci")
    assert (record["task_types"], record["last_used_at"], record["rotated_at"]) == (None, None, None)
    assert record["expires_at"] > record["created_at"]
    listed = operator.get("/tokens").json["items"]
    assert record in listed
    assert answer.json["token"].rpartition("_")[2] not in str(listed)
    holder = Caller(app.test_client(), answer.json["token"])
    assert holder.get("/tasks").status_code == 200
    assert operator.delete(f"/tokens/{record['token_id']}").status_code == 204
    assert holder.get("/tasks").status_code == 401
    assert operator.delete(f"/tokens/{record['token_id']}").status_code == 204
    assert record["token_id"] not in str(operator.get("/tokens").json)


def test_pages(operator: Caller) -> None:
    for _ in range(4):
        operator.post("/tokens", {"role": "viewer", "name": ""})
    found, path = [], "/tokens?limit=2"
    while True:
        page = operator.get(path).json
        found += [each["token_id"] for each in page["items"]]
        if page["next_cursor"] is None:
            break
        path = f"/tokens?limit=2&cursor={page['next_cursor']}"
    assert len(found) == len(set(found)) == 5
    assert found == sorted(found)
    assert operator.get("/tokens?cursor=x").status_code == 400


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"name": "n"}, "role"),
        ({"role": "viewer"}, "name"),
        ({"role": "king", "name": "n"}, "role"),
        ({"role": "viewer", "name": "n", "expires_in": 0}, "expires_in"),
        ({"role": "viewer", "name": "n", "task_types": ["a b"]}, "task_types.0"),
        ({"role": "viewer", "name": "n", "networks": ["10.0.0.0/64"]}, "networks"),
        ({"role": "viewer", "name": "n", "networks": "10.0.0.0/8"}, "networks"),
        ({"role": "viewer", "name": "n", "workspace": "beta"}, "workspace"),
    ],
)
def test_bad_bodies(operator: Caller, body: dict[str, Any], named: str) -> None:
    answer = operator.post("/tokens", body)
    assert (answer.status_code, list(answer.json["errors"])) == (422, [named])


class TestReach:
    def test_nobody_makes_a_role_above_their_own(self, operator: Caller, admin: Caller) -> None:
        for role in ("operator", "submitter", "viewer", "agent"):
            assert operator.post("/tokens", {"role": role, "name": "n"}).status_code == 201
        assert operator.post("/tokens", {"role": "admin", "name": "n"}).status_code == 403
        assert operator.post("/tokens", {"role": "viewer", "name": "n", "platform": True}).status_code == 403
        assert admin.post("/tokens", {"role": "admin", "name": "n"}).status_code == 422
        of_platform = admin.post("/tokens", {"role": "admin", "name": "n", "platform": True})
        assert (of_platform.status_code, of_platform.json["workspace"]) == (201, None)

    def test_an_admin_makes_tokens_of_the_workspace_that_it_names(self, app: Flask, admin: Caller) -> None:
        answer = admin.post("/tokens", {"role": "viewer", "name": "n"}, headers={"X-Workspace-ID": "beta"})
        assert answer.json["workspace"] == "beta"
        assert admin.post("/tokens", {"role": "viewer", "name": "n"}).json["workspace"] == "default"

    def test_the_platforms_tokens_are_its_admins(self, caller: MakeCaller, admin: Caller, operator: Caller) -> None:
        listed = admin.get("/tokens?platform=true").json["items"]
        assert [each["token_id"] for each in listed] == [token_id(admin)]
        assert operator.get("/tokens?platform=true").status_code == 403
        everywhere = caller(Role.OPERATOR, None)
        assert everywhere.get("/tokens?platform=true").status_code == 403
        for each in (operator, everywhere):
            assert each.post(f"/tokens/{token_id(admin)}/rotate", {}).status_code == 404
            assert each.delete(f"/tokens/{token_id(admin)}").status_code == 404
        assert admin.post(f"/tokens/{token_id(everywhere)}/rotate", {}).status_code == 200

    def test_anothers_token_is_answered_as_one_that_does_not_exist(
        self, caller: MakeCaller, operator: Caller, viewer: Caller
    ) -> None:
        spy = caller(Role.OPERATOR, "beta")
        for known in (token_id(viewer), UNKNOWN, "x"):
            assert spy.delete(f"/tokens/{known}").status_code == 404
            assert spy.post(f"/tokens/{known}/rotate", {}).status_code == 404
        assert {each["workspace"] for each in spy.get("/tokens").json["items"]} == {"beta"}
        assert viewer.get("/tasks").status_code == 200

    def test_a_narrowed_operator_gives_no_more_than_it_has(self, app: Flask, operator: Caller) -> None:
        narrow = made(operator, app, "operator", task_types=["t"], networks=["127.0.0.0/8"])
        inherited = narrow.post("/tokens", {"role": "viewer", "name": "n"}).json
        assert (inherited["task_types"], inherited["networks"]) == (["t"], ["127.0.0.0/8"])
        wider = {"role": "viewer", "name": "n", "task_types": ["t", "u"]}
        assert narrow.post("/tokens", wider).status_code == 403
        assert narrow.post(f"/tokens/{token_id(operator)}/rotate", {}).status_code == 403
        assert narrow.post(f"/tokens/{inherited['token_id']}/rotate", {}).status_code == 200


class TestScopes:
    def test_task_types_and_capabilities_of_tasks(self, app: Flask, operator: Caller) -> None:
        holder = made(operator, app, task_types=["code.review"], capabilities=["code", "search"])
        assert holder.submit()["status"] == "PENDING"
        for changes in ({"task_type": "other"}, {"required_capabilities": ["code", "gpu"]}):
            refused = holder.post("/tasks/submit", {**SUBMIT, **changes})
            assert (refused.status_code, refused.json["code"]) == (403, "forbidden")

    def test_task_types_and_capabilities_of_agents(self, app: Flask, operator: Caller) -> None:
        holder = made(operator, app, "agent", task_types=["t"], capabilities=["code"])
        body = {"agent_id": "a1", "capabilities": ["code"], "model": "m", "task_types": {"t": {}}}
        for changes in ({"capabilities": ["code", "gpu"]}, {"task_types": {"u": {}}}, {"task_types": {}}):
            assert holder.post("/agents/register", {**body, **changes}).status_code == 403
        assert holder.post("/agents/register", body).status_code == 201

    def test_networks(self, app: Flask, operator: Caller) -> None:
        holder = made(operator, app, networks=["192.0.2.0/24", "2001:db8::/32"])

        def status(address: str, forwarded: str = "") -> int:
            headers = {"X-Forwarded-For": forwarded} if forwarded else {}
            return holder.get("/tasks", environ_base={"REMOTE_ADDR": address}, headers=headers).status_code

        assert [status(each) for each in ("192.0.2.9", "2001:db8::9")] == [200, 200]
        assert [status(each) for each in ("192.0.3.9", "::1", "")] == [403, 403, 403]
        assert status("127.0.0.1", "192.0.2.9") == 403  # no proxy of ours is configured: it is not believed

    def test_networks_behind_a_proxy_of_ours(self, config: ControlPlaneConfig, app: Flask, operator: Caller) -> None:
        text = made(operator, app, networks=["192.0.2.0/24"]).token
        plane = build(replace(config, trusted_proxies=1))
        behind = create_app(plane)
        holder = Caller(behind.test_client(), text)
        try:
            for forwarded, status in (
                ("192.0.2.9", 200),
                ("192.0.2.9, 198.51.100.1", 403),
                ("8.8.8.8, 192.0.2.9", 200),
            ):
                assert holder.get("/tasks", headers={"X-Forwarded-For": forwarded}).status_code == status
        finally:
            services(behind).close()
            plane.close()


class TestRotating:
    def test_both_secrets_are_good_for_the_overlap(self, app: Flask, operator: Caller) -> None:
        old = made(operator, app)
        answer = operator.post(f"/tokens/{token_id(old)}/rotate", {"overlap": 0.5})
        assert answer.status_code == 200
        new = Caller(app.test_client(), answer.json["token"])
        assert token_id(new) == token_id(old)
        assert answer.json["rotated_at"]
        assert new.get("/tasks").status_code == old.get("/tasks").status_code == 200
        eventually(lambda: old.get("/tasks").status_code == 401, 3, "the old secret is worthless")
        assert new.get("/tasks").status_code == 200

    def test_without_an_overlap_it_is_worthless_at_once(self, app: Flask, operator: Caller) -> None:
        old = made(operator, app)
        assert operator.post(f"/tokens/{token_id(old)}/rotate", {"overlap": 0}).status_code == 200
        assert old.get("/tasks").status_code == 401

    def test_a_revoked_one_stays_revoked(self, app: Flask, operator: Caller) -> None:
        old = made(operator, app)
        operator.delete(f"/tokens/{token_id(old)}")
        assert operator.post(f"/tokens/{token_id(old)}/rotate", {}).json["code"] == "conflict"


def test_revoking_is_heard_at_once_in_another_process(plane: ControlPlane, operator: Caller, viewer: Caller) -> None:
    second = create_app(plane)
    elsewhere = Caller(second.test_client(), viewer.token)
    assert elsewhere.get("/tasks").status_code == 200
    services(second).tenancy._authenticator._cache._fresh = 60  # nothing but the push can tell it
    eventually(
        lambda: plane.client.pubsub_numsub(f"{plane.config.key_prefix}{{@}}:changes")[0][1] >= 1, 5, "it listens"
    )
    try:
        assert elsewhere.get("/tasks").status_code == 200
        operator.delete(f"/tokens/{token_id(viewer)}")
        eventually(lambda: elsewhere.get("/tasks").status_code == 401, 2, "the word has come")
    finally:
        services(second).close()


def test_the_last_use_is_noted(operator: Caller, viewer: Caller) -> None:
    viewer.get("/tasks")

    def noted() -> str | None:
        items = operator.get("/tokens").json["items"]
        return next(each["last_used_at"] for each in items if each["token_id"] == token_id(viewer))

    eventually(noted, 5, "the use is noted")


def test_a_guesser_is_refused_and_written_down(config: ControlPlaneConfig, plane: ControlPlane, viewer: Caller) -> None:
    app = create_app(replace(plane, config=replace(config, auth_failures=3)))
    wrong = Caller(app.test_client(), f"acp_{UNKNOWN}_{'x' * 43}")
    known = Caller(app.test_client(), viewer.token)
    try:
        assert known.get("/tasks").status_code == 200
        answers = [wrong.get("/tasks") for _ in range(6)]
        assert [answer.status_code for answer in answers] == [401] * 3 + [429] * 3
        assert answers[-1].json["code"] == "rate-limited"
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
        assert answers[-1].headers["RateLimit-Policy"] == '"authentication";q=3;w=60'
        assert answers[-1].headers["RateLimit"].startswith('"authentication";r=0;t=')
        assert known.get("/tasks").status_code == 200
        elsewhere = wrong.get("/tasks", environ_base={"REMOTE_ADDR": "192.0.2.1"})
        assert elsewhere.status_code == 401
    finally:
        services(app).close()
    entries = [entry for _, entry in plane.client.xrange(f"{config.key_prefix}{{@}}:audit")]
    told = [entry[b"outcome"] for entry in entries if entry[b"action"] == b"token.authenticate"]
    assert told == [b"unauthenticated"] * 3 + [b"rate-limited", b"unauthenticated"]
    assert plane.client.ttl(f"{config.key_prefix}{{@}}:failures:127.0.0.1") > 0
