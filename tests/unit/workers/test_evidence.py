import pytest

from workers.evidence import bearings, denies, select, support
from workers.passages import Passage, rank, split, split_all
from workers.positions import FREE, UNSETTLED, default_positions

TEXT = "Redis is fast. Redis lost messages twice!\n\nRabbitMQ keeps messages on disk. “Is it slow?” It is."
PASSAGES = split("d", TEXT, longest=300)


def texts(passages) -> list[str]:
    return [passage.text for passage in passages]


def test_a_document_is_split_into_sentences() -> None:
    assert texts(PASSAGES) == [
        "Redis is fast.",
        "Redis lost messages twice!",
        "RabbitMQ keeps messages on disk.",
        "“Is it slow?”",
        "It is.",
    ]
    assert texts(split("d", "猫が好きです。犬は嫌い。", longest=300)) == ["猫が好きです。", "犬は嫌い。"]
    assert texts(split("d", "「好き！」と言った。He uses tools, e.g. ruff. (Really.) Yes", longest=300)) == [
        "「好き！」",
        "と言った。",
        "He uses tools, e.g. ruff.",
        "(Really.)",
        "Yes",
    ]
    assert split("d", " \n\n ", longest=300) == []


def test_a_long_sentence_is_cut_between_words_and_a_long_word_anywhere() -> None:
    assert texts(split("d", "aaa bbb ccc ddd", longest=7)) == ["aaa bbb", "ccc ddd"]
    assert texts(split("d", "a" * 10, longest=4)) == ["aaaa", "aaaa", "aa"]


def test_the_same_text_in_two_documents_is_one_passage() -> None:
    assert split_all([{"id": "a", "text": "Same."}, {"id": "b", "text": "Same. New."}], longest=300) == [
        Passage("a", "Same."),
        Passage("b", "New."),
    ]


def test_ranking_is_by_words_and_always_the_same() -> None:
    found = rank(PASSAGES, "who loses message?")

    assert texts(passage for _, passage in found) == ["Redis lost messages twice!", "RabbitMQ keeps messages on disk."]
    assert all(score > 0 for score, _ in found)
    assert found == rank(PASSAGES, "who loses message?")
    assert rank(PASSAGES, "the of ???") == []
    assert rank([], "redis") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Redis is fast", False),
        ("Redis is not fast", True),
        ("Redis isn't slow", False),
        ("It doesn’t work", True),
        ("It never fails", False),
        ("It does not lose messages when a node fails", False),
        ("No.", True),
    ],
)
def test_an_odd_number_of_denials_denies(text, expected) -> None:
    assert denies(text) is expected


def test_a_passage_bears_on_the_position_whose_own_words_it_has() -> None:
    positions = ("Redis", "RabbitMQ")

    found = {
        position: {bearing.passage.text: bearing.weight for bearing in
                   bearings(PASSAGES, "Which broker for messages?", positions, position)}
        for position in positions
    }  # fmt: skip

    assert found["Redis"]["Redis is fast."] == 1
    assert found["Redis"]["Redis lost messages twice!"] < -1
    assert list(found["RabbitMQ"]) == ["RabbitMQ keeps messages on disk."]


@pytest.mark.parametrize(
    ("question", "yes", "no"),
    [("Is Redis fast?", "Redis is fast.", "Redis lost messages twice!"),
     ("Is Redis not fast?", "Redis lost messages twice!", "Redis is fast.")],
)  # fmt: skip
def test_yes_and_no_are_told_by_denials(question, yes, no) -> None:
    def best(position: str) -> list[str]:
        found = bearings(PASSAGES, question, ("yes", "no"), position)
        return [bearing.passage.text for bearing in found if bearing.weight > 0]

    assert best("yes") == [yes]
    assert best("no") == [no]


def test_support_is_what_speaks_for_less_what_speaks_against() -> None:
    positions = ("Redis", "RabbitMQ")
    question = "Which broker for messages?"

    assert support(bearings(PASSAGES, question, positions, "Redis")) == 0
    assert support(bearings(PASSAGES, question, positions, "RabbitMQ")) > 1
    assert support([]) == 0


def test_evidence_is_bounded_and_in_order() -> None:
    many = [Passage(str(n), f"Redis fact {n}.") for n in range(500)]

    chosen = select(many, "Which?", ("Redis", "RabbitMQ"))

    assert chosen == tuple(many[:20])


def test_default_positions() -> None:
    assert default_positions("Should we use Redis?", PASSAGES) == ("yes", "no")
    assert default_positions("What keeps messages?", PASSAGES) == (
        "RabbitMQ keeps messages on disk.",
        "Redis lost messages twice!",
    )
    assert default_positions("What is on disk?", PASSAGES) == ("RabbitMQ keeps messages on disk.", UNSETTLED)
    assert default_positions("Is it Redis or RabbitMQ?", []) == FREE
    assert default_positions("Why?", PASSAGES) == FREE
