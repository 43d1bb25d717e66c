"""How text is cut into words, for every index and ranking of the sample agents.

A word is a run of letters, marks and digits; in scripts that put no spaces between words, each character is
one, and a query of several becomes a phrase. Words are lower-cased, lose their accents and English endings
("running" is "run"): on text in another language the stemmer does the same to the query and the text, so what
matched before still matches.
"""

from __future__ import annotations

import unicodedata

from tantivy import Filter, TextAnalyzer, TextAnalyzerBuilder, Tokenizer

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = rf"[{_UNSPACED}]|[[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]+"

#: Bytes; what is longer is no word but data, and tantivy could not hold it as a term.
_LONGEST_WORD = 200


def analyzer(*, stop_words: bool) -> TextAnalyzer:
    """`stop_words`: also drop the English words that say nothing about a subject ("the", "is")."""
    builder = (
        TextAnalyzerBuilder(Tokenizer.regex(_WORD))
        .filter(Filter.remove_long(_LONGEST_WORD))
        .filter(Filter.lowercase())
        .filter(Filter.ascii_fold())
    )
    if stop_words:
        builder = builder.filter(Filter.stopword("english"))
    return builder.filter(Filter.stemmer("english")).build()


def clean(text: str) -> str:
    """`text` in composed form (NFC), with lone surrogates, which UTF-8 cannot hold, replaced by "?"."""
    return unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
