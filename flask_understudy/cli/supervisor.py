"""Two or more programs as one: started together, started anew when one dies, stopped in good order (requirement R01).

It is made to be a container's first process: it adopts what its programs leave behind and buries it, passes signals
on, and ends only when everything below it has. Where the system can (Linux), programs are told to end when it is
killed itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

logger = logging.getLogger("flask_understudy")

EXIT_CONFIGURATION = 78  # sysexits.h: EX_CONFIG; starting anew does not help
QUICK_SECONDS = 10.0
MOST_QUICK_ENDS = 5
LONGEST_PAUSE_SECONDS = 30.0
KILL_SECONDS = 3.0

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(slots=True)
class Program:
    """One program under supervision.

    Attributes:
        name: For the log.
        command: What is run.
        environ: Variables besides those of the supervisor.
        pid: Its process while it runs.
        started: When, by the monotonic clock.
        due: When it is to be started anew.
        quick_ends: Ends in a row that came soon after the start.
    """

    name: str
    command: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)
    pid: int | None = None
    started: float = 0.0
    due: float | None = 0.0
    quick_ends: int = 0


class Supervisor:
    """Keeps programs running until it is told to stop.

    Args:
        programs: The programs.
        grace_seconds: s they have to end after SIGTERM before they are killed.
        first_pause_seconds: s before a program that died is started anew; doubles each time, up to 30.
    """

    def __init__(self, programs: Sequence[Program], *, grace_seconds: float, first_pause_seconds: float = 1.0) -> None:
        self.programs = programs
        self.grace_seconds = grace_seconds
        self.first_pause_seconds = first_pause_seconds
        self.code = 0
        self._asked = False
        self._deadline: float | None = None
        self._signals: list[int] = []
        self._groups: list[int] = []

    def run(self) -> int:
        """Supervise until the end; return the exit code: 0 when it was asked to stop, 1 when a program cannot run."""
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        awake, wake = os.pipe()
        os.set_blocking(awake, False)
        os.set_blocking(wake, False)
        wakeup = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        handlers = {number: signal.signal(number, self._note) for number in numbers}
        try:
            while not self._is_over():
                self._start_due()
                select.select([awake], [], [], 0.5)
                with contextlib.suppress(BlockingIOError):
                    os.read(awake, 4096)
                self._pass_on()
                self._bury()
                self._kill_late()
            self._sweep()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup)
            os.close(awake)
            os.close(wake)
        return self.code

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._signals.append(number)

    def _is_over(self) -> bool:
        return self._deadline is not None and all(program.pid is None for program in self.programs)

    def _start_due(self) -> None:
        now = time.monotonic()
        for program in self.programs:
            if self._deadline is None and program.pid is None and program.due is not None and program.due <= now:
                self._start(program, now)

    def _start(self, program: Program, now: float) -> None:
        parent = os.getpid()

        def leave_with_parent() -> None:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

        process = subprocess.Popen(
            program.command,
            env={**os.environ, **program.environ},
            start_new_session=True,  # a Ctrl-C reaches us alone, and is passed on once
            preexec_fn=leave_with_parent,
        )
        process.returncode = 0  # it is waited for here, with everything else, and not by its own object
        program.pid, program.started, program.due = process.pid, now, None
        self._groups.append(process.pid)
        logger.info("Started %s, process %d.", program.name, process.pid)

    def _pass_on(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            first = not self._asked
            self._asked = True
            if first:
                logger.info("Stopping, as asked by %s.", signal.Signals(number).name)
            self._stop(again=not first)

    def _stop(self, *, again: bool = False) -> None:
        if self._deadline is None:
            self._deadline = time.monotonic() + self.grace_seconds
        elif not again:
            return
        for program in self.programs:
            program.due = None
            if program.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(program.pid, signal.SIGTERM)

    def _bury(self) -> None:
        """Wait for all processes that have ended: our programs', and orphans that we adopted."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for program in self.programs:
                if program.pid == pid:
                    self._ended(program, pid, os.waitstatus_to_exitcode(status))

    def _ended(self, program: Program, pid: int, code: int) -> None:
        program.pid = None
        if self._deadline is not None:
            logger.info("%s ended with %d.", program.name, code)
            return
        _signal_group(pid, signal.SIGTERM)  # what it left behind, which may have been too young to notice
        lived = time.monotonic() - program.started
        program.quick_ends = program.quick_ends + 1 if lived < QUICK_SECONDS else 1
        if code == EXIT_CONFIGURATION or (lived < QUICK_SECONDS and program.quick_ends >= MOST_QUICK_ENDS):
            why = "cannot run as it is configured" if code == EXIT_CONFIGURATION else "ends again and again"
            logger.error("%s %s: it ended with %d. Everything is stopped.", program.name, why, code)
            self.code = 1
            self._stop()
            return
        pause = min(LONGEST_PAUSE_SECONDS, self.first_pause_seconds * 2 ** (program.quick_ends - 1))
        program.due = time.monotonic() + pause
        logger.warning("%s ended with %d after %.0f s; it is started anew in %.1f s.", program.name, code, lived, pause)

    def _kill_late(self) -> None:
        if self._deadline is None or time.monotonic() < self._deadline:
            return
        for program in self.programs:
            if program.pid is not None:
                logger.error("%s did not end within %.0f s and is killed.", program.name, self.grace_seconds)
                self.code = 1
                _signal_group(program.pid, signal.SIGKILL)
        self._deadline = time.monotonic() + KILL_SECONDS

    def _sweep(self) -> None:
        """See to it that nothing is left: what our programs left behind may end in good order, and is then killed."""
        deadline = max(self._deadline or 0.0, time.monotonic() + KILL_SECONDS)
        while _has_children() and time.monotonic() < deadline:
            self._bury()
            time.sleep(0.02)
        for group in self._groups:
            _signal_group(group, signal.SIGKILL)
        self._bury()


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _prctl(option: int, value: int) -> None:
    if _libc is not None:
        _libc(option, value, 0, 0, 0)


def _find_prctl() -> Callable[..., int] | None:
    """Return Linux's `prctl`, found before any fork: loading a library in a forked child may wait for ever."""
    if not sys.platform.startswith("linux"):
        return None
    found: Callable[..., int] = ctypes.CDLL(None).prctl
    return found


_libc = _find_prctl()
