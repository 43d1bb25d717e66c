"""Every key and channel name, for Python and for the scripts.

All keys of a workspace share the hash tag ``{workspace}``, so one script touches one cluster slot; the fleet's own
share ``{@}``, which no workspace can be called. The scripts get these same names from `lua_table`, so a name exists
once.
"""

from __future__ import annotations

from collections.abc import Mapping

#: name: template. `{}` are the parts a key is made from. Every home has an audit trail of its own.
TRAIL_KEYS: Mapping[str, str] = {
    "audit": "audit",  # stream: entries
    "seals": "seals",  # stream, ids 1-0, 2-0, …: one seal over the entries since the one before
    "refused": "refused",  # hash: refusals of this minute, all and by address
}

#: What both the fleet and every workspace have.
COMMON_KEYS: Mapping[str, str] = {
    **TRAIL_KEYS,
    "flags": "flags",  # hash: name -> its newest version
    "flag_versions": "flag-versions:{}",  # list: a flag's versions, newest first
    "policies": "policies",  # hash: enforce:<name>, shadow:<name> -> the document in force; revision
    "policy": "policy:{}",  # hash: number -> document, never changed; last, in_force, before
    "decisions": "decisions",  # stream: what the policy was asked lately, and how it decided
    "mismatches": "mismatches",  # hash: <policy>@<version> in shadow mode -> decisions it would have made otherwise
    "prices": "prices",  # hash: `current` -> version, v<version> -> prices by model, at<version> -> when it was set
}

WORKSPACE_KEYS: Mapping[str, str] = {
    **COMMON_KEYS,
    "workspace": "workspace",  # hash: the workspace's settings
    "taken_over": "taken-over",  # string: newest entry of the platform's trail that this workspace's has too
    "keys": "keys",  # hash: id -> wrapped key, `current` -> id, `digest` -> wrapped key
    "task": "task:{}",  # hash: one record
    "tasks": "tasks",  # zset by creation time: every record
    "by": "by:{}",  # zset by time of entry: the records in one status
    "seq": "seq",  # counter: a task's place in its class
    "backlog": "backlog:{}:{}",  # zset by place: waiting, not released; capability key (or @agent), priority
    "waiting": "waiting:{}",  # zset by place of the head: the backlogs of a priority that are not empty
    "released": "released:{}:{}",  # zset by time: tickets out; lane, priority
    "running": "running",  # zset by end of lease
    "delayed": "delayed",  # zset by due time: backoff, delay, run_at
    "deadlines": "deadlines",  # zset by end of queue_timeout
    "held": "held",  # zset by end of the time for approval
    "awaiting": "awaiting:{}",  # set: tasks that a parked task waits for
    "awaited": "awaited:{}",  # set: parked tasks that wait for a task
    "children": "children:{}",  # set: sub-tasks of a task
    "counts": "counts",  # hash: figures since the monitor looked last, which takes them
    "load": "load",  # hash: running:<lane>, tickets:<lane>
    "idem": "idem:{}",  # string with expiry: digest and task of an idempotency key
    "rate": "rate:{}:{}",  # string with expiry: a rate limit's theoretical arrival time; name, token ('' the workspace)
    "limits": "limits",  # hash: <name of a rate limit>:refused, :would-refuse
    "budgets": "budgets",  # hash: name -> definition, JSON
    "spend": "spend:{}:{}:{}",  # hash with expiry: spent, reserved, overrun; budget, its generation, window
    "reservations": "reservations",  # hash: task -> what it has reserved of which budgets
    "reserved": "reserved",  # zset by last look: tasks that have reserved something
    "costs": "costs",  # hash: task type -> what one may cost, as learned
    "usage": "usage:{}",  # hash with expiry: what was used on a day (days since 1970)
    "cache": "cache:{}",  # string with expiry: task whose result answers for a digest
    "epoch": "epoch",  # the newest monitor leader seen here
    "events": "events",  # stream
    "done": "done:{}",  # channel: a task became final
}

FLEET_KEYS: Mapping[str, str] = {
    **COMMON_KEYS,
    "agent": "agent:{}",  # hash: one agent
    "agents": "agents:of:{}",  # zset, lexical: ids of a scope ("*": shared, or a workspace)
    "beats": "agents:beats",  # zset by last heartbeat: agents that are not offline
    "offline": "agents:offline",  # zset by time
    "lanes": "lanes",  # hash: lane -> pool and capabilities
    "slots": "lanes:slots",  # hash: lane -> slots that may take new work
    "members": "lanes:members",  # hash: lane -> agents that are not offline
    "ejected": "lanes:ejected",  # hash: lane -> agents that are out by their own breakers
    "calls": "calls:{}",  # hash: attempts that an agent has in hand, for its breaker
    "model": "model:{}",  # hash with expiry: breaker of a model in a pool; pool, slash, model
    "probes": "model-probes:{}",  # zset with expiry, by end of lease: attempts that try a model out
    "lanes_load": "lanes:load",  # string: the leader's last count, JSON
    "lanes_version": "lanes:version",  # counter: bumped by every change of lanes or slots
    "trails": "trails",  # zset, lexical: workspaces whose audit trail has a seal
    "workspaces": "workspaces",  # zset, lexical: every workspace
    "active": "active",  # zset by next look of the monitor: workspaces with something to look at
    "leader": "monitor:leader",  # string with expiry
    "epoch": "monitor:epoch",  # counter: leaders so far
    "tick": "monitor:tick",  # hash: last tick, end of the hold-off
    "token": "token:{}",  # hash: one token
    "tokens": "tokens:{}",  # zset, lexical: token ids of a scope, without the revoked ones
    "ending": "ending:{}",  # zset by time: token ids of a scope that end: expired then, or forgotten after revoking
    "failures": "failures:{}",  # string with expiry: failed authentications of a source address
    "changes": "changes",  # channel: what local caches must read again
    "lost": "agents:lost",  # zset by time: those of the offline agents that did not say goodbye
    "metrics": "metrics",  # hash: every counter of the fleet
    "counted": "metrics:counted:{}",  # string with expiry: these figures were added already
    "health": "health",  # string: the leader's last report, JSON
    "instances": "instances",  # zset by last beat: processes that are no agents
    "instance": "instance:{}",  # string with expiry: what one of them said last, JSON
    "alert": "alert:{}",  # hash: an incident that is pending or fires; rule|subject
    "open_alerts": "alerts:{}",  # zset by time: the open incidents of a rule
    "alert_log": "alerts",  # stream: incidents that began and ended
    "silences": "silences",  # hash: name -> JSON
    "delivery": "delivery:{}",  # hash: one message to one sink; sink|incident|kind
    "deliveries": "deliveries",  # zset by due time: those under way
    "dead_deliveries": "deliveries:dead",  # zset by time: those given up
    "quarantine": "quarantine",  # list: queue messages that were no tickets
    "probe": "probe:{}",  # string with expiry: written by readiness
}


class _Keys:
    def __init__(self, root: str, templates: Mapping[str, str]) -> None:
        self.root = root
        self._templates = templates

    def __call__(self, name: str, *parts: object) -> str:
        """The key `name` made from `parts`. Raises KeyError for a name that is not in the table."""
        return self.root + self._templates[name].format(*parts)


def fleet_keys(prefix: str) -> _Keys:
    return _Keys(f"{prefix}{{@}}:", FLEET_KEYS)


def workspace_keys(prefix: str, workspace: str) -> _Keys:
    """Keys of one workspace; there is no way to name one of its keys without naming the workspace."""
    if not workspace:
        raise ValueError("a workspace's keys need the workspace's name")
    return _Keys(f"{prefix}{{{workspace}}}:", WORKSPACE_KEYS)


def lua_table(templates: Mapping[str, str]) -> str:
    """Lua source of a table `K` of functions that build the same keys below `KEYS[1]`, the root."""
    lines = ["local K = {}"]
    for name, template in templates.items():
        parts = template.split("{}")
        args = ", ".join(f"p{n}" for n in range(1, len(parts)))
        pieces = [f"'{parts[0]}'"]
        for n, part in enumerate(parts[1:], start=1):
            pieces += [f"p{n}", *([f"'{part}'"] if part else [])]
        lines.append(f"function K.{name}({args}) return KEYS[1] .. {' .. '.join(pieces)} end")
    return "\n".join(lines)
