"""A full-text index on disk, one folder for each workspace and name, safe for several writers at once."""

from __future__ import annotations

import fcntl
import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tantivy
from tantivy import query_parser_error  # type: ignore[attr-defined]  # left out of tantivy's stubs

from workers.words import analyzer, clean

#: Characters of a hit's passage, about three lines.
PASSAGE_CHARS = 300

#: Bytes a writer may fill before it flushes to disk.
_HEAP = 50_000_000
#: Seconds between two looks at a lock that another writer holds.
_LOCK_PAUSE = 0.02
#: What tantivy's query language would read as a field name, a range, a regex or a boost: here these are plain
#: text. Quotes, brackets, + and - keep their meaning.
_NOT_SYNTAX = str.maketrans(dict.fromkeys(":^~*?[]{}<>=/\\", " "))


class UnknownIndexError(LookupError):
    """Nothing was ever indexed under this name."""


class IndexBusyError(TimeoutError):
    """Another writer held the index for the whole time allowed."""


@dataclass(frozen=True, slots=True)
class Hit:
    """`score` is BM25, higher is better, comparable only within one answer."""

    id: str
    score: float
    passage: str


def data_folder(environment: Mapping[str, str]) -> Path:
    """Where indexes are kept: SEARCH_INDEX_DIR, else `aragora-cp/search` in the user's data folder (XDG)."""
    if chosen := environment.get("SEARCH_INDEX_DIR"):
        return Path(chosen).expanduser()
    data_home = environment.get("XDG_DATA_HOME", "")
    # A relative XDG_DATA_HOME is to be ignored, says the XDG base directory specification.
    base = Path(data_home) if Path(data_home).is_absolute() else Path.home() / ".local" / "share"
    return base / "aragora-cp" / "search"


class FullTextIndex:
    def __init__(self, root: Path, workspace: str, name: str) -> None:
        """`workspace` and `name` may be any text: neither reaches the file system as it is."""
        self.name = name
        self._folder = root / _folder_name(workspace) / _folder_name(name)
        self._data = self._folder / "data"

    def put(self, documents: Sequence[Mapping[str, str]], *, patience: float) -> tuple[int, int]:
        """Adds `[{"id", "text"}]`, each in place of what was there under its id; all of them or, on an error,
        none.

        Returns how many were written (an id given twice counts once, its last text stands) and how many the
        index holds now. Raises IndexBusyError when the index is not free within `patience` seconds.
        """
        latest = {clean(document["id"]): clean(document["text"]) for document in documents}
        self._data.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(self._folder / "lock", patience, self.name):
            index = self._open()
            writer = index.writer(_HEAP, 1)
            # Not `with writer`: on an exception that commits what was added so far (tantivy 0.27).
            try:
                for document_id, text in latest.items():
                    writer.delete_documents_by_term("id", document_id)
                    writer.add_document(tantivy.Document(id=document_id, text=text))
                writer.commit()
            except BaseException:
                writer.rollback()
                raise
            finally:
                writer.wait_merging_threads()
            index.reload()
            return len(latest), index.searcher().num_docs

    def search(self, query: str, limit: int) -> list[Hit]:
        """The best `limit` documents for `query`, best first.

        Words are alternatives; "a phrase", +must, -not, AND, OR and brackets work. A query that breaks these
        rules is read as plain words. Raises UnknownIndexError.
        """
        if not self._data.is_dir() or not tantivy.Index.exists(str(self._data)):
            raise UnknownIndexError(f"there is no index {self.name!r} in this workspace")
        index = self._open()
        searcher = index.searcher()
        parsed = _parse(index, clean(query))
        snippets = tantivy.SnippetGenerator.create(searcher, parsed, index.schema, "text")
        snippets.set_max_num_chars(PASSAGE_CHARS)
        hits = []
        for score, address in searcher.search(parsed, limit=limit).hits:
            document = searcher.doc(address)
            # A hit without a matching word (everything *but* a word was asked for) shows how the document
            # starts.
            passage = snippets.snippet_from_doc(document).fragment() or document["text"][0][:PASSAGE_CHARS]
            hits.append(Hit(document["id"][0], round(score, 4), " ".join(passage.split())))
        return hits

    def _open(self) -> tantivy.Index:
        schema = (
            tantivy.SchemaBuilder()
            .add_text_field("id", stored=True, tokenizer_name="raw", index_option="basic")
            .add_text_field("text", stored=True, tokenizer_name="words")
            .build()
        )
        index = tantivy.Index(schema, path=str(self._data))
        index.register_tokenizer("words", analyzer(stop_words=False))
        return index


def _parse(index: tantivy.Index, query: str) -> tantivy.Query:
    parsed, complaints = index.parse_query_lenient(query.translate(_NOT_SYNTAX), ["text"])
    if not any(isinstance(complaint, query_parser_error.SyntaxError) for complaint in complaints):
        return parsed
    terms = sorted(set(analyzer(stop_words=False).analyze(query)))
    return tantivy.Query.boolean_query(
        [(tantivy.Occur.Should, tantivy.Query.term_query(index.schema, "text", term)) for term in terms]
    )


def _folder_name(name: str) -> str:
    """A name for people to recognise and, behind it, a digest that no two names share."""
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{readable}-{digest}" if readable else digest


@contextmanager
def _locked(
    path: Path,
    patience: float,
    name: str,
    now: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Holds the lock file; the system gives it back if the process dies. It excludes threads as well as
    processes.
    """
    give_up = now() + patience
    with path.open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if now() >= give_up:
                    raise IndexBusyError(f"index {name!r} is being written by others for over {patience:g} s") from None
                pause(_LOCK_PAUSE)
        yield
