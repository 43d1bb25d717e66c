"""What several processes say, in one stream."""

from __future__ import annotations

import io

from aragora_cp.cli.narrator import Narrator


def test_each_line_stands_under_its_speaker() -> None:
    out = io.StringIO()
    narrator = Narrator(["store", "web"], out)
    narrator.say("web", "up")
    narrator.say("", "web is process 1 now")
    assert out.getvalue() == " web   | up\n dev   | web is process 1 now\n"


def test_a_terminal_gets_a_colour_for_each_speaker() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    narrator = Narrator(["store", "web"], out)
    narrator.say("web", "up")
    narrator.say("store", "up")
    first, second = out.getvalue().splitlines()
    assert first.startswith("\x1b[")
    assert first.split("m", 2)[1] != second.split("m", 2)[1]


def test_a_closed_pipe_is_no_reason_to_stop() -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    Narrator(["web"], Gone()).say("web", "up")
