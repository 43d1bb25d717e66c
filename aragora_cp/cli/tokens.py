"""`aragora-cp tokens`: in the store itself; whoever can write there needs no token for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click

from aragora_cp.cli.failure import CommandFailed
from aragora_cp.cli.output import moment, print_fields, print_json, print_table
from aragora_cp.cli.stores import as_local_user, require_store
from aragora_cp.cli.workspaces import meant
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import NotFound
from aragora_cp.model import Role, Scopes
from aragora_cp.store.connection import connect
from aragora_cp.store.tokens import PLATFORM_SCOPE, TokenRecord, TokenStore
from aragora_cp.store.workspaces import WorkspaceStore
from aragora_cp.tenancy.tokens import LONGEST_OVERLAP, OVERLAP, IssuedToken, TokenIssuer
from aragora_cp.tenancy.workspaces import Workspaces

_NAMES_LOOKED_AT = 1000
_PAGE = 100

json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group()
def tokens() -> None:
    """Look after tokens in the store that ARAGORA_CP_REDIS_URL names."""


@tokens.command()
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True)
@click.option("--workspace", help="The workspace that it is good for; without, the whole platform.")
@click.option("--name", default="", help="What it is for.")
@click.option(
    "--expires-in", type=float, metavar="SECONDS", help="How long it is good for; without, until it is revoked."
)
@click.option("--task-type", "task_types", multiple=True, help="Only for tasks of this type; may be repeated.")
@click.option("--capability", "capabilities", multiple=True, help="Only for this capability; may be repeated.")
@click.option("--network", "networks", multiple=True, help="Only from here, as 10.0.0.0/8; may be repeated.")
@json_option
def create(
    role: str,
    workspace: str | None,
    name: str,
    expires_in: float | None,
    task_types: tuple[str, ...],
    capabilities: tuple[str, ...],
    networks: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a token. Its text is shown this once."""
    scopes = Scopes(task_types or None, capabilities or None, networks or None)
    with _store() as (store, known):
        if workspace is not None:
            known.find(workspace)  # the default one is there from its first use on
        try:
            issued = TokenIssuer(store).issue(
                workspace=workspace, role=Role(role), name=name, expires_in=expires_in, scopes=scopes
            )
        except NotFound as error:
            names = [each.workspace for each in known.list(limit=_NAMES_LOOKED_AT).items]
            raise CommandFailed(f"{error}{meant(workspace or '', names)}") from error
    _show(issued, as_json)


@tokens.command(name="list")
@click.option("--workspace", help="The tokens of this workspace; without, the platform's.")
@json_option
def list_(workspace: str | None, as_json: bool) -> None:
    """List tokens that are not revoked, without their secrets."""
    found: list[TokenRecord] = []
    with _store() as (store, _):
        while page := store.page(workspace or PLATFORM_SCOPE, found[-1].token_id if found else "", _PAGE):
            found += page
    if as_json:
        print_json([_fields(each) for each in found])
        return
    print_table(
        ["token", "role", "name", "created", "expires", "last used"],
        (
            (
                each.token_id,
                each.role.value,
                each.name,
                moment(_instant(each.created_at)),
                moment(_instant(each.expires_at)),
                moment(_instant(each.last_used_at)),
            )
            for each in found
        ),
        empty="no tokens",
    )


@tokens.command()
@click.argument("token_id")
def revoke(token_id: str) -> None:
    """Make a token worthless everywhere within 2 seconds."""
    with _store() as (store, _):
        if not store.revoke(token_id):
            raise CommandFailed(f"there is no token {token_id!r}")
    click.echo(f"revoked {token_id}")


@tokens.command()
@click.argument("token_id")
@click.option(
    "--overlap",
    type=click.FloatRange(0, LONGEST_OVERLAP),
    default=OVERLAP,
    show_default=True,
    metavar="SECONDS",
    help="How long the present secret stays good.",
)
@json_option
def rotate(token_id: str, overlap: float, as_json: bool) -> None:
    """Give a token a new secret, which is shown this once."""
    with _store() as (store, _):
        issued = TokenIssuer(store).rotate(token_id, overlap=overlap)
    _show(issued, as_json)


@contextmanager
def _store() -> Iterator[tuple[TokenStore, Workspaces]]:
    config = ControlPlaneConfig.from_env()
    require_store(config)
    client = connect(config, pool_size=1)
    try:
        with as_local_user():
            yield TokenStore(client, config), Workspaces(WorkspaceStore(client, config))
    finally:
        client.close()


def _show(issued: IssuedToken, as_json: bool) -> None:
    record = issued.record
    shown = {
        "token_id": record.token_id,
        "token": issued.text,
        "role": record.role.value,
        "workspace": record.workspace,
        "name": record.name,
    }
    if as_json:
        print_json(shown)
    else:
        print_fields(shown)


def _fields(record: TokenRecord) -> dict[str, Any]:
    return {
        "token_id": record.token_id,
        "workspace": record.workspace,
        "role": record.role.value,
        "name": record.name,
        "task_types": record.scopes.task_types,
        "capabilities": record.scopes.capabilities,
        "networks": record.scopes.networks,
        "created_at": _instant(record.created_at),
        "expires_at": _instant(record.expires_at),
        "last_used_at": _instant(record.last_used_at),
    }


def _instant(ms: int | None) -> str | None:
    """As the API shows it."""
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
