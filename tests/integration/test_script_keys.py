"""The scripts build the same keys as Python, and carry the same table of moves: asked of the real server."""

from __future__ import annotations

import pytest
import redis

from aragora_cp.model import LEGAL_MOVES, TaskStatus
from aragora_cp.store.keys import FLEET_KEYS, WORKSPACE_KEYS, fleet_keys, lua_table, workspace_keys
from aragora_cp.store.scripts import script
from tests.servers import EVERY_SERVER

pytestmark = pytest.mark.parametrize("server", EVERY_SERVER, indirect=True)

PARTS = ("a+b", "2", "x:y")


def built(client: redis.Redis, table: str, root: str, name: str, count: int) -> str:
    args = ", ".join(f"ARGV[{n}]" for n in range(1, count + 1))
    return client.eval(f"{table}\nreturn K.{name}({args})", 1, root, *PARTS[:count]).decode()


@pytest.mark.parametrize("name", WORKSPACE_KEYS)
def test_a_workspaces_keys(client: redis.Redis, name: str) -> None:
    keys = workspace_keys("p:", "acme")
    count = WORKSPACE_KEYS[name].count("{}")
    assert built(client, lua_table(WORKSPACE_KEYS), keys.root, name, count) == keys(name, *PARTS[:count])


@pytest.mark.parametrize("name", FLEET_KEYS)
def test_the_fleets_keys(client: redis.Redis, name: str) -> None:
    keys = fleet_keys("p:")
    count = FLEET_KEYS[name].count("{}")
    assert built(client, lua_table(FLEET_KEYS), keys.root, name, count) == keys(name, *PARTS[:count])


def test_numbers_of_lua_make_the_keys_of_python(client: redis.Redis) -> None:
    keys = workspace_keys("p:", "acme")
    found = client.eval(f"{lua_table(WORKSPACE_KEYS)}\nreturn K.released('lane', 2)", 1, keys.root)
    assert found.decode() == keys("released", "lane", 2)


def test_the_table_of_moves(client: redis.Redis) -> None:
    table = script("claim_task").source.split("local MOVES = ", 1)[1].split("\n}\n", 1)[0] + "\n}"
    for status in TaskStatus:
        for to in TaskStatus:
            found = client.eval(f"local MOVES = {table}\nreturn MOVES[ARGV[1]][ARGV[2]] and 1 or 0", 0, status, to)
            assert bool(found) == (to in LEGAL_MOVES[status]), (status, to)


def test_an_illegal_move_stops_a_script(client: redis.Redis) -> None:
    source = script("claim_task").source.split("-- home: workspace")[0]
    keys = workspace_keys("p:", "acme")
    with pytest.raises(redis.ResponseError, match="illegal move of a task from COMPLETED to PENDING"):
        client.eval(f"{source}\nmove('x', {{status = 'COMPLETED'}}, 'PENDING')", 1, keys.root)
    assert client.exists(keys("by", "PENDING")) == 0
