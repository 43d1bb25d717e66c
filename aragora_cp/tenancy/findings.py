"""What a verification says of a trail, and what it is held against. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import orjson

#: So many breaks are told; the first is the one that matters.
MOST_BREAKS = 50


@dataclass(frozen=True, slots=True)
class Break:
    """`kind` is edited, removed, added, reordered, cut-head, cut-tail, fork, rolled-back, unsigned, foreign-key or
    malformed; `where` names the entry, the segment or the seal."""

    kind: str
    where: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a trail's last seal was at some time. Kept where whoever has the store cannot reach it, it shows that the
    trail was not rolled back and not begun anew."""

    trail: str
    seal: int
    hash: str
    total: int
    key: str

    def dumps(self) -> str:
        return orjson.dumps({"type": "checkpoint", **asdict(self)}, option=orjson.OPT_INDENT_2).decode()

    @classmethod
    def loads(cls, text: str | bytes) -> Checkpoint:
        """Raises ValueError for what is no checkpoint."""
        try:
            found = orjson.loads(text)
            return cls(**{name: kind(found[name]) for name, kind in _CHECKPOINT.items()})
        except (KeyError, TypeError) as error:
            raise ValueError("not a checkpoint of a trail") from error


_CHECKPOINT = {"trail": str, "seal": int, "hash": str, "total": int, "key": str}


@dataclass(slots=True)
class Report:
    """`entries` counts the sealed ones; `unsealed` those after the last seal, of which nothing can be said yet."""

    trail: str = ""
    entries: int = 0
    seals: int = 0
    unsealed: int = 0
    begins_after: int = 0
    breaks: list[Break] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    head: Checkpoint | None = None

    @property
    def ok(self) -> bool:
        return not self.breaks

    def note_break(self, kind: str, where: str, detail: str = "") -> None:
        if len(self.breaks) < MOST_BREAKS:
            self.breaks.append(Break(kind, where, detail))
