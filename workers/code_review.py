"""A review of Python sources or of a unified diff, as a list of findings. Nothing it reads is executed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workers.diffs import Line, parse
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
    """Something to check in one piece. `added` leads to the file's line numbers; None: as they are, all count.

    `core`: what to check instead if this does not parse.
    """

    source: Source
    added: Mapping[int, int] | None = None
    core: _Unit | None = None


def review_files(files: Sequence[Mapping[str, str]], *, deadline: float, progress: Progress) -> dict[str, Any]:
    """Reviews `[{"path", "source"}]`; files not named like Python are counted as skipped.

    Returns `{"findings", "omitted", "files", "skipped", "summary"}`: findings in the order of file and line,
    how many were left out for their number, how many files were reviewed and skipped, and all findings
    counted by severity. Raises ReviewTooLargeError, and what `lint` raises. `deadline` in seconds since the
    epoch.
    """
    python = [file for file in files if file["path"].endswith(_PYTHON)]
    units = [_Unit(Source(file["path"], file["source"], whole=True)) for file in python]
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
            units.append(_Unit(Source(file.path, text, whole=True)))
            continue
        units += [_part(file.path, hunk) for hunk in file.hunks if any(line.added for line in hunk)]
    return _review(units, len(python), len(changed) - len(python), deadline, progress)


def _part(path: str, hunk: Sequence[Line]) -> _Unit:
    """A hunk to review. Its lines of context may start or end inside an expression or a string, which the lines that
    matter need not do: these alone are its core."""
    places = [place for place, line in enumerate(hunk) if line.added]
    core, part = fragment(hunk[places[0] : places[-1] + 1]), fragment(hunk)
    return _Unit(
        Source(path, part.source, whole=False),
        part.added,
        _Unit(Source(path, core.source, whole=False), core.added),
    )


def _review(units: Sequence[_Unit], files: int, skipped: int, deadline: float, progress: Progress) -> dict[str, Any]:
    size = sum(len(unit.source.text) for unit in units)
    if files > MOST_FILES or size > MOST_CHARACTERS:
        raise ReviewTooLargeError(f"{files} files with {size} characters; at most {MOST_FILES} with {MOST_CHARACTERS}")
    progress(10, f"checking {files} files")
    report = lint([unit.source for unit in units], deadline=deadline)
    cores = {place: core for place in report.broken if (core := units[place].core)}
    if cores:
        progress(70, f"checking {len(cores)} hunks again without their context")
    second = lint([core.source for core in cores.values()], deadline=deadline)
    progress(90, "sorting")
    found: set[Finding] = set()
    mended = {place for at, place in enumerate(cores) if at not in second.broken}
    for place, unit in enumerate(units):
        if place not in mended:
            found.update(_findings(unit, place, report))
    for at, (place, core) in enumerate(cores.items()):
        if place in mended:
            found.update(_findings(core, at, second))
    findings = sorted(found)
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


def _findings(unit: _Unit, place: int, report: Report) -> Iterator[Finding]:
    """What the report says about the lines of `unit` under review.

    A whole file has its syntax errors from ruff, and from the tree checks what ruff let pass. Of a part that does not
    parse nothing else is said: whatever the checkers made of it would be guesses.
    """
    path = unit.source.path
    remarks = report.remarks.get(place, [])
    error = report.broken.get(place)
    if unit.added is None:
        for remark in remarks:
            yield Finding(path, remark.line, remark.rule, remark.message, severity(remark.rule))
        if error and all(remark.rule != "invalid-syntax" for remark in remarks):
            yield Finding(path, error[0], "invalid-syntax", error[1], "error")
        return
    first = min(unit.added.values())
    if error:
        line, message = error
        if line in unit.added:
            text = f"{message} (judged by this hunk alone)"
            yield Finding(path, unit.added[line], "invalid-syntax", text, "warning")
        else:
            text = f"this hunk cannot be read by itself ({message}): it was not reviewed"
            yield Finding(path, first, "CP001", text, "info")
        return
    for remark in remarks:
        at = first if remark.rule == "CP000" else unit.added.get(remark.line)
        if at is not None and remark.rule != "invalid-syntax":
            yield Finding(path, at, remark.rule, remark.message, severity(remark.rule))
