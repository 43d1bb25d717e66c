"""A review of Python sources or of a unified diff, as a list of findings. Nothing it reads is executed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workers.diffs import parse
from workers.findings import SEVERITIES, Finding, severity
from workers.fragments import fragment
from workers.lint import Report, Source, lint

#: What one review takes and gives at most, so that a result stays readable and a task bounded.
MOST_FILES = 500
MOST_CHARACTERS = 2_000_000
MOST_FINDINGS = 2_000

_PYTHON = (".py", ".pyi", ".pyw")

Progress = Callable[[float, str], None]


class ReviewTooLargeError(ValueError):
    """There is more to review than one task may."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """Something to check in one piece. `added` leads to the file's line numbers; None: as they are, all
    count.
    """

    source: Source
    added: Mapping[int, int] | None


def review_files(files: Sequence[Mapping[str, str]], *, deadline: float, progress: Progress) -> dict[str, Any]:
    """Reviews `[{"path", "source"}]`; files not named like Python are counted as skipped.

    Returns `{"findings", "omitted", "files", "skipped", "summary"}`: findings in the order of file and line,
    how many were left out for their number, how many files were reviewed and skipped, and all findings
    counted by severity. Raises ReviewTooLargeError, and what `lint` raises. `deadline` in seconds since the
    epoch.
    """
    python = [file for file in files if file["path"].endswith(_PYTHON)]
    units = [_Unit(Source(file["path"], file["source"], whole=True), None) for file in python]
    return _review(units, len(python), len(files) - len(python), deadline, progress)


def review_diff(diff: str, *, deadline: float, progress: Progress) -> dict[str, Any]:
    """Reviews the lines that a unified diff adds to Python files; returns and raises as `review_files`, and
    DiffError.

    A new file is reviewed as a whole. Of any other, each hunk is reviewed by itself, without the rules that
    would need the rest of the file.
    """
    changed = parse(diff)
    python = [file for file in changed if file.path.endswith(_PYTHON) and not file.deleted]
    units = []
    for file in python:
        if file.created and len(file.hunks) == 1:
            text = "\n".join([*(line.text for line in file.hunks[0]), ""])
            units.append(_Unit(Source(file.path, text, whole=True), None))
            continue
        for hunk in file.hunks:
            part = fragment(hunk)
            if part.added:
                units.append(_Unit(Source(file.path, part.source, whole=False), part.added))
    return _review(units, len(python), len(changed) - len(python), deadline, progress)


def _review(units: Sequence[_Unit], files: int, skipped: int, deadline: float, progress: Progress) -> dict[str, Any]:
    size = sum(len(unit.source.text) for unit in units)
    if files > MOST_FILES or size > MOST_CHARACTERS:
        raise ReviewTooLargeError(f"{files} files with {size} characters; at most {MOST_FILES} with {MOST_CHARACTERS}")
    progress(10, f"checking {files} files")
    report = lint([unit.source for unit in units], deadline=deadline)
    progress(90, "sorting")
    findings = sorted({*_remarks(units, report), *_syntax_errors(units, report)})
    counts = Counter(finding.severity for finding in findings)
    shown = findings[:MOST_FINDINGS]
    return {
        "findings": [
            {
                "severity": finding.severity,
                "file": finding.file,
                "line": finding.line,
                "rule": finding.rule,
                "message": finding.message,
            }
            for finding in shown
        ],
        "omitted": len(findings) - len(shown),
        "files": files,
        "skipped": skipped,
        "summary": {name: counts[name] for name in SEVERITIES},
    }


def _remarks(units: Sequence[_Unit], report: Report) -> list[Finding]:
    """The checkers' remarks about lines under review; about syntax only where the whole file was seen."""
    findings = []
    for remark in report.remarks:
        unit = units[remark.place]
        if unit.added is None:
            line: int | None = remark.line
        elif remark.rule == "CP000":
            line = min(unit.added.values())
        elif remark.rule == "invalid-syntax" or remark.place in report.broken:
            continue
        else:
            line = unit.added.get(remark.line)
        if line is not None:
            findings.append(Finding(unit.source.path, line, remark.rule, remark.message, severity(remark.rule)))
    return findings


def _syntax_errors(units: Sequence[_Unit], report: Report) -> list[Finding]:
    """What the syntax tree checks add: errors that ruff let pass, and hunks that cannot be read by
    themselves.
    """
    reported = {remark.place for remark in report.remarks if remark.rule == "invalid-syntax"}
    findings = []
    for place, (line, message) in report.broken.items():
        unit = units[place]
        path = unit.source.path
        if unit.added is None:
            if place not in reported:
                findings.append(Finding(path, line, "invalid-syntax", message, "error"))
        elif line in unit.added:
            text = f"{message} (judged by this hunk alone)"
            findings.append(Finding(path, unit.added[line], "invalid-syntax", text, "warning"))
        else:
            text = f"this hunk cannot be read by itself ({message}): it was not reviewed"
            findings.append(Finding(path, min(unit.added.values()), "CP001", text, "info"))
    return findings
