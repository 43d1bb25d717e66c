"""How passages bear on the positions of a debate, by their words alone.

A position is told from its rivals by its *own words*: those that neither the question nor a rival has. A passage's
weight for a position is the share of these words that it has, times (1 + its BM25 score for the question). A position
without own words ("yes", "no", "it should not") is a plain answer to the question: every passage that shares
a word with the question bears on it, with the weight 1 + BM25.

The sign comes from denials ("not", "never", "fails", ...): text with an odd number of them denies. A passage
speaks for a position when both deny or neither does, and against it otherwise. This reads words, not meaning:
irony and double meanings pass it by, and the denials are English.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from workers.passages import Passage, rank
from workers.words import analyzer, clean

#: Characters of a passage in a debate: one sentence, so that a denial in it concerns all of it.
PASSAGE_CHARS = 300

#: Passages each side's support is summed over, so that many weak ones do not outweigh a few that fit.
SUPPORTING = 3

_CANDIDATES = 20

_DENIAL = re.compile(
    r"""n['’]t\b | \b(?: not | no | never | cannot | without | neither | nor | none | nobody | nothing | hardly
    | barely | rarely | unable | impossible | fail(?:s|ed|ing|ure|ures)? | lack(?:s|ed|ing)? | los(?:e|es|t|ing|s)
    | crash(?:es|ed|ing)? | bad(?:ly)? | worse | worst | poor(?:ly)? | slow(?:s|er|est|ly)? | unsafe | unreliable
    | unstable | wrong | false | against | con | disagree(?:s|d)? | avoid(?:s|ed)? | refuse[sd]? | reject(?:s|ed)?
    | dangerous | harm(?:s|ed|ful)? )\b""",
    re.IGNORECASE | re.VERBOSE,
)
#: "does not lose messages when a node fails": what happens meanwhile is no denial.
_CIRCUMSTANCE = re.compile(r"\b(?:when|whenever|if|once|after|while|although|though)\b[^,;:.]*", re.IGNORECASE)
_PLAIN_ANSWER = re.compile(r"^\W*(yes|no|true|false|for|against|pro|con|agree|disagree)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Bearing:
    """`weight` above 0: the passage speaks for the position; below 0: against it."""

    passage: Passage
    weight: float


def denies(text: str) -> bool:
    """Whether `text`, without its clauses of time and condition, has an odd number of denials."""
    return len(_DENIAL.findall(_CIRCUMSTANCE.sub("", text))) % 2 == 1


def bearings(passages: Sequence[Passage], question: str, positions: Sequence[str], position: str) -> list[Bearing]:
    """The passages that bear on `position`, the weightiest first. Those with less than half of the best one's share
    of own words are left out: they meet the position by accident."""
    words = analyzer(stop_words=True)
    relevance = {passage: score for score, passage in rank(passages, question)}
    others = [other for other in positions if other != position]
    own = set(words.analyze(clean(_PLAIN_ANSWER.sub("", position))))
    own -= set(words.analyze(clean(" ".join([question, *others]))))
    if own:
        shares = {passage: len(own.intersection(words.analyze(passage.text))) / len(own) for passage in passages}
        negative = denies(_PLAIN_ANSWER.sub("", position))
    else:
        shares = {passage: float(passage in relevance) for passage in passages}
        negative = denies(position) != denies(question)
    enough = max(shares.values(), default=0.0) / 2
    found = []
    for passage, share in shares.items():
        if share > 0 and share >= enough:
            sign = 1 if denies(passage.text) == negative else -1
            found.append(Bearing(passage, sign * share * (1 + relevance.get(passage, 0.0))))
    return sorted(found, key=lambda bearing: -abs(bearing.weight))


def support(found: Sequence[Bearing]) -> float:
    """The weights of the best `SUPPORTING` passages for a position less those of the best against it, at least 0."""
    pro = [bearing.weight for bearing in found if bearing.weight > 0][:SUPPORTING]
    contra = [-bearing.weight for bearing in found if bearing.weight < 0][:SUPPORTING]
    return round(max(0.0, sum(pro) - sum(contra)), 4)


def select(passages: Sequence[Passage], question: str, positions: Sequence[str]) -> tuple[Passage, ...]:
    """The passages worth handing to the debaters, in their order: for each position those that bear on it most, and
    those that fit the question best."""
    chosen = {passage for _, passage in rank(passages, question)[:_CANDIDATES]}
    for position in positions:
        found = bearings(passages, question, positions, position)
        chosen.update(bearing.passage for bearing in found[:_CANDIDATES])
    return tuple(passage for passage in passages if passage in chosen)
