"""Checks of Python code by its syntax tree, for what ruff's stable rules leave out. It parses and never
executes.

    CP101  a function is too long            CP103  a private name that nothing in its module uses
    CP102  blocks are nested too deeply      CP104  a statement that can never be reached

Run as a program it reads `[{"source", "whole"}, ...]` (JSON) from standard input and answers one line of JSON
for each: `{"syntax": null or [line, message], "findings": [[line, rule, message], ...]}`, or `null` where the
source is nested too deeply to be parsed. It is its own process because CPython's parser may crash on hostile
input and cannot be interrupted; for the same reason it uses the standard library alone.
"""

from __future__ import annotations

import ast
import itertools
import json
import resource
import sys
import warnings
from collections.abc import Iterator
from typing import Any

LONGEST_FUNCTION = 80
DEEPEST_NESTING = 5

#: Bytes of address space for the process, far above what the largest review needs.
_MEMORY = 2 << 30

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
_ENDS = (ast.Return, ast.Raise, ast.Break, ast.Continue)

Found = tuple[int, str, str]


def check(source: str, *, whole: bool) -> dict[str, Any] | None:
    """`whole` is False for a part of a file: checks that need the rest of it are left out then."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        return {"syntax": [error.lineno or 1, error.msg], "findings": []}
    except ValueError as error:  # null bytes, before Python 3.12
        return {"syntax": [1, str(error)], "findings": []}
    except (RecursionError, MemoryError):
        return None
    findings = [*_long_functions(tree), *_unreachable(tree)]
    if whole:
        findings += [*_deep_nesting(tree), *_unused_private(tree)]
    return {"syntax": None, "findings": sorted(findings)}


def _long_functions(tree: ast.Module) -> Iterator[Found]:
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                yield node.lineno, "CP101", f"`{node.name}` is {lines} lines long (over {LONGEST_FUNCTION})"


def _unreachable(tree: ast.Module) -> Iterator[Found]:
    for node in ast.walk(tree):
        for _, body in ast.iter_fields(node):
            if not isinstance(body, list):
                continue
            for before, after in itertools.pairwise(body):
                # A yield behind a return makes its function a generator, which is done on purpose.
                if isinstance(before, _ENDS) and not _yields(after):
                    word = type(before).__name__.lower()
                    yield (
                        after.lineno,
                        "CP104",
                        f"never reached: it stands behind the `{word}` of line {before.lineno}",
                    )
                    break


def _yields(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Yield | ast.YieldFrom)


def _deep_nesting(tree: ast.Module) -> Iterator[Found]:
    """One finding for the first block too deep in each function; a function inside another starts anew."""
    pending: list[tuple[ast.AST, int]] = [(tree, 0)]
    while pending:
        node, depth = pending.pop()
        for name, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else [value]:
                if not isinstance(child, ast.AST):
                    continue
                # `elif` is an If inside the other's orelse, at the same column: no deeper to the eye.
                elif_ = (
                    name == "orelse"
                    and isinstance(node, ast.If)
                    and isinstance(child, ast.If)
                    and child.col_offset == node.col_offset
                )
                if isinstance(child, _FUNCTIONS):
                    pending.append((child, 0))
                elif elif_ or not isinstance(child, _BLOCKS):
                    pending.append((child, depth))
                elif depth == DEEPEST_NESTING:
                    yield child.lineno, "CP102", f"nested {depth + 1} blocks deep (over {DEEPEST_NESTING})"
                else:
                    pending.append((child, depth + 1))


def _unused_private(tree: ast.Module) -> Iterator[Found]:
    """Functions and classes of the module named with one underscore, without decorators (those may register
    them).
    """
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    # Names in strings: `__all__`, annotations in quotes, getattr.
    used |= {
        word
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for word in node.value.replace("[", " ").replace("]", " ").replace(".", " ").split()
    }
    for node in tree.body:
        if not isinstance(node, (*_FUNCTIONS, ast.ClassDef)) or node.decorator_list:
            continue
        if (
            node.name.startswith("_")
            and not node.name.startswith("__")
            and node.name.strip("_")
            and node.name not in used
        ):
            yield node.lineno, "CP103", f"`{node.name}` is private and nothing in this module uses it"


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    warnings.simplefilter("ignore")
    for unit in json.load(sys.stdin):
        sys.stdout.write(json.dumps(check(unit["source"], whole=unit["whole"])) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
