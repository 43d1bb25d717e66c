"""Documents cut into passages, and passages ranked by BM25 (Robertson and Zaragoza 2009, as tantivy computes
it).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import tantivy

from workers.words import analyzer, clean

_PARAGRAPH = re.compile(r"\n\s*\n")
#: White space behind a full stop, with or without a closing quote, unless the next word starts small (as after
#: "e.g."); in scripts without spaces, right behind the stop.
_SENTENCE = re.compile(
    r"(?:(?<=[.!?…])|(?<=[.!?…][\"'”’)\]]))\s+(?![a-z])|(?<=[。！？])(?![」』”’）])|(?<=[。！？][」』”’）])"
)

#: Bytes of memory for building an index: the smallest that tantivy takes, and enough for a task's documents.
_HEAP = 15_000_000


@dataclass(frozen=True, slots=True)
class Passage:
    """`text` of the document `id`, as it stands there but for white space."""

    id: str
    text: str


def split(document_id: str, text: str, *, longest: int) -> list[Passage]:
    """The sentences of a document in reading order; one of over `longest` characters is cut between words."""
    return [
        Passage(document_id, sentence)
        for paragraph in _PARAGRAPH.split(clean(text))
        for sentence in _sentences(paragraph, longest)
    ]


def split_all(documents: Iterable[Mapping[str, str]], *, longest: int) -> list[Passage]:
    """The passages of `[{"id", "text"}]`; a text that stands there twice is kept once, under its first
    document.
    """
    unique: dict[str, Passage] = {}
    for document in documents:
        for passage in split(document["id"], document["text"], longest=longest):
            unique.setdefault(passage.text, passage)
    return list(unique.values())


def rank(passages: Sequence[Passage], query: str) -> list[tuple[float, Passage]]:
    """The passages that share a word with `query`, best first, each with its BM25 score (above 0).

    Equal scores keep the order given, so the same input always gives the same ranking.
    """
    words = analyzer(stop_words=True)
    terms = sorted(set(words.analyze(clean(query))))
    if not terms or not passages:
        return []
    schema = (
        tantivy.SchemaBuilder()
        .add_unsigned_field("place", stored=True)
        .add_text_field("text", tokenizer_name="words")
        .build()
    )
    index = tantivy.Index(schema)
    index.register_tokenizer("words", words)
    writer = index.writer(_HEAP, 1)
    for place, passage in enumerate(passages):
        writer.add_document(tantivy.Document(place=place, text=passage.text))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()
    query_any = tantivy.Query.boolean_query(
        [(tantivy.Occur.Should, tantivy.Query.term_query(schema, "text", term)) for term in terms]
    )
    found = [
        (score, searcher.doc(address)["place"][0])
        for score, address in searcher.search(query_any, limit=len(passages)).hits
    ]
    found.sort(key=lambda hit: (-hit[0], hit[1]))
    return [(score, passages[place]) for score, place in found]


def _sentences(paragraph: str, longest: int) -> Iterable[str]:
    for raw in _SENTENCE.split(paragraph):
        sentence = " ".join(raw.split())
        while len(sentence) > longest:
            end = sentence.rfind(" ", 0, longest + 1)
            end = end if end > 0 else longest
            yield sentence[:end]
            sentence = sentence[end:].lstrip()
        if sentence:
            yield sentence
