"""Narrator: what several processes say in one terminal, each line under its process's name."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from contextlib import suppress
from typing import TextIO

from honcho.colour import get_colours
from honcho.printer import Message, Printer

#: Who speaks when the supervisor itself has something to say.
OWN_NAME = "dev"


class Narrator:
    """Prints ``name | line``, in a colour for each name on a terminal. No time: log lines carry theirs. Falls silent
    when nobody reads any more: what it tells of must be stopped all the same."""

    def __init__(self, names: Iterable[str], out: TextIO) -> None:
        everyone = [OWN_NAME, *names]
        self._colours = dict(zip(everyone, get_colours(), strict=False))
        self._printer = Printer(out, time_format="", width=max(map(len, everyone)))

    def say(self, name: str, line: str) -> None:
        speaker = name or OWN_NAME
        moment = datetime.datetime.now(tz=datetime.UTC)
        with suppress(OSError):
            self._printer.write(Message("line", line, moment, speaker, self._colours.get(speaker)))
