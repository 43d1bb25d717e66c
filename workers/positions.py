"""The positions of a debate whose caller named none."""

from __future__ import annotations

import re
from collections.abc import Sequence

from workers.passages import Passage, rank
from workers.words import analyzer

#: Positions taken from passages, at most.
_MOST = 3
#: Two passages with this share of words in common (Jaccard) say the same.
_SAME = 0.5

_CLOSED = re.compile(
    r"^\W*(is|are|am|was|were|do|does|did|can|could|should|shall|would|will|has|have|had|may|might|must)\b",
    re.IGNORECASE,
)
_CHOICE = re.compile(r"\bor\b", re.IGNORECASE)

UNSETTLED = "the documents do not settle it"
FREE = ("the most likely answer", "the strongest alternative answer")


def default_positions(question: str, passages: Sequence[Passage]) -> tuple[str, ...]:
    """Two or three positions: yes and no for a question that asks for one of them; for an open one the passages that
    answer it best and differ from each other; without any, two that leave the answer to whoever argues."""
    if _CLOSED.match(question) and not _CHOICE.search(question):
        return ("yes", "no")
    words = analyzer(stop_words=True)
    chosen: list[tuple[str, set[str]]] = []
    for _, passage in rank(passages, question):
        own = set(words.analyze(passage.text))
        if all(len(own & other) / len(own | other) < _SAME for _, other in chosen):
            chosen.append((passage.text, own))
        if len(chosen) == _MOST:
            break
    if not chosen:
        return FREE
    texts = tuple(text for text, _ in chosen)
    return texts if len(texts) > 1 else (*texts, UNSETTLED)
