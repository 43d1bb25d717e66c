"""Key names."""

from __future__ import annotations

import pytest

from aragora_cp.store.keys import FLEET_KEYS, WORKSPACE_KEYS, fleet_keys, lua_table, workspace_keys
from aragora_cp.store.scripts import script


def parts_of(template: str) -> list[str]:
    return [f"p{n}" for n in range(template.count("{}"))]


@pytest.mark.parametrize("name", WORKSPACE_KEYS)
def test_every_key_of_a_workspace_has_its_hash_tag(name: str) -> None:
    key = workspace_keys("aragora:cp:", "acme")(name, *parts_of(WORKSPACE_KEYS[name]))
    assert key.startswith("aragora:cp:{acme}:")
    assert key.index("{acme}") == key.index("{")


@pytest.mark.parametrize("name", FLEET_KEYS)
def test_every_key_of_the_fleet_has_its_own_hash_tag(name: str) -> None:
    key = fleet_keys("aragora:cp:")(name, *parts_of(FLEET_KEYS[name]))
    assert key.startswith("aragora:cp:{@}:")


def test_names_in_keys_are_taken_as_they_are() -> None:
    assert workspace_keys("p:", "acme")("task", "{}{0}") == "p:{acme}:task:{}{0}"


def test_there_is_no_key_without_a_workspace() -> None:
    with pytest.raises(ValueError, match="need the workspace's name"):
        workspace_keys("p:", "")


def test_a_name_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(KeyError):
        workspace_keys("p:", "acme")("tusk", "1")


def test_templates_stay_apart() -> None:
    """No two names of one table make the same key, whatever their parts are: the fixed starts differ."""
    for table in (WORKSPACE_KEYS, FLEET_KEYS):
        starts = [template.split("{}")[0] for template in table.values()]
        assert len(set(starts)) == len(starts)


def test_no_script_makes_a_key_by_hand() -> None:
    names = ["submit_task", "claim_task", "sweep_workspace", "register_agent", "lead_monitors"]
    for name in names:
        body = script(name).source.split(lua_table(WORKSPACE_KEYS))[-1].split(lua_table(FLEET_KEYS))[-1]
        assert "KEYS[1] .." not in body
