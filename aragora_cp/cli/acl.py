"""`aragora-cp acl`: access rules for the store's server, one user for each kind of process."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence

import click

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.engine import access as of_queues
from aragora_cp.lanes import RESERVED_WORKSPACES, WORKSPACE
from aragora_cp.store import access as of_store
from aragora_cp.store.access import EVERYONE, Grant

PASSWORD_VARIABLE = "ACL_PASSWORD_"  # noqa: S105 - the name of a variable


@click.command()
@click.option("--workspace", "workspaces", multiple=True, metavar="NAME",
              help="Only the user of this workspace's private agents; may be repeated.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["aclfile", "commands"]), default="aclfile", show_default=True)
def acl(workspaces: tuple[str, ...], form: str) -> None:
    """Print access rules for Redis or Valkey: users for web, monitor and shared agents, or private ones.

    A user's password is taken from the environment, ACL_PASSWORD_ and the user's name in capitals with _ for -, or
    made anew and told once, on standard error. The rules hold its SHA-256 alone.
    """
    config = ControlPlaneConfig.from_env()
    for name in workspaces:
        if not WORKSPACE.fullmatch(name) or name in RESERVED_WORKSPACES:
            raise click.UsageError(f"{name!r} is not the name of a workspace")
    found = {f"aragora-agent-{name}": agent_rules(config, name) for name in workspaces} or common_rules(config)
    for user, grants in found.items():
        click.echo(user_rule(user, _password(user), grants, form))


def common_rules(config: ControlPlaneConfig) -> Mapping[str, Sequence[Grant]]:
    """The platform's own users, by name."""
    prefix = config.key_prefix
    web, monitor = of_store.web_grants(prefix), of_store.monitor_grants(prefix)
    if _queues_in_redis(config):
        web, monitor = web + of_queues.web_grants(config), monitor + of_queues.monitor_grants(config)
    return {"aragora-web": web, "aragora-monitor": monitor, "aragora-agent": agent_rules(config, None)}


def agent_rules(config: ControlPlaneConfig, workspace: str | None) -> Sequence[Grant]:
    """What an agent may do: a workspace's own, or a shared one."""
    grants = of_store.agent_grants(config.key_prefix, workspace)
    return grants + of_queues.agent_grants(config, workspace) if _queues_in_redis(config) else grants


def user_rule(user: str, password: str, grants: Sequence[Grant], form: str) -> str:
    """One line. Each grant is a selector of its own, so that no command of one reaches the keys of another."""
    digest = hashlib.sha256(password.encode()).hexdigest()
    selectors = [f"({' '.join(['-@all', *grant.rules()])})" for grant in grants]
    rules = ["on", f"#{digest}", "resetkeys", "resetchannels", "-@all", *Grant(EVERYONE).rules(), *selectors]
    # An ACL file begins from nothing; a command changes a user that may be there.
    head = f"user {user}" if form == "aclfile" else f"ACL SETUSER {user} reset"
    return f"{head} {' '.join(rules)}"


def _password(user: str) -> str:
    name = PASSWORD_VARIABLE + user.upper().replace("-", "_")
    given = os.environ.get(name)
    if given:
        return given
    made = secrets.token_urlsafe(32)
    click.echo(f"{user}: {made}", err=True)
    return made


def _queues_in_redis(config: ControlPlaneConfig) -> bool:
    return not config.effective_broker_url.startswith("amqp")
