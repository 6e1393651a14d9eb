"""A worker inside the web process, for the mode with nothing configured (G06, V06).

It starts after the server has forked, at the first request or when the server's hook says so; never in the reloader's
parent, in another command, or inside a Dramatiq worker. In `auto` one process per machine runs it: the holder of a
file lock, which the system releases with the process. It stops with the server.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import logging
import os
import signal
import threading
from pathlib import Path
from typing import IO, Any

from dramatiq import Worker

from .errors import UnderstudyError
from .state import State

logger = logging.getLogger("flask_understudy")

TRY_AGAIN_SECONDS = 5.0


class EmbeddedWorker:
    """Runs jobs in this process.

    Args:
        state: The application's side of the library.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self._pid: int | None = None
        self._lock = threading.Lock()
        self._held: IO[str] | None = None
        self._worker: Worker | None = None
        self._stopped = threading.Event()

    @property
    def is_wanted(self) -> bool:
        """Whether this process should run jobs, by `UNDERSTUDY_WORKER` (C29)."""
        config = self.state.config
        if not config.enabled or config.worker == "off" or self.state.broker.worker is not None:
            return False
        if config.worker == "in-process":
            return True
        return self.state.transport.name == "database" and not self.state.app.testing

    def ensure(self) -> None:
        """Start, once per process, if wanted; costs nothing afterwards."""
        if self._pid == os.getpid():
            return
        with self._lock:
            if self._pid == os.getpid():
                return
            self._pid = os.getpid()
        if not self.is_wanted:
            return
        if self.state.database.is_in_memory:
            logger.error("The database is SQLite in memory, which threads cannot share: no worker runs. Use a file.")
            return
        threading.Thread(target=self._start_when_free, name="understudy-embedded", daemon=True).start()
        atexit.register(self.stop)
        self._stop_on_sigterm()

    def _start_when_free(self) -> None:
        while not self._stopped.is_set():
            if self.state.config.worker == "in-process" or self._lock_file():
                try:
                    with self._lock:
                        if self._stopped.is_set():
                            return
                        self.start()
                    return
                except UnderstudyError as problem:
                    logger.error(
                        "The worker in the web process did not start, it is tried again: %s",
                        problem,
                    )
            self._stopped.wait(TRY_AGAIN_SECONDS)

    def start(self) -> None:
        """Start the worker in this process now."""
        broker = self.state.broker
        broker.worker_kind = "in-process"
        broker.bind(self.state)
        self._worker = Worker(
            broker,
            worker_threads=self.state.config.concurrency,
            worker_timeout=self.state.config.poll_interval_ms,
        )
        try:
            self._worker.start()
        except BaseException:
            self._worker = None
            raise

    def stop(self) -> None:
        """Let running jobs end, hand back the rest, and leave; idempotent."""
        self._stopped.set()
        self.state.stand_in.stop()
        if self._pid != os.getpid():
            return
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop(timeout=self.state.config.shutdown_timeout_ms)
            broker = self.state.broker
            broker.middleware = [m for m in broker.middleware if getattr(m, "worker", None) is not worker]
        if self._held is not None:
            self._held.close()
            self._held = None

    def _lock_file(self) -> bool:
        url = self.state.database.engine.url.render_as_string(hide_password=True)
        name = f"understudy-worker-{hashlib.sha256(url.encode()).hexdigest()[:16]}.lock"
        folder = Path(self.state.app.instance_path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held = (folder / name).open("w")
        except OSError as problem:
            logger.warning("%s cannot be written (%s): each web process runs a worker.", folder, problem)
            return True
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            held.close()
            return False
        self._held = held
        return True

    def _stop_on_sigterm(self) -> None:
        """Make SIGTERM an orderly exit where the server left it to kill the process."""

        def leave(*_: Any) -> None:
            raise SystemExit(0)

        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            with contextlib.suppress(ValueError):
                signal.signal(signal.SIGTERM, leave)
