"""Starting the sibling process of a worker, and telling it which jobs run."""

from __future__ import annotations

import json
import logging
import mmap
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from .ledger.database import Database
from .sibling import SLOT_BYTES, SLOTS

logger = logging.getLogger("flask_understudy")

SCRIPT = Path(__file__).with_name("sibling.py")


class Watch:
    """The worker's end of its sibling.

    Args:
        database: The ledger's database.
        worker: Id of the worker.
        lease_ms: ms the worker's lease lasts.
    """

    def __init__(self, database: Database, worker: str, lease_ms: int) -> None:
        self.database = database
        self.worker = worker
        self.lease_ms = lease_ms
        self._shared = mmap.mmap(-1, SLOT_BYTES * SLOTS)
        self._slots: dict[str, int] = {}
        self._free = list(range(SLOTS))
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def ensure(self) -> None:
        """Start the sibling, or start it again when it died."""
        if self._stopped or (self._process is not None and self._process.poll() is None):
            return
        if self._process is not None:
            logger.warning(
                "The sibling of worker %s ended with %s and is started again.", self.worker, self._process.returncode
            )
        task = self._task()
        if task is None:
            return
        descriptor, path = tempfile.mkstemp(prefix="understudy-", suffix=".running")
        with self._lock:
            os.write(descriptor, self._shared[:])
            self._shared = mmap.mmap(descriptor, SLOT_BYTES * SLOTS)
        os.close(descriptor)
        try:
            self._process = subprocess.Popen(
                [sys.executable, str(SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._tell(json.dumps({**task, "shared": path}) + "\n")
        except OSError as problem:
            logger.warning("Worker %s has no sibling: %s", self.worker, problem)

    def _task(self) -> dict[str, Any] | None:
        engine = self.database.engine
        if engine.dialect.driver not in {"psycopg", "pysqlite"}:
            return None
        arguments, options = engine.dialect.create_connect_args(engine.url)
        options = {**options, **self.database.connect_args}
        options.pop("context", None)
        task = {
            "dialect": engine.dialect.name,
            "arguments": list(arguments),
            "options": {} if self.database.is_sqlite else options,
            "worker": self.worker,
            "lease_ms": self.lease_ms,
            "pid": os.getpid(),
        }
        try:
            json.dumps(task)
        except TypeError:
            logger.info("The driver's arguments cannot be passed on: worker %s has no sibling.", self.worker)
            return None
        return task

    def _tell(self, text: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(text.encode())
            self._process.stdin.flush()

    def started(self, job_id: str) -> None:
        """Note that a job's code starts to run."""
        with self._lock:
            if not self._free:
                return
            slot = self._slots[job_id] = self._free.pop()
            self._shared[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES] = job_id.encode()[:SLOT_BYTES].ljust(
                SLOT_BYTES, b"\0"
            )

    def ended(self, job_id: str) -> None:
        """Note that a job's code ended."""
        with self._lock:
            slot = self._slots.pop(job_id, None)
            if slot is not None:
                self._shared[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES] = bytes(SLOT_BYTES)
                self._free.append(slot)

    def stop(self) -> None:
        """Send the sibling home."""
        self._stopped = True
        if self._process is None or self._process.stdin is None:
            return
        try:
            self._tell("stop\n")
            self._process.stdin.close()
            self._process.wait(2)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
