"""Ruff and the syntax tree checks, run as processes of their own. Neither executes what it reads."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_SELECT = "E,F,W,B,S,UP,C4,SIM,PL,RUF,ASYNC,C901"
#: Magic numbers, and letters of other scripts: in a review of unknown code nearly always noise.
_IGNORE = "PLR2004,RUF001,RUF002,RUF003"
#: Rules that judge a name, a block or a file by lines that a hunk does not show.
_NOT_IN_PARTS = (
    "F401,F7,F811,F82,F84,E402,W292,W391,B007,B018,B024,B027,PLW0120,PLW0602,SIM,RUF,PLC,PLR,C901,ASYNC,"
    "PLE0116,PLE0117,PLE0118,PLE0604,PLE0605,PLE1142,PLE1700"
)
_LINE_LENGTH = 120
_TOO_DEEP = "nested too deeply to be checked in full"
#: Ruff quotes what it could not read, null bytes included.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TREE_CHECKS = Path(__file__).with_name("structure.py")


class LintError(RuntimeError):
    """A checking process could not do its work."""


@dataclass(frozen=True, slots=True)
class Source:
    """`path` decides only which kind of file it is (a test, a stub, a package's `__init__`): nothing is
    opened there.

    `whole` is False when `text` is a part of a file.
    """

    path: str
    text: str
    whole: bool


@dataclass(frozen=True, slots=True)
class Remark:
    """`place` is the index of the source that it is about, `line` counts from 1 in that source."""

    place: int
    line: int
    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """Remarks by the index of their source; `broken` maps that of one that does not parse to (line, message)."""

    remarks: dict[int, list[Remark]]
    broken: dict[int, tuple[int, str]]


def lint(sources: Sequence[Source], *, deadline: float, now: Callable[[], float] = time.time) -> Report:
    """Checks all sources; `deadline` in seconds since the epoch.

    A source that no checker survives (some nest so deeply that parsers overflow) gets one remark, CP000.
    Raises LintError, and TimeoutError when the deadline comes first.
    """
    remarks, broken = _check_trees(sources, deadline, now)
    remarks += _check_rules(sources, range(len(sources)), deadline, now)
    by_place: dict[int, list[Remark]] = {}
    for remark in remarks:
        by_place.setdefault(remark.place, []).append(remark)
    return Report(by_place, broken)


def _check_trees(
    sources: Sequence[Source], deadline: float, now: Callable[[], float]
) -> tuple[list[Remark], dict[int, tuple[int, str]]]:
    remarks: list[Remark] = []
    broken: dict[int, tuple[int, str]] = {}
    place = 0
    while place < len(sources):
        units = [{"source": source.text, "whole": source.whole} for source in sources[place:]]
        command = [sys.executable, "-I", str(_TREE_CHECKS)]
        for line in _run(command, json.dumps(units), deadline - now(), os.curdir).stdout.splitlines():
            answer = json.loads(line)
            if answer is None:
                remarks.append(Remark(place, 1, "CP000", _TOO_DEEP))
            elif answer["syntax"]:
                broken[place] = tuple(answer["syntax"])
            else:
                remarks += [Remark(place, *found) for found in answer["findings"]]
            place += 1
        if place < len(sources):
            # It died on this one; the others still get their check.
            remarks.append(Remark(place, 1, "CP000", _TOO_DEEP))
            place += 1
    return remarks, broken


def _check_rules(
    sources: Sequence[Source], places: Sequence[int], deadline: float, now: Callable[[], float]
) -> list[Remark]:
    if not places:
        return []
    with tempfile.TemporaryDirectory(prefix="review-") as folder:
        names = {}
        for place in places:
            name = f"{place:05}/{_file_name(sources[place])}"
            names[name] = place
            file = Path(folder, name)
            file.parent.mkdir()
            file.write_bytes(sources[place].text.encode("utf-8", "replace"))
        done = _run([*_ruff_command(), *names], None, deadline - now(), folder)
        if done.returncode < 0:
            # Killed by a signal: one source overflowed it. Halving finds which; the others get their review.
            if len(places) == 1:
                return [Remark(places[0], 1, "CP000", _TOO_DEEP)]
            half = len(places) // 2
            return [
                remark
                for part in (places[:half], places[half:])
                for remark in _check_rules(sources, part, deadline, now)
            ]
        if done.returncode != 0:
            raise LintError(f"ruff ended with {done.returncode}: {done.stderr.strip()[-500:]}")
        root = Path(folder).resolve()
        return [
            Remark(
                names[Path(item["filename"]).resolve().relative_to(root).as_posix()],
                item["location"]["row"],
                item["code"] or "invalid-syntax",
                _CONTROL.sub("", item["message"]).strip(),
            )
            for item in json.loads(done.stdout)
        ]


def _ruff_command() -> list[str]:
    return [
        *(sys.executable, "-P", "-m", "ruff", "check", "--isolated", "--no-cache", "--exit-zero", "--quiet"),
        *("--output-format", "json", "--select", _SELECT, "--ignore", _IGNORE),
        *("--target-version", f"py3{sys.version_info.minor}", "--config", f"line-length={_LINE_LENGTH}"),
        *("--per-file-ignores", "test_*.py:S101"),
        *("--per-file-ignores", f"part*.py:{_NOT_IN_PARTS}".replace(",", ",part*.py:")),
        *("--per-file-ignores", "part_test.py:S101"),
    ]


def _file_name(source: Source) -> str:
    """A harmless name of the same kind, since some rules look at it."""
    folders, _, name = source.path.replace("\\", "/").rpartition("/")
    test = bool(re.match(r"test_|conftest\.", name) or re.search(r"_test\.\w+$|(^|/)tests?(/|$)", f"{folders}/{name}"))
    if not source.whole:
        return "part_test.py" if test else "part.py"
    if name in ("__init__.py", "__main__.py"):
        return name
    suffix = ".pyi" if name.endswith(".pyi") else ".py"
    return ("test_module" if test else "module") + suffix


def _run(command: list[str], text: str | None, seconds: float, folder: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUFF_")}
    try:
        return subprocess.run(  # noqa: S603 - the command is ours, sources go in by standard input or our own files
            command,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            encoding="utf-8",
            timeout=max(0.0, seconds),
            cwd=folder,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError("the review did not end in time") from None
