"""`aragora-cp doctor`: is everything as it should be, and if not, what to do."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path

import click
from rich.markup import escape

from aragora_cp.cli.deep import examine_deeply
from aragora_cp.cli.examination import Finding, Verdict, examine
from aragora_cp.cli.output import console, print_json
from aragora_cp.cli.session import read_dev_file
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import ConfigError

_MARKS = {Verdict.OK: "[green]✓[/]", Verdict.WARNING: "[yellow]![/]", Verdict.WRONG: "[red]✗[/]"}


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=Path(".aragora"),
    show_default=True,
    help="Folder of a running `aragora-cp dev`, whose store is looked at when ARAGORA_CP_REDIS_URL names no other.",
)
@click.option("--deep", is_flag=True, help="Also hold every record, lease, window and counter against the others.")
@click.option("--fix", is_flag=True, help="With --deep: mend what does not fit.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def doctor(ctx: click.Context, data_dir: Path, deep: bool, fix: bool, as_json: bool) -> None:
    """Check settings, store, broker, monitor and agents. The exit status is 1 when something is wrong."""
    if fix and not deep:
        raise click.UsageError("--fix goes with --deep")
    findings: list[Finding] = []
    try:
        config = _config(data_dir)
    except ConfigError as error:
        findings.append(Finding("settings", Verdict.WRONG, str(error)))
    else:
        findings.append(Finding("settings", Verdict.OK, _changed(config)))
        findings.extend(examine(config))
        if deep:
            findings.extend(examine_deeply(config, fix=fix))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _print(findings)
    ctx.exit(int(any(finding.verdict is Verdict.WRONG for finding in findings)))


def _config(data_dir: Path) -> ControlPlaneConfig:
    config = ControlPlaneConfig.from_env()
    url = read_dev_file(data_dir).get("redis_url")
    return replace(config, redis_url=url) if url and config.redis_url == ControlPlaneConfig.redis_url else config


def _changed(config: ControlPlaneConfig) -> str:
    changed = [f.name for f in fields(config) if getattr(config, f.name) != f.default]
    return f"understood; not at their defaults: {', '.join(changed)}" if changed else "all at their defaults"


def _print(findings: list[Finding]) -> None:
    out = console()
    for finding in findings:
        out.print(f"{_MARKS[finding.verdict]} {finding.check:<12} {escape(finding.found)}")
        if finding.advice:
            out.print(f"  {'':<12} [dim]{escape(finding.advice)}[/]")
