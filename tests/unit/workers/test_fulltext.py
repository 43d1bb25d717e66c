import fcntl
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tantivy

from workers.fulltext import FullTextIndex, IndexBusyError, UnknownIndexError, data_folder

LONG = "filler " * 300 + "The answer to everything is forty-two. " + "padding " * 300


def docs(**texts: str) -> list[dict[str, str]]:
    return [{"id": key, "text": text} for key, text in texts.items()]


@pytest.fixture
def index(tmp_path) -> FullTextIndex:
    return FullTextIndex(tmp_path, "acme", "notes")


def ids(index: FullTextIndex, query: str) -> list[str]:
    return [hit.id for hit in index.search(query, 10)]


def test_documents_are_found_best_first_with_the_passage_that_matches(index) -> None:
    assert index.put(docs(a="Cats sleep all day.", b="Cats and more cats.", c=LONG), patience=5) == (3, 3)

    assert ids(index, "cat") == ["b", "a"]
    (hit,) = index.search("the answer to everything", 10)
    assert hit.id == "c"
    assert hit.score > 0
    assert "answer to everything is forty" in hit.passage
    assert len(hit.passage) <= 300


def test_indexing_an_id_again_replaces_it(index) -> None:
    index.put(docs(a="first", b="other"), patience=5)

    assert index.put([*docs(a="second"), *docs(a="third")], patience=5) == (1, 2)

    assert (ids(index, "first"), ids(index, "second"), ids(index, "third")) == ([], [], ["a"])


def test_limit(index) -> None:
    index.put(docs(**{f"d{n}": "same words" for n in range(20)}), patience=5)

    assert len(index.search("words", 7)) == 7


def test_the_query_language(index) -> None:
    index.put(docs(a="red apple pie", b="red car", c="pie with apple"), patience=5)

    assert sorted(ids(index, "apple car")) == ["a", "b", "c"]
    assert ids(index, '"apple pie"') == ["a"]
    assert ids(index, "+apple -red") == ["c"]
    assert sorted(ids(index, "-car")) == ["a", "c"]
    assert ids(index, "red AND (pie OR plum)") == ["a"]


@pytest.mark.parametrize(
    "query",
    [
        "car AND (",
        '"car',
        "id:a car",
        "text:car",
        "car:",
        "car^x",
        "/car/ [",
        "[car TO",
        "c++ car}",
        "((((car",
        "car\0",
    ],
)
def test_a_malformed_query_is_read_as_words(index, query) -> None:
    index.put(docs(a="apple", b="car"), patience=5)

    assert "b" in ids(index, query)


@pytest.mark.parametrize("query", ["", " ", "*", "???", "AND", "(" * 999, "NOT " * 250, '"' * 999, "\ud800"])
def test_a_query_without_words_finds_nothing_or_everything_but_never_fails(index, query) -> None:
    index.put(docs(a="apple"), patience=5)

    assert ids(index, query) in ([], ["a"])


def test_any_language(index) -> None:
    index.put(
        docs(
            de="Die größte Stadt ist Zürich.", ja="私は日本語の文章が好きです。", el="Καλημέρα κόσμε", nfd="cafe\u0301"
        ),
        patience=5,
    )

    assert ids(index, "zurich") == ["de"]
    assert ids(index, "日本語") == ["ja"]
    assert ids(index, "本日") == []
    assert "日本語" in index.search("日本語", 1)[0].passage
    assert ids(index, "κόσμε") == ["el"]
    assert ids(index, "café") == ["nfd"]


def test_an_unknown_index_says_so(index) -> None:
    with pytest.raises(UnknownIndexError, match="no index 'notes' in this workspace"):
        index.search("x", 1)


def test_a_workspace_never_reads_anothers(tmp_path, index) -> None:
    index.put(docs(a="secret"), patience=5)

    for workspace in ("other", "ACME", "acme ", "acme/../acme"):
        with pytest.raises(UnknownIndexError):
            FullTextIndex(tmp_path, workspace, "notes").search("secret", 1)


@pytest.mark.parametrize(
    "name", ["../../escape", "/etc/passwd", ".", "..", "", "a\0b", "x" * 5000, "ü" * 100, "\ud800"]
)
def test_no_name_leads_out_of_the_folder(tmp_path, name) -> None:
    root = tmp_path / "root"

    FullTextIndex(root, name, name).put(docs(a="x"), patience=5)

    assert FullTextIndex(root, name, name).search("x", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    assert all(len(path.name) < 100 for path in root.rglob("*"))


def test_threads_that_write_at_once_lose_nothing(tmp_path) -> None:
    start = threading.Barrier(8)

    def write(n: int) -> None:
        start.wait(timeout=30)
        FullTextIndex(tmp_path, "w", "i").put(docs(**{f"doc{n}": "shared text"}), patience=60)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))

    assert len(FullTextIndex(tmp_path, "w", "i").search("shared", 100)) == 8


def write_some(root: Path, n: int) -> None:
    for k in range(3):
        FullTextIndex(root, "w", "i").put(docs(**{f"doc{n}-{k}": "shared text"}), patience=60)


def test_processes_that_write_at_once_lose_nothing(tmp_path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_some, args=(tmp_path, n)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=60)

    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert len(FullTextIndex(tmp_path, "w", "i").search("shared", 100)) == 9


def test_a_writer_waits_no_longer_than_it_may(index, tmp_path) -> None:
    index.put(docs(a="x"), patience=5)
    lock = next(tmp_path.rglob("lock"))

    with lock.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(IndexBusyError, match="'notes' is being written by others"):
            index.put(docs(b="y"), patience=0.1)

    assert index.put(docs(b="y"), patience=5) == (1, 2)


def test_a_failed_put_leaves_the_index_as_it_was(index, monkeypatch) -> None:
    index.put(docs(a="before"), patience=5)
    whole = tantivy.Document

    def failing(**values):
        if values["id"] == "c":
            raise RuntimeError("disk on fire")
        return whole(**values)

    monkeypatch.setattr("workers.fulltext.tantivy.Document", failing)
    with pytest.raises(RuntimeError, match="disk on fire"):
        index.put(docs(a="after", b="new", c="bad"), patience=5)
    monkeypatch.undo()

    assert (ids(index, "before"), ids(index, "after"), ids(index, "new")) == (["a"], [], [])
    assert index.put(docs(b="new"), patience=5) == (1, 2)


def test_where_indexes_are_kept() -> None:
    home = Path.home() / ".local" / "share" / "aragora-cp" / "search"

    assert data_folder({"SEARCH_INDEX_DIR": "/data/x"}) == Path("/data/x")
    assert data_folder({"XDG_DATA_HOME": "/xdg"}) == Path("/xdg/aragora-cp/search")
    assert data_folder({"XDG_DATA_HOME": "relative"}) == home
    assert data_folder({}) == home
