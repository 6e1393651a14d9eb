"""Raising an exception in the thread of a running job, and nowhere else.

Dramatiq raises such exceptions wherever the thread happens to be, also in the hooks that record the job's end. Here a
job is open to them only while its actor runs: leaving takes the same lock as raising, and clears what was raised but
not yet delivered. A call into C is not interrupted; the exception waits until it returns.
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from dramatiq.middleware import TimeLimitExceeded
from dramatiq.threading import raise_thread_exception

from .context import RunningJob

logger = logging.getLogger("flask_understudy")

TICK_SECONDS = 0.25
LINGER_TICKS = 8


@dataclass(slots=True)
class _Open:
    job: RunningJob
    since: float = field(default_factory=time.monotonic)
    deadline: float | None = None


class Interrupts:
    """The jobs that run in this process's threads right now."""

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._lock = threading.Lock()
        self._watcher_pid: int | None = None

    def enter(self, job: RunningJob) -> None:
        """From here on this thread may be interrupted on behalf of `job`."""
        with self._lock:
            self._open[threading.get_ident()] = _Open(job)

    def limit(self, seconds: float) -> None:
        """Interrupt this thread's job with `TimeLimitExceeded` when it still runs in that many seconds."""
        with self._lock:
            entry = self._open.get(threading.get_ident())
            if entry is not None:
                entry.deadline = entry.since + seconds
            if self._watcher_pid != os.getpid():
                self._watcher_pid = os.getpid()
                threading.Thread(target=self._watch, name="understudy-time-limits", daemon=True).start()

    def leave(self) -> None:
        """Close this thread to interrupts; one that was raised and not delivered is taken back."""
        thread = threading.get_ident()
        with self._lock:
            self._open.pop(thread, None)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None)

    def running(self) -> list[RunningJob]:
        """Return the jobs that run now."""
        with self._lock:
            return [entry.job for entry in self._open.values()]

    def raise_in(self, job_id: str | None, exception: type[BaseException]) -> list[RunningJob]:
        """Interrupt a job, or all with `None`; return those that were."""
        return self._raise(lambda entry: job_id is None or entry.job.id == job_id, exception)

    def _raise(self, wanted: Callable[[_Open], bool], exception: type[BaseException]) -> list[RunningJob]:
        with self._lock:
            hit = [(thread, entry) for thread, entry in self._open.items() if wanted(entry)]
            for thread, entry in hit:
                entry.deadline = None
                entry.job.stop_asked.set()
                raise_thread_exception(thread, exception)
        return [entry.job for _, entry in hit]

    def _watch(self) -> None:
        idle = 0
        while True:
            time.sleep(TICK_SECONDS)
            now = time.monotonic()
            for job in self._raise(lambda e, now=now: e.deadline is not None and now >= e.deadline, TimeLimitExceeded):  # type: ignore[misc]
                logger.warning("Job %s (%s) exceeded its time limit and is interrupted.", job.id, job.actor)
            with self._lock:
                idle = 0 if self._open else idle + 1
                if idle > LINGER_TICKS:  # the next limit starts another watcher
                    self._watcher_pid = None
                    return
