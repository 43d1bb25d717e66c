"""A hunk of Python code made whole enough to be parsed by itself.

A hunk starts and ends anywhere: inside a function, before its `else`, behind a `try:`. Lines put around it
open the blocks it closes and close the blocks it leaves open. Nothing inside the hunk is changed, not even
its indentation, so columns and line lengths stay true.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from workers.diffs import Line

_WORD = re.compile(r"[a-z]+")
#: What opens the block that such a line goes on with.
_OPENERS = {"elif": "if 1:", "else": "if 1:", "except": "try:", "finally": "try:"}
#: Opens a block in which return, yield and await may stand.
_BLOCK = "async def _():"


@dataclass(frozen=True, slots=True)
class Fragment:
    """`source` is what to parse; `added` leads from its line numbers to those of the file, for the added
    lines only.
    """

    source: str
    added: dict[int, int]


def fragment(hunk: Sequence[Line]) -> Fragment:
    code = [line.text for line in hunk if _is_code(line.text)]
    head = _head(code)
    added = {place: line.number for place, line in enumerate(hunk, start=len(head) + 1) if line.added}
    return Fragment("\n".join([*head, *(line.text for line in hunk), *_tail(code), ""]), added)


def _head(code: Sequence[str]) -> list[str]:
    """Openers for every block that the hunk closes without having opened it, outermost first."""
    if not code:
        return []
    first = _indent(code[0])
    openers: list[tuple[str, str]] = []
    lowest = first
    for line in code[1:]:
        indent = _indent(line)
        if _width(indent) < _width(lowest):
            lowest = indent
            openers.append((indent, _OPENERS.get(_first_word(line), _BLOCK)))
    if lowest:
        openers.append(("", _BLOCK))
    head = [indent + opener for indent, opener in reversed(openers)]
    if opener := _OPENERS.get(_first_word(code[0])):
        head.append(f"{first}{opener} pass")
    return head


def _tail(code: Sequence[str]) -> list[str]:
    """A body for a last line that asks for one, and an end for every `try` still open."""
    if not code:
        return []
    last = code[-1]
    tail = []
    if last.split("#")[0].rstrip().endswith(":"):
        tail.append(f"{_indent(last)}    pass")
    elif last.lstrip().startswith("@"):
        tail.append(f"{_indent(last)}def _(): pass")
    lowest = _width(_indent(last)) + 1
    for line in reversed(code):
        indent = _indent(line)
        if _width(indent) < lowest:
            lowest = _width(indent)
            if line.split("#")[0].strip() == "try:":
                tail.append(f"{indent}finally: pass")
    return tail


def _is_code(line: str) -> bool:
    stripped = line.strip()
    return bool(stripped) and not stripped.startswith("#")


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _width(indent: str) -> int:
    return len(indent.expandtabs(8))


def _first_word(line: str) -> str:
    word = _WORD.match(line.lstrip())
    return word[0] if word else ""
