"""The lease of a worker process: renewed while it lives, so that its jobs are taken back when it does not."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from .ledger.database import Database
from .ledger.statements import run
from .vitals import memory_bytes
from .watch import Watch

if TYPE_CHECKING:
    from .worker import WorkerProcess

logger = logging.getLogger("flask_understudy")

ENTER = """
INSERT INTO understudy_workers
    (id, kind, hostname, pid, queues, threads, started_at, lease_until, master_pid, memory_bytes, versions)
VALUES (:id, :kind, :hostname, :pid, <json:CAST(:queues AS text)>, :threads, <now>, <after::lease_ms>,
    CAST(:master_pid AS integer), CAST(:memory_bytes AS bigint), <json:CAST(:versions AS text)>)
ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until"""

#: SQLite 3.40 says 1 for `drained_at IS NOT NULL` here whatever it is.
RENEW = """
UPDATE understudy_workers SET lease_until = <after::lease_ms>, memory_bytes = CAST(:memory_bytes AS bigint)
WHERE id = :id RETURNING drained_at, stopping"""

#: Jobs of this process, and of those that its master ends with it.
RUNS = """
SELECT count(*) FROM understudy_jobs AS j JOIN understudy_workers AS w ON w.id = j.worker_id
WHERE j.state = 'active' AND (w.id = :id OR (w.hostname = :hostname AND w.master_pid = :master_pid))
    AND w.lease_until >= <now>"""

STOP_ASKED = """
SELECT id FROM understudy_jobs WHERE id <any:ids> AND worker_id = :worker AND state = 'active'
    AND cancel_requested_at IS NOT NULL"""

CANCEL_CHECK_SECONDS = 1.0
WATCHED = frozenset({"worker", "in-process"})

_FIRST_PARENT = os.getppid()


class Heartbeat:
    """Renews a worker's lease and passes on requests to cancel.

    Args:
        database: The ledger's database.
        worker: Whose lease it is.
        lease_seconds: s the lease lasts; renewed three times as often.
    """

    def __init__(self, database: Database, worker: WorkerProcess, lease_seconds: float) -> None:
        self.database = database
        self.worker = worker
        self.lease_seconds = lease_seconds
        self.watch = Watch(database, worker.id, int(lease_seconds * 1000)) if worker.kind in WATCHED else None
        self._master = _master()
        self._stopped = threading.Event()
        self._renewed = time.monotonic()
        self._lost = False
        self._quiet = 0

    def enter(self) -> None:
        """Write the worker's row.

        Raises:
            SQLAlchemyError: The database cannot be reached or the tables are missing.
        """
        began = time.monotonic()
        with self.database.statement() as connection:
            run(
                connection,
                ENTER,
                lease_ms=int(self.lease_seconds * 1000),
                master_pid=self.master_pid,
                memory_bytes=memory_bytes(),
                **self.worker.described(),
            )
        self._renewed = began

    def start(self) -> None:
        """Renew from now on, with the sibling's help."""
        if self.watch is not None:
            self.watch.ensure()
        threading.Thread(target=self._run, name="understudy-heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Renew no more."""
        self._stopped.set()
        if self.watch is not None:
            self.watch.stop()

    def note_started(self, job_id: str) -> None:
        """A job's code starts to run."""
        if self.watch is not None:
            self.watch.started(job_id)

    def note_ended(self, job_id: str) -> None:
        """A job's code ended."""
        if self.watch is not None:
            self.watch.ended(job_id)

    def _run(self) -> None:
        due = 0.0
        while not self._stopped.wait(min(CANCEL_CHECK_SECONDS, self.lease_seconds / 3)):
            now = time.monotonic()
            try:
                if now >= due and self.worker.kind != "isolated":  # there the worker itself and its sibling renew
                    self.renew()
                    due = now + self.lease_seconds / 3
                    self.worker.take_stock()
                self.pass_on_cancellations()
                self.end_when_idle()
            except SQLAlchemyError as problem:
                logger.warning("The lease could not be renewed: %s", type(problem).__name__)
                due = 0.0
            if self.worker.kind != "isolated":
                self.check()
            if self.watch is not None and not self._stopped.is_set():
                self.watch.ensure()
            self._end_with_master()

    @property
    def master_pid(self) -> int | None:
        """The process that ends this one together with others; None = nobody does."""
        return self._master if self.worker.kind == "worker" else None

    def is_orphaned(self) -> bool:
        """Whether the master that started this worker died."""
        return self.worker.kind == "worker" and os.getppid() != self._master

    def _end_with_master(self) -> None:
        """A worker whose master died would go on for ever, unseen by its supervisor: end it in good order."""
        if self.is_orphaned() and not self.worker.stopping.is_set():
            logger.error("The master process died; worker %s stops.", self.worker.id)
            self._master = os.getppid()
            os.kill(os.getpid(), signal.SIGTERM)

    def renew(self) -> None:
        """Renew the lease; a worker whose row is gone was taken for dead and enters anew."""
        began = time.monotonic()
        with self.database.statement() as connection:
            alive = run(
                connection,
                RENEW,
                id=self.worker.id,
                lease_ms=int(self.lease_seconds * 1000),
                memory_bytes=memory_bytes(),
            ).first()
        if alive is None:
            self.worker.lease_lost()
            self.enter()
        elif alive[0] is not None and not self.worker.drained.is_set():
            logger.warning("Worker %s was drained: it claims nothing any more.", self.worker.id)
            self.worker.drained.set()
        elif alive[0] is None and self.worker.drained.is_set():
            logger.warning("Worker %s claims again: its drain was undone.", self.worker.id)
            self.worker.drained.clear()
        if alive is not None and bool(alive[1]) != self.worker.leaving.is_set():
            self._leave_or_stay(bool(alive[1]))
        self._renewed, self._lost = began, False

    def _leave_or_stay(self, leave: bool) -> None:
        if leave:
            logger.warning("Worker %s is to end when what it runs has ended.", self.worker.id)
            self.worker.leaving.set()
        else:
            logger.warning("Worker %s stays: its end was called off.", self.worker.id)
            self.worker.leaving.clear()
            self._quiet = 0

    def end_when_idle(self) -> None:
        """End the process in good order if it is to end, and neither it nor those that end with it run a job."""
        worker = self.worker
        if not worker.leaving.is_set() or worker.stopping.is_set() or worker.is_busy():
            self._quiet = 0
            return
        where = {"hostname": socket.gethostname(), "master_pid": self.master_pid}
        with self.database.statement() as connection:
            runs = run(connection, RUNS, id=worker.id, **where).scalar_one()
        self._quiet = 0 if runs else self._quiet + 1
        if self._quiet > 1:  # a claim that was on its way has shown by now
            logger.warning("Worker %s runs nothing any more and ends, as it was asked to.", worker.id)
            self._quiet = 0
            os.kill(os.getpid(), signal.SIGTERM)

    def check(self) -> None:
        """Interrupt the jobs when the last renewal is so old that somebody may be taking them back."""
        margin = min(5.0, self.lease_seconds / 6)
        if not self._lost and time.monotonic() - self._renewed > self.lease_seconds - margin:
            self._lost = True
            self.worker.lease_lost()

    def pass_on_cancellations(self) -> None:
        """Ask those running jobs to stop that somebody wants cancelled."""
        jobs = {job.id: job for job in self.worker.interrupts.running() if not job.stop_asked}
        if jobs:
            with self.database.statement() as connection:
                for (id,) in run(connection, STOP_ASKED, ids=list(jobs), worker=self.worker.id):
                    jobs[id].stop_asked = True


def _master() -> int:
    """Return the process whose death ends this one, though it may have died while this one booted."""
    parent = multiprocessing.parent_process()
    if parent is None or parent.pid is None:
        return os.getppid()
    if multiprocessing.get_start_method() == "forkserver":  # that server, not the master, is the parent here
        return _FIRST_PARENT
    return parent.pid
