"""`aragora-cp doctor --deep`: do the records, leases, windows, backlogs and counters of each workspace agree?"""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.progress import track

from aragora_cp.cli.examination import Finding, Verdict
from aragora_cp.cli.stores import as_local_user
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import StoreUnavailable
from aragora_cp.store.connection import connect
from aragora_cp.store.inspection import Inspector


def examine_deeply(config: ControlPlaneConfig, *, fix: bool) -> list[Finding]:
    """One finding for each workspace; with `fix` what does not fit is mended. Reads every record, slice by slice, on a
    live system too."""
    client = connect(config)
    try:
        inspector = Inspector(client, config)
        names = track(inspector.workspaces(), "looking deeply", console=Console(stderr=True), transient=True)
        with as_local_user():
            return [_of(inspector, workspace, fix) for workspace in names]
    except StoreUnavailable as error:
        return [Finding("records", Verdict.WRONG, str(error))]
    finally:
        client.close()


def _of(inspector: Inspector, workspace: str, fix: bool) -> Finding:
    kinds = Counter(finding.kind for finding in inspector.inspect(workspace, fix=fix))
    if not kinds:
        return Finding("records", Verdict.OK, f"workspace {workspace}: everything agrees")
    told = ", ".join(f"{n} x {kind}" for kind, n in sorted(kinds.items()))
    if fix:
        return Finding("records", Verdict.WARNING, f"workspace {workspace}: mended {told}")
    return Finding(
        "records",
        Verdict.WRONG,
        f"workspace {workspace}: {told}",
        "aragora-cp doctor --deep --fix mends it, at any time",
    )
