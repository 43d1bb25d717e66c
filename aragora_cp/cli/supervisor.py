"""Supervisor: runs a few processes, shows what they say, starts again whichever dies, and leaves none behind."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import IO

from aragora_cp.cli.watcher import Watcher
from aragora_cp.errors import AragoraError

#: Seconds before a process that died is started again: the first time, doubling, and at most.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 5.0
#: A process that lived shorter than this died at its start.
SHORT_LIFE = 10.0
#: How often in a row a process may die at its start.
MOST_SHORT_LIVES = 5

_CHUNK = 65536


class GaveUp(AragoraError):
    """A process dies again and again at its start."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class Program:
    """What to run. `grace`: seconds between SIGTERM and SIGKILL when it is stopped."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    grace: float = 10.0
    pass_fds: tuple[int, ...] = ()


@dataclass
class _Run:
    program: Program
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    short_lives: int = 0
    due: float | None = None
    output: IO[bytes] | None = None
    partial: bytes = b""
    wanted: bool = True


class Supervisor:
    """Call `step` over and over; nothing happens in between, and everything in the calling thread.

    Each program leads a session of its own, so that Ctrl-C in the terminal reaches its owner alone, and what it leaves
    behind is killed with it. `say(name, line)` gets each line of output, and under the name "" what the supervisor
    itself has to say. `on_exit(name)` is called after a death, before the program is started again; `on_change()` after
    `pids` changed.
    """

    def __init__(
        self,
        say: Callable[[str, str], None],
        *,
        on_exit: Callable[[str], None] = lambda _: None,
        on_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._on_exit = on_exit
        self._on_change = on_change
        self._clock = clock
        self._runs: dict[str, _Run] = {}
        self._selector = selectors.DefaultSelector()
        self._watcher = Watcher()

    @property
    def pids(self) -> dict[str, int]:
        """The running processes by program name."""
        return {name: run.process.pid for name, run in self._runs.items() if run.process is not None}

    @property
    def watcher_pid(self) -> int | None:
        return self._watcher.pid

    def start(self, program: Program) -> None:
        """Run `program` from now on. Raises OSError when it cannot be executed."""
        run = self._runs[program.name] = _Run(program)
        self._start(run)

    def step(self, timeout: float) -> None:
        """Pass on output, notice deaths, start again what is due. Lasts up to `timeout` seconds. Raises GaveUp."""
        self._watcher.ensure()
        self._pass_on_output(timeout)
        for run in list(self._runs.values()):
            if run.process is not None and run.process.poll() is not None:
                self._bury(run)
            elif run.due is not None and self._clock() >= run.due:
                self._start(run)
                self._say("", f"{run.program.name} is process {self.pids[run.program.name]} now")

    def stop(self, names: Iterable[str] | None = None, *, at_once: Callable[[], bool] = lambda: False) -> None:
        """Stop programs (all by default) together: SIGTERM, and SIGKILL when a program's grace is over or as soon as
        `at_once` says so. They are not started again."""
        runs = [self._runs[name] for name in (self._runs if names is None else names) if name in self._runs]
        for run in runs:
            run.wanted, run.due = False, None
            if run.process is not None:
                _signal(run.process.pid, signal.SIGTERM)
        asked_at = self._clock()
        while any(run.process is not None for run in runs):
            self._pass_on_output(0.05)
            for run in runs:
                if run.process is None:
                    continue
                if run.process.poll() is not None:
                    self._bury(run)
                elif at_once() or self._clock() - asked_at > run.program.grace:
                    _signal_group(run.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """After `stop`: end what is left, the watcher included."""
        self.stop(at_once=lambda: True)
        self._watcher.close()
        self._selector.close()

    # --- one program -----------------------------------------------------------------------------------------------

    def _start(self, run: _Run) -> None:
        self._watcher.ensure()
        program = run.program
        run.process = subprocess.Popen(  # noqa: S603 - what the Procfile names
            program.argv,
            env=dict(program.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=program.pass_fds,
            preexec_fn=self._watcher.announce,
        )
        self._watcher.started(run.process.pid)
        run.started_at, run.due, run.partial = self._clock(), None, b""
        run.output = run.process.stdout
        assert run.output is not None
        os.set_blocking(run.output.fileno(), False)
        self._selector.register(run.output, selectors.EVENT_READ, run)
        self._on_change()

    def _bury(self, run: _Run) -> None:
        """Clear up after a process that has ended, and decide when it is started again."""
        process, name = run.process, run.program.name
        assert process is not None
        _signal_group(process.pid, signal.SIGKILL)
        while self._read(run):
            pass
        self._forget_output(run)
        self._watcher.ended(process.pid)
        run.process = None
        self._on_change()
        if run.wanted:
            self._plan_next_start(run, f"{name} (process {process.pid}) {_ending(process.returncode)}")
            self._on_exit(name)

    def _plan_next_start(self, run: _Run, ending: str) -> None:
        run.short_lives = run.short_lives + 1 if self._clock() - run.started_at < SHORT_LIFE else 0
        if run.short_lives >= MOST_SHORT_LIVES:
            times = f"{run.short_lives} times in a row"
            raise GaveUp(run.program.name, f"{ending}, at its start and {times}; giving up")
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** max(0, run.short_lives - 1))
        self._say("", f"{ending}; starting it again in {pause:g} s")
        run.due = self._clock() + pause

    # --- output ----------------------------------------------------------------------------------------------------

    def _pass_on_output(self, timeout: float) -> None:
        for key, _ in self._selector.select(timeout):
            self._read(key.data)

    def _read(self, run: _Run) -> bool:
        """Pass on the whole lines of one read; whether there may be more. Forgets the pipe at its end."""
        if run.output is None:
            return False
        try:
            chunk = os.read(run.output.fileno(), _CHUNK)
        except BlockingIOError:
            return False
        *lines, run.partial = (run.partial + chunk).split(b"\n")
        if run.partial and (not chunk or len(run.partial) > _CHUNK):
            lines.append(run.partial)
            run.partial = b""
        for line in lines:
            self._say(run.program.name, line.decode("utf-8", "replace").rstrip("\r"))
        if not chunk:
            self._forget_output(run)
        return bool(chunk)

    def _forget_output(self, run: _Run) -> None:
        if run.output is not None:
            self._selector.unregister(run.output)
            run.output.close()
            run.output = None


def _ending(status: int) -> str:
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def _signal(pid: int, word: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, word)


def _signal_group(pid: int, word: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, word)
