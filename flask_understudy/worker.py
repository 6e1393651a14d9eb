"""A process that claims jobs: its identity and lease in the ledger, its writer, and what it holds right now.

There are three kinds. `worker` runs under `dramatiq`; `in-process` is the same inside a web server; `web` only stands
in for the broker while that is down.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dramatiq.middleware import Shutdown
from flask import Flask
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from .admission import admit_ended, admit_sent
from .claims import ClaimedMessage
from .closing import close_soon
from .config import Config
from .errors import LeaseLost, TransportError
from .heartbeat import Heartbeat
from .interrupts import Interrupts
from .ledger import Job, transitions
from .ledger.limits import Knowledge
from .ledger.statements import run
from .ledger.transitions import Claimed, Due, Ending, NewJob, Stray
from .ledger.writer import Finish, Writer
from .vitals import versions

if TYPE_CHECKING:
    from .broker import LedgerBroker
    from .state import State

CLAIM_ANSWER_SECONDS = 1.0
HAND_BACK_SECONDS = 5.0

FAREWELL = "DELETE FROM understudy_workers WHERE id = :id"


class WorkerProcess:
    """What one process needs to hold jobs.

    Args:
        state: The application's side of the library.
        kind: `worker`, `in-process` or `web`.
        queues: The queues it consumes.
        threads: Jobs it runs at a time.
    """

    def __init__(self, state: State, kind: str, queues: list[str], threads: int) -> None:
        self.logger = logging.getLogger("flask_understudy")
        self.id = str(uuid.uuid4())
        self.pid = os.getpid()
        self.state = state
        self.kind = kind
        self.queues = queues
        self.threads = threads
        self.app: Flask = state.app
        self.config: Config = state.config
        self.broker: LedgerBroker = state.broker
        self.bind_arguments = {"mapper": Job}
        self.interrupts = Interrupts()
        self.writer = Writer(state.database, self.id, self.announce, self.settle)
        self.heartbeat = Heartbeat(state.database, self, state.config.lease_seconds)
        self.stopping = threading.Event()
        self._asked_to_stop = threading.Event()
        self._leave: Callable[[], None] | None = None
        self.drained = threading.Event()
        self.leaving = threading.Event()
        self.limits = Knowledge()
        self.isolated = 0
        self.isolation = threading.BoundedSemaphore(2)
        self._held: dict[str, ClaimedMessage] = {}
        self._claiming: dict[int, float] = {}

    def start(self) -> None:
        """Enter the process in the ledger and keep its lease.

        Raises:
            SQLAlchemyError: The database cannot be reached or the tables are missing.
        """
        self.heartbeat.enter()
        self.heartbeat.start()
        # Now, as no thread can be started when the interpreter ends, which may be what asks to stop.
        threading.Thread(target=self._stop_when_asked, name="understudy-stop", daemon=True).start()
        self.logger.info(
            "Processor started: %s %s on %s, queues %s, %d threads.",
            self.kind,
            self.id,
            socket.gethostname(),
            ", ".join(self.queues) or "none",
            self.threads,
            extra={"event": "processor started", "worker": self.id, "pid": os.getpid()},
        )

    def session(self) -> Any:
        """Return the application's session."""
        return self.state.db.session

    def announce(self, jobs: list[Due]) -> None:
        """Announce jobs that wait; when the broker cannot, workers find them in the ledger."""
        try:
            self.state.transport.announce(jobs)
        except TransportError as problem:
            self.logger.debug("Not announced: %s", problem)

    def settle(self, finishes: list[Finish], born: list[NewJob]) -> None:
        """Let others start in place of jobs that were finished, and end the batches that were ended with them."""
        if keys := {finish.key for finish in finishes if finish.key is not None}:
            admit_ended(self.state, keys)
        if born:
            admit_sent(self.state, born)
        if ids := {finish.batch for finish in finishes if finish.batch is not None}:
            close_soon(self.state, ids)

    def hold(self, claimed: Claimed, released: Callable[[float], None] | None) -> ClaimedMessage:
        """Return the message of a job this process just claimed."""
        message = ClaimedMessage(claimed, self, released)
        self._held[claimed.id] = message
        return message

    @contextmanager
    def claiming(self) -> Iterator[Connection]:
        """A connection for claims; while one is asked for in vain, nobody takes its jobs for strays."""
        thread = threading.get_ident()
        self._claiming[thread] = time.monotonic()
        try:
            with self.state.database.claims() as connection:
                yield connection
        finally:
            self._claiming.pop(thread, None)

    def take_stock(self) -> int:
        """Hand back what the ledger says this process holds and it does not know of; return how many jobs.

        That happens when a claim was committed and its answer was lost on the way.
        """
        if any(time.monotonic() - began > CLAIM_ANSWER_SECONDS for began in list(self._claiming.values())):
            return 0
        unknown = self._unknown()
        if not unknown or not self.writer.flush(HAND_BACK_SECONDS):
            return 0
        unknown = [stray for stray in self._unknown() if stray in unknown]
        for stray in unknown:
            self.logger.warning("Job %s was claimed and the answer was lost; it is handed back.", stray.id)
            ending = Ending(stray.id, stray.fence, "waiting", "handed_back", charged=0)
            self.writer.put(Finish(stray.id, stray.fence, ending=ending))
        self.writer.flush(HAND_BACK_SECONDS)
        self.announce([Due(stray.id, stray.queue, stray.priority, stray.turn_ms) for stray in unknown])
        return len(unknown)

    def _unknown(self) -> list[Stray]:
        with self.state.database.statement() as connection:
            found = transitions.strays(connection, self.id, int(CLAIM_ANSWER_SECONDS * 2000))
        return [stray for stray in found if stray.id not in self._held]

    def note_started(self, job_id: str) -> None:
        """Remember that a job's code runs, so that its crash is not blamed on others."""
        self.heartbeat.note_started(job_id)

    def note_ended(self, job_id: str) -> None:
        """Remember that a job's code ended."""
        self._held.pop(job_id, None)
        self.heartbeat.note_ended(job_id)

    def held_job(self, job_id: str) -> ClaimedMessage | None:
        """Return a job that this process holds, or None."""
        return self._held.get(job_id)

    def held(self) -> list[ClaimedMessage]:
        """Return the jobs that are claimed by this process and not finished."""
        return list(self._held.values())

    def is_busy(self) -> bool:
        """Whether it holds jobs, or may be claiming some."""
        return bool(self._held or self._claiming or self.isolated)

    def lease_lost(self) -> None:
        """The lease could not be renewed in time: others may run our jobs, so ours must stop."""
        for job in self.interrupts.raise_in(None, LeaseLost):
            self.logger.error("Job %s is interrupted: this worker could not renew its lease.", job.id)

    def hand_back(self, messages: list[ClaimedMessage]) -> None:
        """Return claims to the ledger without charging them (T6)."""
        for message in messages:
            self._held.pop(message.claimed.id, None)
            message.release()
            claimed = message.claimed
            ending = Ending(claimed.id, claimed.fence, "waiting", "handed_back", charged=0)
            self.writer.put(Finish(claimed.id, claimed.fence, ending=ending, key=claimed.key))
        self.announce([Due(m.claimed.id, m.claimed.queue, m.claimed.priority, m.claimed.turn_ms) for m in messages])

    def stop_soon(self, leave: Callable[[], None]) -> None:
        """Claim nothing any more; interrupt and hand back what still runs when the time to stop is over (G11).

        Args:
            leave: Called when jobs did not even heed the interrupt; ends the process.
        """
        if self.stopping.is_set():
            return
        self._leave = leave
        self.stopping.set()
        self._asked_to_stop.set()

    def _stop_when_asked(self) -> None:
        self._asked_to_stop.wait()
        if self._leave is not None:
            budget = max(0.0, self.config.shutdown_timeout_ms / 1000 - HAND_BACK_SECONDS)
            self._stop_stragglers(budget, self._leave)

    def _stop_stragglers(self, budget: float, leave: Callable[[], None]) -> None:
        deadline = time.monotonic() + budget
        while self._held and time.monotonic() < deadline:
            time.sleep(0.05)
        if not self._held:
            return
        for job in self.interrupts.raise_in(None, Shutdown):
            self.logger.warning("Job %s is interrupted: the worker has to stop.", job.id)
        deadline = time.monotonic() + HAND_BACK_SECONDS / 2
        while self._held and time.monotonic() < deadline:
            time.sleep(0.05)
        if stragglers := self.held():
            self.logger.warning("%d jobs did not stop in time and are handed back.", len(stragglers))
            self.hand_back(stragglers)
            self.writer.flush(HAND_BACK_SECONDS / 2)
            self.stop()
            leave()

    def stop(self) -> None:
        """Write what is left and leave the ledger; idempotent."""
        self.stopping.set()
        self._asked_to_stop.set()
        if not self.writer.close(HAND_BACK_SECONDS):
            self.logger.error("The ledger could not be written before the worker stopped; its jobs will be rescued.")
            self.heartbeat.stop()
            return
        self.heartbeat.stop()
        if not self._held:
            try:
                with self.state.database.statement() as connection:
                    run(connection, FAREWELL, id=self.id)
            except SQLAlchemyError as problem:
                self.logger.warning("The worker could not take leave of the ledger: %s", type(problem).__name__)

    def described(self) -> dict[str, Any]:
        """Return the worker's row for the ledger."""
        return {
            "id": self.id,
            "kind": self.kind,
            "hostname": socket.gethostname(),
            "pid": self.pid,
            "queues": json.dumps(self.queues),
            "threads": self.threads,
            "versions": json.dumps(versions(self.config.release)),
        }
