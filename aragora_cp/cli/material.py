"""What `aragora-cp demo` has its agents work on: this very project."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

import aragora_cp

#: Bytes of files that one task is given, well below what a payload may have.
_MOST = 150_000

QUERY = "what happens when an agent dies"
DEBATE: dict[str, Any] = {
    "question": "Which pool should run a handler?",
    "positions": ["prefork", "threads"],
    "rounds": 2,
    "documents": [
        {
            "id": "limits",
            "text": "On prefork a task that passes its time limit is killed and the others go on. "
            "A crash on prefork takes down one task. A handler on threads cannot be interrupted.",
        },
        {
            "id": "memory",
            "text": "Threads share the memory of one process, so hundreds of calls to a model can wait on threads. "
            "Each prefork child has memory of its own.",
        },
        {
            "id": "stopping",
            "text": "Threads that hang keep their slot, and threads never give it back before the agent is restarted. "
            "On prefork a hung handler is killed.",
        },
    ],
}

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    """One task to submit; `capability` is what it needs."""

    task_type: str
    capability: str
    payload: dict[str, Any]


def jobs() -> list[Job]:
    """In the order in which to show them."""
    return [
        Job("code.review", "code", {"files": list(_within(_sources(), "source"))}),
        Job("search.index", "search", {"index": "demo", "documents": list(_within(_documents(), "text"))}),
        Job("search.query", "search", {"index": "demo", "query": QUERY, "limit": 3}),
        Job("debate.run", "debate", DEBATE),
    ]


def _package() -> Path:
    return Path(aragora_cp.__file__).parent


def _sources() -> Iterator[dict[str, str]]:
    folder = _package()
    for path in sorted([*folder.glob("*.py"), *folder.glob("cli/*.py")]):
        yield {"path": str(path.relative_to(folder.parent)), "source": path.read_text(encoding="utf-8")}


def _documents() -> Iterator[dict[str, str]]:
    """The project's documents by section. Installed without them: its description, and what its modules say."""
    root = _package().parent
    pages: Sequence[Path] = sorted([*root.glob("*.md"), *(root / "docs").rglob("*.md")])
    if (root / "setup.cfg").exists() and pages:
        for page in pages:
            yield from _sections(str(page.relative_to(root)), page.read_text(encoding="utf-8"))
        return
    try:
        description = metadata("aragora-cp")
    except PackageNotFoundError:
        pass
    else:
        assert isinstance(description, Message)
        yield from _sections("README.md", str(description.get_payload()))
    for path in sorted(_package().rglob("*.py")):
        if text := ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))):
            yield {"id": str(path.relative_to(root)), "text": text}


def _sections(page: str, text: str) -> Iterator[dict[str, str]]:
    """One document for each heading, without examples of code."""
    before, *rest = _HEADING.split(_FENCED.sub("", text))
    for heading, body in [(page, before), *zip(rest[::2], rest[1::2], strict=True)]:
        if body.strip():
            yield {"id": page if heading == page else f"{page}, {heading}", "text": f"{heading}. {body.strip()}"}


def _within(files: Iterator[dict[str, str]], text: str) -> Iterator[dict[str, str]]:
    left = _MOST
    for file in files:
        left -= len(file[text].encode())
        if left < 0:
            return
        yield file
