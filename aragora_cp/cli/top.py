"""`aragora-cp top`: a live view of agents, lanes and queues."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import click
from rich.live import Live

from aragora_cp.cli.board import Board, Reading
from aragora_cp.cli.failure import CommandFailed
from aragora_cp.cli.output import console, print_json
from aragora_cp.cli.session import Session, with_session

#: How often the keys and the size of the terminal are looked at, in seconds.
_LOOK_EVERY = 0.2
#: Agents' rates are taken over about this time: they say how much they have done with their heartbeats.
_RATE_OVER = 30.0
_END = ("q", "Q", "\x04")


@click.command()
@click.option("--once", is_flag=True, help="Print one reading and end; so it does where there is no terminal.")
@click.option("--json", "as_json", is_flag=True, help="One reading, for programs.")
@click.option(
    "--interval", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, help="Seconds between readings."
)
@click.option("--agents", type=click.IntRange(1, 1000), default=200, show_default=True, help="Most agents to read.")
@with_session
def top(session: Session, once: bool, as_json: bool, interval: float, agents: int) -> None:
    """Watch agents, lanes and queues; q or Ctrl-C ends it.

    Two requests a reading, one more for each further hundred agents. Counts are those of the workspace.
    """

    def read() -> Reading:
        return _read(session, agents)

    if as_json:
        print_json(read().as_json())
    elif once or not sys.stdout.isatty():
        console().print(Board(session.url, read()))
    else:
        _watch(session.url, read, interval)


def _read(session: Session, most: int) -> Reading:
    queues = session.request("GET", "/queues")
    found = list(session.pages("/agents", {}, most + 1))
    return Reading(queues, found[:most], more_agents=len(found) > most)


def _watch(where: str, read: Callable[[], Reading], interval: float) -> None:
    """Until a key or a signal ends it. The control plane may come and go meanwhile."""
    readings: deque[Reading] = deque([read()], maxlen=max(2, round(_RATE_OVER / interval)))
    trouble, read_at = "", time.monotonic()
    screen = console()
    with _ended_by_signals(), _keys() as pressed, Live(console=screen, screen=True, auto_refresh=False) as live:
        size: Any = None
        while pressed(_LOOK_EVERY) not in _END:
            if time.monotonic() - read_at >= interval:
                try:
                    readings.append(read())
                    trouble = ""
                except CommandFailed as error:
                    trouble = str(error)
                read_at, size = time.monotonic(), None
            if size != (size := screen.size):
                before = readings[0] if len(readings) > 1 else None
                live.update(Board(where, readings[-1], before, trouble), refresh=True)


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """What you get waits up to so many seconds for a key, and answers it ('' none). The terminal is put back."""
    if not sys.stdin.isatty():
        yield _no_key
        return
    keyboard = sys.stdin.fileno()
    kept = termios.tcgetattr(keyboard)

    def pressed(seconds: float) -> str:
        ready, _, _ = select.select([keyboard], [], [], seconds)
        if not ready:
            return ""
        with contextlib.suppress(OSError):
            return os.read(keyboard, 1).decode("latin-1") or _END[0]
        return _END[0]  # the terminal has gone

    tty.setcbreak(keyboard)
    try:
        yield pressed
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, kept)


def _no_key(seconds: float) -> str:
    time.sleep(seconds)
    return ""


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Ctrl-C and its kin end what is within, and leave the terminal as it was."""
    words = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    earlier = {word: signal.signal(word, signal.default_int_handler) for word in words}
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        for word, handler in earlier.items():
            signal.signal(word, handler)
