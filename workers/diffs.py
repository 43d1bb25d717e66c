"""Unified diffs, read for their new side (the format: POSIX.1-2024, diff -u; git's headers: git-diff
documentation).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_ESCAPE = re.compile(r"\\([0-7]{3}|.)")
_ESCAPED = {"n": b"\n", "t": b"\t", "r": b"\r", "a": b"\a", "b": b"\b", "f": b"\f", "v": b"\v"}
_NOWHERE = "/dev/null"


class DiffError(ValueError):
    """The text is not a unified diff."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the new version: `number` counts from 1 in the file."""

    number: int
    text: str
    added: bool


@dataclass(slots=True)
class FileDiff:
    """`path` is the new name. `created` and `deleted` say that the other side is empty. No hunks: binary, or
    renamed.
    """

    path: str
    created: bool = False
    deleted: bool = False
    hunks: list[list[Line]] = field(default_factory=list)


def parse(diff: str) -> list[FileDiff]:
    """The files of a diff in their order. Raises DiffError, naming the line of the diff that does not fit."""
    lines = diff.split("\n")
    files: list[FileDiff] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("diff --git "):
            files.append(FileDiff(_git_path(line)))
        elif line.startswith("--- ") and at + 1 < len(lines) and lines[at + 1].startswith("+++ "):
            old, new = _path(line), _path(lines[at + 1])
            if not files or files[-1].hunks or not _announced(lines, at):
                files.append(FileDiff(""))
            files[-1].path = old if new == _NOWHERE else new
            files[-1].created, files[-1].deleted = old == _NOWHERE, new == _NOWHERE
            at += 1
        elif line.startswith("@@@"):
            raise DiffError(f"line {at + 1}: a combined diff of a merge is not supported")
        elif line.startswith("@@ "):
            if not files or not files[-1].path:
                raise DiffError(f"line {at + 1}: a hunk before any file name")
            hunk, at = _hunk(lines, at)
            files[-1].hunks.append(hunk)
            continue
        at += 1
    if not files:
        raise DiffError("no file header (--- and +++) found")
    return files


def _hunk(lines: list[str], at: int) -> tuple[list[Line], int]:
    """The new side of the hunk that starts at `lines[at]`, and where the text goes on behind it.

    Lines are counted off against the header, as a removed line "-- x" looks like a file header.
    """
    header = _HUNK.match(lines[at])
    if header is None:
        raise DiffError(f"line {at + 1}: not a hunk header: {lines[at][:80]!r}")
    old_left = int(header[1] or 1)
    number, new_left = int(header[2]), int(header[3] or 1)
    start, hunk = at, []
    at += 1
    while old_left > 0 or new_left > 0:
        if at >= len(lines):
            raise DiffError(f"line {start + 1}: the diff ends inside this hunk")
        # An empty line is an empty line of context whose blank was lost on the way, as in mail.
        mark, text = lines[at][:1] or " ", lines[at][1:]
        if mark in " \r" or mark == "+":
            hunk.append(Line(number, text, mark == "+"))
            number += 1
            new_left -= 1
        if mark in " \r" or mark == "-":
            old_left -= 1
        if mark not in " \r+-\\" or old_left < 0 or new_left < 0:
            raise DiffError(f"line {at + 1}: does not fit the hunk of line {start + 1}")
        at += 1
    return hunk, at


def _announced(lines: list[str], at: int) -> bool:
    """Whether git's own header for the same file stands above its `---` line."""
    while at > 0:
        at -= 1
        if lines[at].startswith("diff --git "):
            return True
        if not re.match(r"(index|old mode|new mode|new file|deleted file|similarity|rename|copy) ", lines[at]):
            return False
    return False


def _path(header: str) -> str:
    """The name in a `---` or `+++` line, without git's a/ and b/ and without the time some tools put behind
    it.
    """
    name = header[4:].rstrip("\r")
    name = _unquoted(name) if name.startswith('"') else name.split("\t")[0]
    return name if name == _NOWHERE else re.sub(r"^[abciow]/", "", name)


def _git_path(header: str) -> str:
    """The new name in `diff --git a/x b/x`, as far as that line can tell; `+++` is the better source."""
    names = header[len("diff --git ") :].rstrip("\r")
    if names.endswith('"'):
        names = _unquoted(names[names.rfind(' "') + 1 :])
    return names.rpartition(" b/")[2].removeprefix("b/")


def _unquoted(name: str) -> str:
    """Git writes names with unusual characters in quotes, their UTF-8 bytes as octal numbers."""
    inner = name.strip('"')
    raw = b""
    end = 0
    for escape in _ESCAPE.finditer(inner):
        raw += inner[end : escape.start()].encode("utf-8", "replace")
        code = escape[1]
        raw += bytes([int(code, 8) & 0xFF]) if code.isdigit() else _ESCAPED.get(code, code.encode("utf-8", "replace"))
        end = escape.end()
    return (raw + inner[end:].encode("utf-8", "replace")).decode("utf-8", "replace")
