"""The debater that needs no model: it quotes the documents and adds nothing of its own."""

from __future__ import annotations

from collections.abc import Sequence

from workers.debaters import Argument, Statement, Verdict
from workers.evidence import Bearing, bearings, support
from workers.passages import Passage

#: Quotes for the position itself, in the first round and in each later one.
_OPENING_QUOTES = 2
_LATER_QUOTES = 1
#: Quotes in the answer.
_ANSWER_QUOTES = 3
#: A debater yields to a rival whose evidence weighs more than this many times its own.
_YIELDS = 2.0


class ExtractiveDebater:
    model = "extractive"

    def argue(self, argument: Argument) -> Statement:
        """The first round quotes the best passages for the position. Later ones answer the strongest rival with what
        speaks against it, add what was not yet quoted, and yield when the rival's evidence is far stronger."""
        own = self._bearings(argument, argument.position)
        weight = support(own)
        said = {quote for statement in argument.statements for quote in statement.quotes}
        fresh = [bearing.passage for bearing in own if bearing.weight > 0 and bearing.passage not in said]
        quotes = fresh[: _OPENING_QUOTES if argument.round == 1 else _LATER_QUOTES]
        rebuttal: list[Passage] = []
        stance = argument.position
        parts = []
        rival = _strongest_rival(argument)
        if rival is not None:
            contra = [b.passage for b in self._bearings(argument, rival.position) if b.weight < 0]
            mine = [s.text for s in argument.statements if s.position == argument.position]
            rebuttal = [
                passage
                for passage in contra
                if passage not in quotes and not any(passage.text in text for text in mine)
            ][:1]
            if rebuttal:
                parts.append(f"Against “{rival.position}”: {_quoted(rebuttal)}.")
        if quotes:
            parts.append(f"For “{argument.position}”: {_quoted(quotes)}.")
        elif argument.round == 1:
            parts.append(_nothing_for(argument))
        elif not rebuttal:
            parts.append(f"There is nothing further to quote for “{argument.position}”.")
        if rival is not None and rival.support > _YIELDS * weight:
            stance = rival.position
            parts.append(f"The evidence for “{rival.position}” is stronger, and this side yields to it.")
        return Statement(
            round=argument.round,
            position=argument.position,
            text=" ".join(parts),
            sources=tuple(dict.fromkeys(passage.id for passage in [*rebuttal, *quotes])),
            quotes=tuple(quotes),
            stance=stance,
            support=weight,
            model=self.model,
        )

    def judge(self, question: str, positions: Sequence[str], statements: Sequence[Statement]) -> Verdict:
        """The position with the most support, and its quotes.

        confidence = s × n / (n + 1), with s its share of all positions' support and n the passages quoted for it: a
        single quote is worth 0.5 at most, and nothing reaches 1. Without support for any position it is 0.
        Consensus is reached when in the last round all debaters hold the same position.
        """
        last = {statement.position: statement for statement in statements}
        total = sum(statement.support for statement in last.values())
        if total == 0:
            return Verdict(f"No answer: nothing in the documents given settles “{question}”.", 0.0, False)
        best = max((last[position] for position in positions), key=lambda statement: statement.support)
        quotes = list(
            dict.fromkeys(
                quote for statement in statements if statement.position == best.position for quote in statement.quotes
            )
        )
        share = best.support / total
        answer = _quoted(quotes[:_ANSWER_QUOTES])
        if all(best.position != quote.text for quote in quotes):
            answer = f"{best.position}: {answer}"
        return Verdict(
            answer=answer,
            confidence=round(share * len(quotes) / (len(quotes) + 1), 2),
            consensus_reached=len({statement.stance for statement in last.values()}) == 1,
        )

    @staticmethod
    def _bearings(argument: Argument, position: str) -> list[Bearing]:
        return bearings(argument.evidence, argument.question, argument.positions, position)


def _strongest_rival(argument: Argument) -> Statement | None:
    """The rival with the most support as of the round before, None in the first round."""
    rivals = [
        statement
        for statement in argument.statements
        if statement.round == argument.round - 1 and statement.position != argument.position
    ]
    return max(rivals, key=lambda statement: statement.support, default=None)


def _nothing_for(argument: Argument) -> str:
    if not argument.evidence:
        return f"No document given bears on the question, so nothing can be quoted for “{argument.position}”."
    return f"No passage of the documents speaks for “{argument.position}”."


def _quoted(passages: Sequence[Passage]) -> str:
    return "; ".join(f"“{passage.text}” [{passage.id}]" for passage in passages)
