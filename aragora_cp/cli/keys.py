"""`aragora-cp keys`: the keys of encrypted workspaces, on the store directly. Root keys come from the settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
from rich.progress import Progress

from aragora_cp.cli.failure import CommandFailed
from aragora_cp.cli.output import console, print_json, print_table
from aragora_cp.cli.stores import as_local_user, require_store
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.store import sealing
from aragora_cp.store.connection import connect
from aragora_cp.store.inspection import Inspector
from aragora_cp.store.rewrap import Rewrapper
from aragora_cp.store.sealing import Unreadable
from aragora_cp.store.vault import Vault

_MISSING = "no root keys here; set ARAGORA_CP_ENCRYPTION_KEYS or ARAGORA_CP_ENCRYPTION_KEY_FILE"


@dataclass(frozen=True)
class _Parts:
    vault: Vault
    rewrapper: Rewrapper
    inspector: Inspector

    def workspaces(self, named: Sequence[str]) -> list[str]:
        return list(named) or self.inspector.workspaces()


@click.group()
def keys() -> None:
    """Look at, rotate and rewrap the workspaces' keys."""


@keys.command()
@click.argument("workspaces", nargs=-1, metavar="[WORKSPACE]...")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(workspaces: tuple[str, ...], as_json: bool) -> None:
    """Which keys there are, and which root keys are in use. Shows no key."""
    with _parts(need_roots=False) as parts:
        rows = [_row(parts, name) for name in parts.workspaces(workspaces)]
        used = Counter(root for row in rows for root in row["root_keys"])
        roots = [
            {"root_key": name, "here": name in parts.vault.roots.by_id, "workspaces": used[name]}
            for name in dict.fromkeys([*parts.vault.roots.by_id, *used])
        ]
    if as_json:
        print_json({"root_keys": roots, "workspaces": rows})
        return
    print_table(
        ("root key", "here", "wraps keys of"),
        [(r["root_key"], "yes" if r["here"] else "no", f"{r['workspaces']} workspaces") for r in roots],
        empty="no root keys: nothing is encrypted",
    )
    click.echo()
    print_table(
        ("workspace", "keys", "under root keys", "readable here"),
        [(r["workspace"], str(r["keys"]), ", ".join(r["root_keys"]), "yes" if r["readable"] else "no") for r in rows],
        empty="no workspaces",
    )


@keys.command()
@click.argument("workspaces", nargs=-1, metavar="[WORKSPACE]...")
@click.option("--all", "every", is_flag=True, help="Every workspace that has keys.")
def rotate(workspaces: tuple[str, ...], every: bool) -> None:
    """Give workspaces a new key: what is written 2 seconds from now is encrypted under it. See also `rewrap`."""
    if every == bool(workspaces):
        raise click.UsageError("name workspaces, or give --all")
    with _parts() as parts:
        for name in parts.workspaces(workspaces):
            if parts.vault.look(name).current:
                parts.vault.rotate(name)
                click.echo(f"{name}: has a new key")
            elif workspaces:
                raise CommandFailed(f"the workspace {name} has no key yet; it gets one with its first task")


@keys.command()
@click.argument("workspaces", nargs=-1, metavar="[WORKSPACE]...")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def rewrap(ctx: click.Context, workspaces: tuple[str, ...], as_json: bool) -> None:
    """Bring keys under the newest root key, and all records under their workspace's newest key.

    Online, in small steps; it may be stopped anywhere and begun again. The exit status is 1 when something cannot be
    read here.
    """
    with _parts() as parts:
        rows = [_rewrap(parts, name) for name in parts.workspaces(workspaces)]
    if as_json:
        print_json(rows)
    else:
        print_table(
            ("workspace", "keys rewrapped", "records", "values renewed", "unreadable"),
            [tuple(map(str, row.values())) for row in rows],
            empty="no workspaces",
        )
    ctx.exit(int(any(row["unreadable"] for row in rows)))


def _rewrap(parts: _Parts, workspace: str) -> dict[str, Any]:
    if parts.vault.closed([workspace]):
        roots = ", ".join(_row(parts, workspace)["root_keys"])
        raise CommandFailed(f"{workspace}: its keys are under root keys of which one is not here: {roots}")
    counts = {"keys": parts.vault.rewrap(workspace), "records": 0, "renewed": 0, "unreadable": 0}
    row: dict[str, Any] = {"workspace": workspace, **counts}
    with Progress(console=console(err=True), transient=True) as shown:
        bar = shown.add_task(workspace, total=parts.rewrapper.count(workspace))
        for step in parts.rewrapper.renew(workspace):
            row["records"] += step.looked_at
            row["renewed"] += step.renewed
            row["unreadable"] += step.unreadable
            shown.advance(bar, step.looked_at)
    return row


def _row(parts: _Parts, workspace: str) -> dict[str, Any]:
    found = parts.vault.look(workspace)
    names = [name for name in found.wrapped if name != "digest"]
    return {
        "workspace": workspace,
        "keys": len(names),
        "root_keys": sorted({_root(wrapped) for wrapped in found.wrapped.values()}),
        "readable": not found.locked,
    }


def _root(wrapped: bytes) -> str:
    try:
        return sealing.root_of(wrapped)
    except Unreadable:
        return "(not a key)"


@contextmanager
def _parts(*, need_roots: bool = True) -> Iterator[_Parts]:
    config = ControlPlaneConfig.from_env()
    require_store(config)
    client = connect(config, pool_size=2)
    try:
        vault = Vault(client, config)
        parts = _Parts(vault, Rewrapper(client, config, vault), Inspector(client, config))
        if need_roots and not parts.vault.seals:
            raise CommandFailed(_MISSING)
        with as_local_user():
            yield parts
    finally:
        client.close()
