"""`aragora-cp limits`: the rate limits of a workspace, and what they have refused."""

from __future__ import annotations

import click

from aragora_cp.cli.output import print_json, print_table
from aragora_cp.cli.session import Session, with_session


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@with_session
def limits(session: Session, as_json: bool) -> None:
    """List rate limits; `aragora-cp workspaces set --rate-limits` sets them."""
    found = session.request("GET", "/limits")["items"]
    if as_json:
        print_json(found)
        return
    print_table(
        ["limit", "submits", "seconds", "at once", "per", "left", "refused", "would refuse"],
        (
            (
                each["name"],
                f"{each['limit']}",
                f"{each['period']:g}",
                f"{each['burst']}",
                each["per"],
                "-" if each["left"] is None else f"{each['left']}",
                f"{each['refused']}",
                f"{each['would_refuse']}" + (" (shadow)" if each["shadow"] else ""),
            )
            for each in found
        ),
        empty="no rate limits",
    )
