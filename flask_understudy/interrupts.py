"""Raising an exception in the thread of a running job, and nowhere else.

Dramatiq raises such exceptions wherever the thread happens to be, also in the hooks that record the job's end, or in
the handler of what the actor raised by itself. Here a job is open to them only while its actor's function runs: closing
takes the same lock as raising, and clears what was raised but not yet delivered. No attempt is interrupted twice, so
that an exception which arrives in the middle of closing is the last one. A call into C is not interrupted; the
exception waits until it returns.
"""

from __future__ import annotations

import ctypes
import enum
import functools
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar, cast

from dramatiq.middleware import TimeLimitExceeded
from dramatiq.threading import raise_thread_exception

from .context import RunningJob
from .suspension import Unwind

logger = logging.getLogger("flask_understudy")

P = ParamSpec("P")
R = TypeVar("R")

TICK_SECONDS = 0.25
LINGER_TICKS = 8


class _Phase(enum.Enum):
    BEFORE = enum.auto()
    OPEN = enum.auto()
    OVER = enum.auto()


@dataclass(slots=True)
class _Entry:
    job: RunningJob
    since: float = field(default_factory=time.monotonic)
    deadline: float | None = None
    phase: _Phase = _Phase.BEFORE
    was_hit: bool = False
    pending: type[BaseException] | None = None


_arenas: dict[int, Interrupts] = {}


def interruptible(fn: Callable[P, R]) -> Callable[P, R]:
    """Return an actor's function, open to interrupts while it runs as a job; a step may leave it in the middle."""

    @functools.wraps(fn)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        arena = _arenas.get(threading.get_ident())
        if arena is None or not arena.open():
            return fn(*args, **kwargs)
        try:
            return fn(*args, **kwargs)
        except Unwind as unwind:
            if unwind.exception is not None:
                raise unwind.exception from None
            return cast(R, None)
        finally:
            arena.close()

    return run


class Interrupts:
    """The jobs that run in this process's threads right now."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._lock = threading.Lock()
        self._watcher_pid: int | None = None

    def enter(self, job: RunningJob) -> None:
        """This thread works on `job` from here on; an interrupt waits until the actor's function runs."""
        thread = threading.get_ident()
        with self._lock:
            self._entries[thread] = _Entry(job)
            _arenas[thread] = self

    def limit(self, seconds: float) -> None:
        """Interrupt this thread's job with `TimeLimitExceeded` when it still runs in that many seconds."""
        with self._lock:
            entry = self._entries.get(threading.get_ident())
            if entry is not None:
                entry.deadline = entry.since + seconds
            if self._watcher_pid != os.getpid():
                self._watcher_pid = os.getpid()
                threading.Thread(target=self._watch, name="understudy-time-limits", daemon=True).start()

    def open(self) -> bool:
        """From here on this thread may be interrupted; tell whether it could not be before.

        Raises:
            BaseException: What somebody wanted raised since `enter`.
        """
        with self._lock:
            entry = self._entries.get(threading.get_ident())
            if entry is None or entry.phase is not _Phase.BEFORE:
                return False
            if entry.pending is not None:
                entry.phase = _Phase.OVER
                raise entry.pending
            entry.phase = _Phase.OPEN
        return True

    def close(self) -> None:
        """Close this thread to interrupts; one that was raised and not delivered is taken back."""
        thread = threading.get_ident()
        with self._lock:
            entry = self._entries.get(thread)
            if entry is None or entry.phase is _Phase.OVER:
                return
            entry.phase = _Phase.OVER
            if entry.was_hit:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None)

    def leave(self) -> None:
        """This thread's job has ended."""
        self.close()
        thread = threading.get_ident()
        with self._lock:
            self._entries.pop(thread, None)
            _arenas.pop(thread, None)

    def running(self) -> list[RunningJob]:
        """Return the jobs that run now."""
        with self._lock:
            return [entry.job for entry in self._entries.values()]

    def raise_in(self, job_id: str | None, exception: type[BaseException]) -> list[RunningJob]:
        """Interrupt a job, or all with `None`; return those that were."""
        return self._raise(lambda entry: job_id is None or entry.job.id == job_id, exception)

    def _raise(self, wanted: Callable[[_Entry], bool], exception: type[BaseException]) -> list[RunningJob]:
        hit = []
        with self._lock:
            for thread, entry in self._entries.items():
                if entry.was_hit or entry.phase is _Phase.OVER or not wanted(entry):
                    continue
                entry.was_hit = True
                entry.job.stop_asked = True
                hit.append(entry.job)
                if entry.phase is _Phase.OPEN:
                    raise_thread_exception(thread, exception)
                else:
                    entry.pending = exception
        return hit

    def _watch(self) -> None:
        idle = 0
        while True:
            time.sleep(TICK_SECONDS)
            now = time.monotonic()
            for job in self._raise(lambda e, now=now: e.deadline is not None and now >= e.deadline, TimeLimitExceeded):  # type: ignore[misc]
                logger.warning("Job %s (%s) exceeded its time limit and is interrupted.", job.id, job.actor)
            with self._lock:
                idle = 0 if self._entries else idle + 1
                if idle > LINGER_TICKS:  # the next limit starts another watcher
                    self._watcher_pid = None
                    return
