"""What each kind of process may do in the store, as grants of commands on keys and channels.

A script runs with its caller's rights, and the server checks every command and key inside it. So these are the keys of
`store.keys` by name, each with the commands that the process's own calls and scripts use on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aragora_cp.store.keys import COMMON_KEYS, FLEET_KEYS, TRAIL_KEYS, WORKSPACE_KEYS, fleet_keys, workspace_keys

#: The scope of shared agents is called `*`, which in a pattern means itself only behind a backslash.
_SHARED_SCOPE = "\\*"
#: What people and the monitor write, and the scripts of agents do not.
_SETTLED = ("workspace", "budgets", "flags", "policies", "prices")
#: Hashes, sets and strings that hold the state of tasks, and nothing else of a workspace.
_OF_TASKS = tuple(
    name for name in WORKSPACE_KEYS if name not in {*COMMON_KEYS, *_SETTLED, "taken_over", "keys", "events", "done"}
)

#: What every connection does: keyless commands. Of CLIENT all that is about the connection itself, by what is left out:
#: a server refuses a rule with a name that it does not know, and not every one knows `client|setinfo`. Tracking would
#: tell the names of others' keys.
EVERYONE = (
    *("auth", "hello", "select", "ping", "time", "multi", "exec", "discard", "client", "-client|tracking"),
    *("-client|kill", "-client|list", "-client|pause", "-client|unpause", "-client|unblock", "-client|no-evict"),
)
_TASK_COMMANDS = (
    *("exists", "del", "get", "set", "incr", "pexpire", "persist"),
    *("hget", "hmget", "hgetall", "hset", "hincrby", "hdel", "hexists", "hlen"),
    *("sadd", "srem", "smembers", "zadd", "zrem", "zcard", "zrange", "zscore"),
)


@dataclass(frozen=True, slots=True)
class Grant:
    """Commands, and the keys or channels that they may be used on. `of_keys` narrows: ``R`` reads, ``W`` writes
    without reading, ``RW`` both."""

    commands: tuple[str, ...]
    keys: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    of_keys: str = "RW"

    def rules(self) -> list[str]:
        """As the server writes them."""
        mark = "~" if self.of_keys == "RW" else f"%{self.of_keys}~"
        commands = (command if command[0] in "+-" else f"+{command}" for command in self.commands)
        return [*commands, *(f"{mark}{key}" for key in self.keys), *(f"&{channel}" for channel in self.channels)]


def agent_grants(prefix: str, workspace: str | None) -> list[Grant]:
    """An agent's process: of one workspace, or shared by all (None)."""
    home, scope = workspace or "*", workspace or _SHARED_SCOPE
    record = f"{workspace}/*" if workspace else "*"
    own, fleet = workspace_keys(prefix, home), fleet_keys(prefix)
    return [
        _scripts(own.root, fleet.root),
        Grant(_TASK_COMMANDS, tuple(_patterns(own.root, WORKSPACE_KEYS, _OF_TASKS))),
        Grant(("xadd",), (own("events"), own("audit"), fleet("audit")), of_keys="W"),
        *_counted_refusals(own("refused"), fleet("refused")),
        Grant(("hget", "hmget", "hgetall"), tuple(own(name) for name in _SETTLED), of_keys="R"),
        Grant(("hgetall",), (fleet("flags"), fleet("policies"), fleet("prices")), of_keys="R"),
        # A sub-task is judged where it is submitted.
        Grant(("xadd",), (own("decisions"),), of_keys="W"),
        Grant(("hincrby",), (own("mismatches"),)),
        Grant(("hget", "hgetall", "hset", "hsetnx"), (own("keys"),)),
        Grant(("publish", "subscribe", "unsubscribe"), channels=tuple(_patterns(own.root, WORKSPACE_KEYS, ("done",)))),
        # Its own record, and its part of what is counted of the whole fleet.
        Grant(("hget", "hmget", "hgetall", "hset", "hincrby"), (fleet("agent", record),)),
        Grant(("zadd", "zrange"), (fleet("agents", scope),)),
        Grant(("zadd", "zrem"), (fleet("beats"), fleet("offline"), fleet("lost"), fleet("active")), of_keys="W"),
        Grant(("zscore",), (fleet("beats"),), of_keys="R"),
        Grant(("hset", "hincrby", "hdel", "hgetall"), (fleet("lanes"), fleet("slots"))),
        Grant(("hget", "hgetall", "hincrby", "hdel"), (fleet("members"), fleet("ejected"))),
        # Its breaker, and those of the models that its pool works with.
        Grant(("hget", "hset", "hdel", "hkeys", "hvals", "hgetall", "hexists"), (fleet("calls", record),)),
        Grant(("exists", "hmget", "hset", "hincrby", "pexpire"), (fleet("model", f"{scope}/*"),)),
        Grant(("zadd", "zrem", "zcount", "zremrangebyscore", "pexpire"), (fleet("probes", f"{scope}/*"),)),
        Grant(("incr",), (fleet("lanes_version"),)),
        # A shared one looks at its start for workspaces whose root key it lacks.
        *([] if workspace else [Grant(("zrange",), (fleet("active"),), of_keys="R")]),
        Grant(("get",), (fleet("lanes_load"),), of_keys="R"),
        # It shows its own token at the start. Nobody can list the others: their ids are unguessable.
        Grant(("hgetall",), (fleet("token", "*"),), of_keys="R"),
    ]


def web_grants(prefix: str) -> list[Grant]:
    """The API's processes: everything of everyone, except to change what an audit trail says."""
    trails = [workspace_keys(prefix, "*"), fleet_keys(prefix)]
    written = [
        *_patterns(trails[0].root, WORKSPACE_KEYS, [name for name in WORKSPACE_KEYS if name not in TRAIL_KEYS]),
        *_patterns(trails[1].root, FLEET_KEYS, [name for name in FLEET_KEYS if name not in TRAIL_KEYS]),
    ]
    return [
        _scripts(*(trail.root for trail in trails)),
        Grant(("info",)),
        Grant(("@read", "-keys"), (f"{prefix}*",), of_keys="R"),
        Grant(("@read", "@write", "-@dangerous"), tuple(written)),
        Grant(("xadd",), tuple(trail("audit") for trail in trails), of_keys="W"),
        *_counted_refusals(*(trail("refused") for trail in trails)),
        Grant(("publish", "subscribe", "unsubscribe"), channels=(f"{prefix}*",)),
    ]


def monitor_grants(prefix: str) -> list[Grant]:
    """The monitor, and administrators' commands: everything below the prefix, and nothing of the server itself."""
    return [
        Grant(("@read", "@write", "evalsha", "eval", "-@dangerous", "info"), (f"{prefix}*",)),
        Grant(("publish", "subscribe", "unsubscribe"), channels=(f"{prefix}*",)),
    ]


def _scripts(*roots: str) -> Grant:
    """A script names its root as its key; what it does below that is judged by the other grants."""
    return Grant(("evalsha", "eval"), roots)


def _counted_refusals(*keys: str) -> list[Grant]:
    return [Grant(("hmget", "hsetnx", "hincrby", "del"), keys)]


def _patterns(root: str, templates: Mapping[str, str], names: Iterable[str]) -> Iterable[str]:
    return (root + templates[name].replace("{}", "*") for name in names)
