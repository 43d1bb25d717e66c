"""The results of the sample agents, for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

_SEVERITY_STYLES = {"error": "red", "warning": "yellow", "info": "dim"}
_MOST_FINDINGS = 8
_MOST_STATEMENTS = 4
_STATEMENT_CHARS = 240


def show_result(out: Console, task: Mapping[str, Any], payload: Mapping[str, Any], seconds: float) -> None:
    """A heading with who did it in what time, what was asked, then the result."""
    out.print()
    out.print(f"[bold]{escape(task['task_type'])}[/]  [dim]by {escape(task['agent_id'])} in {seconds:.1f} s[/]")
    if asked := payload.get("query") or payload.get("question"):
        out.print(f"  “{escape(asked)}”")
    _SHOW[task["task_type"]](out, task["result"])


def _review(out: Console, result: Mapping[str, Any]) -> None:
    counts = ", ".join(f"{name} {count}" for name, count in result["summary"].items())
    out.print(f"  {result['files']} files reviewed: {counts}")
    ranks = list(_SEVERITY_STYLES)
    worst = sorted(result["findings"], key=lambda finding: ranks.index(finding["severity"]))[:_MOST_FINDINGS]
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in worst:
        style = _SEVERITY_STYLES[finding["severity"]]
        table.add_row(
            escape(f"{finding['file']}:{finding['line']}"),
            f"[{style}]{finding['severity']}[/]",
            escape(finding["rule"]),
            escape(finding["message"]),
        )
    out.print(Padding(table, (0, 0, 0, 2)))
    if left := len(result["findings"]) + result["omitted"] - len(worst):
        out.print(f"  [dim]and {left} more[/]")


def _index(out: Console, result: Mapping[str, Any]) -> None:
    out.print(f"  {result['indexed']} documents indexed as “{escape(result['index'])}”")


def _query(out: Console, result: Mapping[str, Any]) -> None:
    for place, hit in enumerate(result["hits"], start=1):
        out.print(f"  {place}. {escape(hit['id'])}  [dim]score {hit['score']:.2f}[/]")
        out.print(Padding(escape(_one_line(hit["passage"])), (0, 0, 0, 5)))


def _debate(out: Console, result: Mapping[str, Any]) -> None:
    out.print(Padding(f"[bold]Answer[/] {escape(_one_line(result['answer']))}", (0, 0, 0, 2)))
    agreed = "consensus" if result["consensus_reached"] else "no consensus"
    out.print(f"  [bold]Confidence[/] {result['confidence']:.2f}, {agreed}, model {escape(result['model'])}")
    for statement in result["transcript"][:_MOST_STATEMENTS]:
        said = _one_line(statement["text"])
        shown = said if len(said) <= _STATEMENT_CHARS else said[: _STATEMENT_CHARS - 1] + "…"
        who = f"[dim]round {statement['round']}, {escape(statement['speaker'])}:[/]"
        out.print(Padding(f"{who} {escape(shown)}", (0, 0, 0, 2)))


def _one_line(text: str) -> str:
    return " ".join(text.split())


_SHOW: Mapping[str, Callable[[Console, Mapping[str, Any]], None]] = {
    "code.review": _review,
    "search.index": _index,
    "search.query": _query,
    "debate.run": _debate,
}
