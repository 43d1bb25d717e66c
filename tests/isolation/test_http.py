"""Every operation of the OpenAPI document with B's tokens on A's ids: B cannot tell whether A has anything."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from aragora_cp.model import Role
from tests.isolation.estate import CANARY, A, Estate, belongings, changed
from tests.isolation.visits import VISITS, Visit
from tests.isolation.worlds import World, operations, shape

HOW = "tests/isolation/visits.py says how B calls each operation with what is A's"


def visits(operation: Mapping[str, Any], estate: Estate, world: World) -> Sequence[Visit]:
    """How to call the operation. Fails when the table does not know it, or not all of it."""
    name = operation["operationId"]
    if name not in VISITS:
        pytest.fail(f"the operation {name} ({operation['method']} {operation['path']}) is not in VISITS: {HOW}")
    found = VISITS[name](estate, world.own)
    holes = set(re.findall(r"{(\w+)}", operation["path"]))
    queries = {each["name"] for each in operation["parameters"] if each.get("in") == "query"}
    for visit in found:
        if set(visit.path) != holes:
            pytest.fail(f"VISITS[{name!r}] fills {set(visit.path)} of the path, which has {holes}: {HOW}")
    if missing := queries - {each for visit in found for each in visit.query}:
        pytest.fail(f"VISITS[{name!r}] never sends the query parameters {missing}: {HOW}")
    if "requestBody" in operation and all(visit.json is None for visit in found):
        pytest.fail(f"VISITS[{name!r}] never sends a body: {HOW}")
    return found


def sent(visit: Visit) -> list[str]:
    return [*visit.path.values(), *map(str, visit.query.values()), *visit.headers.values(), json.dumps(visit.json)]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def difference(told: object, nothing: object) -> str:
    """Both from where they differ."""
    with_a, without = str(told), str(nothing)
    same = next((n for n, pair in enumerate(zip(with_a, without, strict=False)) if pair[0] != pair[1]), 0)
    start = max(0, same - 60)
    return f"…{with_a[start:][:160]}… with A's data, …{without[start:][:160]}… without"


def test_b_cannot_tell_what_a_has(full: World, bare: World, estate: Estate) -> None:
    before = belongings(full.plane.client, full.plane.config.key_prefix, estate.marks)
    walked = calls = 0
    leaks: list[str] = []
    said = ""
    for role in full.tokens:
        for operation in operations(full.app):
            walked += 1
            asked = zip(visits(operation, estate, full), visits(operation, estate, bare), strict=True)
            for visit, same in asked:
                calls += 1
                where = f"{role} {operation['method']} {operation['path']} {visit}"
                answer = full.send(operation, visit, bearer(full.tokens[role]))
                told = shape(answer, sent(visit))
                nothing = shape(bare.send(operation, same, bearer(bare.tokens[role])), sent(same))
                if told != nothing:
                    leaks.append(f"{where}: {difference(told, nothing)}")
                if visit.refused and answer.status_code < 400:
                    leaks.append(f"{where}: was not refused: {told}")
                said += " ".join(sent(visit))
                if strange := {word for word in re.findall(rf"{CANARY}[\w.-]*", str(told)) if word not in said}:
                    leaks.append(f"{where}: shows {strange}")
    after = belongings(full.plane.client, full.plane.config.key_prefix, estate.marks)
    print(f"isolation: {walked} operations × roles, {calls} calls, {len(leaks)} leaks")
    assert not leaks, "\n".join(leaks)
    assert changed(before, after) == []


def test_naming_a_with_bs_token_is_refused(full: World, estate: Estate) -> None:
    before = belongings(full.plane.client, full.plane.config.key_prefix, estate.marks)
    for operation in operations(full.app):
        if not operation["security"]:
            continue
        for role, token in full.tokens.items():
            for visit in visits(operation, estate, full):
                answer = full.send(operation, visit, {**bearer(token), "X-Workspace-ID": A})
                refused = (answer.status_code, answer.json["code"])
                assert refused == (403, "workspace-mismatch"), (operation["operationId"], role)
    assert changed(before, belongings(full.plane.client, full.plane.config.key_prefix, estate.marks)) == []


@pytest.mark.parametrize("header", [{}, {"X-Workspace-ID": A}, {"Authorization": "Bearer", "X-Workspace-ID": A}])
def test_without_a_token_no_workspace_is_open(full: World, estate: Estate, header: dict[str, str]) -> None:
    for operation in operations(full.app):
        if operation["security"]:
            for visit in visits(operation, estate, full):
                answer = full.send(operation, visit, header)
                assert (answer.status_code, answer.json["code"]) == (401, "unauthenticated"), operation["operationId"]


def test_an_unknown_operation_is_not_passed_over(full: World, estate: Estate) -> None:
    new = {"operationId": "new_one", "method": "GET", "path": "/tasks/{task_id}/secrets", "parameters": []}
    with pytest.raises(pytest.fail.Exception, match=r"new_one .* is not in VISITS"):
        visits(new, estate, full)
    grown = {**new, "operationId": "get_task", "path": "/tasks/{task_id}/{part}"}
    with pytest.raises(pytest.fail.Exception, match="of the path"):
        visits(grown, estate, full)
    asked = {**new, "operationId": "cancel_task", "parameters": [{"in": "query", "name": "why"}]}
    with pytest.raises(pytest.fail.Exception, match=r"never sends the query parameters .*why"):
        visits(asked, estate, full)
    filled = {**new, "operationId": "cancel_task", "requestBody": {}}
    with pytest.raises(pytest.fail.Exception, match="never sends a body"):
        visits(filled, estate, full)


def test_every_role_is_walked(full: World) -> None:
    assert set(full.tokens) >= set(Role) - {Role.ADMIN}
