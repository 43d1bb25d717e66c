"""`aragora-cp tokens`: the first tokens, written to the store directly; whoever can do that needs no other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from aragora_cp.cli.failure import CommandFailed
from aragora_cp.cli.output import print_fields, print_json
from aragora_cp.cli.stores import require_store
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import Role
from aragora_cp.store.connection import connect
from aragora_cp.store.tokens import TokenStore
from aragora_cp.tenancy.tokens import TokenIssuer


@click.group()
def tokens() -> None:
    """Make and revoke tokens in the store that ARAGORA_CP_REDIS_URL names."""


@tokens.command()
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True)
@click.option("--workspace", help="The workspace that it is good for; without, the whole platform.")
@click.option("--name", default="", help="What it is for.")
@click.option(
    "--expires-in", type=float, metavar="SECONDS", help="How long it is good for; without, until it is revoked."
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def create(role: str, workspace: str | None, name: str, expires_in: float | None, as_json: bool) -> None:
    """Make a token. Its text is shown this once."""
    with _token_store() as store:
        issued = TokenIssuer(store).issue(workspace=workspace, role=Role(role), name=name, expires_in=expires_in)
    shown = {
        "token_id": issued.record.token_id,
        "token": issued.text,
        "role": role,
        "workspace": workspace,
        "name": name,
    }
    if as_json:
        print_json(shown)
    else:
        print_fields(shown)


@tokens.command()
@click.argument("token_id")
def revoke(token_id: str) -> None:
    """Make a token worthless everywhere within 2 seconds."""
    with _token_store() as store:
        if not store.revoke(token_id):
            raise CommandFailed(f"there is no token {token_id!r}")
    click.echo(f"revoked {token_id}")


@contextmanager
def _token_store() -> Iterator[TokenStore]:
    config = ControlPlaneConfig.from_env()
    require_store(config)
    client = connect(config, pool_size=1)
    try:
        yield TokenStore(client, config)
    finally:
        client.close()
