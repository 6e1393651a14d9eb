"""One thread per process that writes what its jobs did: finishes, steps, progress and log lines, committed together.

A commit that waits for the disk costs milliseconds whatever it carries, so the writer takes all that the process's
threads have handed in since its last commit and commits that at once. Nothing is dropped while the database is away:
the batch is kept and tried again.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from . import steps, transitions
from .database import Database
from .statements import run
from .steps import StepNote
from .tallies import Tallies
from .transitions import Due, Ending, NewJob

logger = logging.getLogger("flask_understudy")

BATCH = 500
WAIT_SECONDS = 0.2

PROGRESS = """
UPDATE understudy_jobs SET progress = :percent, progress_message = coalesce(:message, progress_message)
WHERE id = :id AND fence = :fence AND state = 'active'"""

RECORDED = """
UPDATE understudy_jobs SET result = coalesce(<json:r.result>, understudy_jobs.result)
FROM <rows:id text, fence integer, result text>
WHERE understudy_jobs.id <any:ids> AND understudy_jobs.id = r.id AND understudy_jobs.fence = r.fence
    AND understudy_jobs.worker_id = :worker AND understudy_jobs.state = 'completed'
RETURNING understudy_jobs.id"""


@dataclass(slots=True)
class Finish:
    """How a claim ended, on its way to the ledger.

    Attributes:
        id: The job.
        fence: The claim.
        result: The encoded result of a completed job.
        ending: How it ended otherwise; None = completed.
        follow_ups: Jobs that exist if and only if this finish does; after the commit, those of them that are new.
        told: Called after the commit with the job's new state, or None when the claim was lost before.
        step: The step that suspends the job; it decides until when.
        key: The key it shares with the jobs that are limited together.
        batch: The batch it is part of.
    """

    id: str
    fence: int
    result: str | None = None
    ending: Ending | None = None
    follow_ups: list[NewJob] = field(default_factory=list)
    told: Callable[[str | None], None] | None = None
    step: StepNote | None = None
    key: tuple[str, str] | None = None
    batch: str | None = None


@dataclass(slots=True)
class Progress:
    """How far a job is."""

    id: str
    fence: int
    percent: int
    message: str | None


@dataclass(slots=True)
class LogLine:
    """A line of a job's own log."""

    id: str
    attempt: int
    message: str


class Writer:
    """Group-commits what the jobs of one process did.

    Args:
        database: The ledger's database.
        worker: Id of the worker whose claims are finished.
        announce: Called after a commit with the jobs that now wait.
        settle: Called after a commit with the finishes of jobs that have a key or a batch, and the jobs born that have
            a key.
    """

    def __init__(
        self,
        database: Database,
        worker: str,
        announce: Callable[[list[Due]], None],
        settle: Callable[[list[Finish], list[NewJob]], None] = lambda finishes, born: None,
    ) -> None:
        self.database = database
        self.worker = worker
        self.announce = announce
        self.settle = settle
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="understudy-writer", daemon=True)
        self._started = threading.Lock()
        self._closing = threading.Event()

    def put(self, note: Finish | Progress | LogLine | StepNote) -> None:
        """Hand something in; returns at once."""
        self._inbox.put(note)
        if not self._thread.is_alive() and not self._closing.is_set():
            with self._started:
                if not self._thread.ident:
                    self._thread.start()

    def commit(self, note: StepNote) -> bool:
        """Hand a step in and wait until it is committed; tell whether its job was still this worker's.

        It waits for as long as the database is away, in slices that an interrupt of the job gets through.

        Raises:
            Exception: What the database has against the step itself.
        """
        self.put(note)
        while not note.done.wait(WAIT_SECONDS):
            pass
        return note.outcome()

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until all that was handed in so far is committed; tell whether it was, within `timeout` s."""
        if not self._thread.ident:
            return True
        done = threading.Event()
        self._inbox.put(done)
        return done.wait(timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Commit what is left and end the thread; tell whether all of it got through within `timeout` s."""
        flushed = self.flush(timeout)
        self._closing.set()
        self._inbox.put(None)
        return flushed

    def _run(self) -> None:
        while True:
            batch = [self._inbox.get()]
            while len(batch) < BATCH:
                try:
                    batch.append(self._inbox.get_nowait())
                except queue.Empty:
                    break
            notes = [note for note in batch if note is not None and not isinstance(note, threading.Event)]
            if notes:
                self._write_until_done(notes)
            for note in batch:
                if isinstance(note, threading.Event):
                    note.set()
            if None in batch and self._inbox.empty():
                return

    def _write_until_done(self, notes: list[Any]) -> None:
        pause = 0.1
        while True:
            try:
                return self._write(notes)
            except (OperationalError, InterfaceError) as problem:
                logger.warning(
                    "The ledger cannot be written, %d notes wait: %s",
                    len(notes),
                    problem.__class__.__name__,
                )
                time.sleep(pause)
                pause = min(pause * 2, 2.0)
            except SQLAlchemyError as problem:
                if isinstance(problem, DBAPIError) and problem.connection_invalidated:
                    time.sleep(pause)
                    continue
                return self._write_apart(notes)
            except Exception:
                logger.exception("The writer met an unexpected error.")
                return self._write_apart(notes)

    def _write_apart(self, notes: list[Any]) -> None:
        """Write one by one, so that a note the database refuses harms only itself."""
        for note in notes:
            try:
                self._write([note])
            except (OperationalError, InterfaceError):
                self._write_until_done([note])
            except Exception as problem:
                logger.exception("The ledger refused what a job left behind.")
                if isinstance(note, StepNote):
                    note.problem = problem
                    note.done.set()
                if isinstance(note, Finish) and (note.ending is None or note.follow_ups):
                    error = f"The ledger refused the result: {problem.__class__.__name__}"
                    ending = Ending(note.id, note.fence, "failed", "failed", error=error, reason="error")
                    self._write_until_done(
                        [Finish(note.id, note.fence, ending=ending, told=note.told, key=note.key, batch=note.batch)]
                    )

    def _write(self, notes: list[Any]) -> None:
        finishes = [note for note in notes if isinstance(note, Finish)]
        with self.database.transaction() as connection:
            for note in _latest_progress(notes):
                run(
                    connection,
                    PROGRESS,
                    id=note.id,
                    fence=note.fence,
                    percent=note.percent,
                    message=note.message,
                )
            for note in notes:
                if isinstance(note, LogLine):
                    transitions.record_event(connection, note.id, "log", note.message, note.attempt)
            done = self._record(connection, notes, finishes)
            states = self._finish(connection, finishes)
            born, due = self._follow(connection, finishes, states)
        for step in done:
            step.done.set()
        waiting = [
            Due(job.id, job.queue, job.priority, due[job.id])
            for job in born
            if job.state == "waiting" and job.limit_key is None
        ]
        if waiting:
            self.announce(waiting)
        joint = [finish for finish in finishes if finish.key is not None or finish.batch is not None]
        keyed = [job for job in born if job.limit_key is not None]
        if joint or keyed:
            self.settle(joint, keyed)
        for finish in finishes:
            finish.follow_ups = [job for job in finish.follow_ups if job.id in due]
            if finish.told is not None:
                finish.told(states.get(finish.id))

    def _record(self, connection: Connection, notes: list[Any], finishes: list[Finish]) -> list[StepNote]:
        """Write the steps that were done, and those that suspend their jobs; return the former."""
        done = [note for note in notes if isinstance(note, StepNote)]
        latest = {(note.id, note.position): note for note in done}  # a statement writes a row once
        pausing = {(f.step.id, f.step.position): f for f in finishes if f.step is not None}
        rows = [*latest.values(), *(f.step for f in pausing.values() if f.step is not None)]
        written = steps.record(connection, self.worker, rows) if rows else {}
        for note in done:
            note.held = (note.id, note.position) in written
        for key, finish in pausing.items():
            wake_ms = written.get(key)
            if finish.ending is None:
                continue
            if wake_ms is None:  # what it was to wait for is there, or the claim was lost
                finish.ending.state = "waiting"
            else:
                finish.ending.delay_ms = max(1, wake_ms + 1)
        return done

    def _finish(self, connection: Connection, finishes: list[Finish]) -> dict[str, str]:
        tallies = Tallies()
        completed = [(f.id, f.fence, f.result) for f in finishes if f.ending is None]
        endings = [f.ending for f in finishes if f.ending is not None]
        states: dict[str, str] = {}
        if completed:
            written = transitions.complete(connection, self.worker, completed, tallies)
            rest = [{"id": id, "fence": fence, "result": r} for id, fence, r in completed if id not in written]
            if rest:  # recorded by the job's own transaction or by a commit whose answer was lost, or no longer ours
                written |= {
                    row[0]
                    for row in run(
                        connection, RECORDED, ids=[r["id"] for r in rest], rows=json.dumps(rest), worker=self.worker
                    )
                }
            states.update(dict.fromkeys(written, "completed"))
        if endings:
            states.update(transitions.end(connection, self.worker, endings, tallies))
        tallies.write(connection)
        return states

    def _follow(
        self, connection: Connection, finishes: list[Finish], states: dict[str, str]
    ) -> tuple[list[NewJob], dict[str, int]]:
        born = [job for finish in finishes if finish.id in states for job in finish.follow_ups]
        due = transitions.insert(connection, born) if born else {}
        return [job for job in born if job.id in due], due


def _latest_progress(notes: list[Any]) -> list[Progress]:
    latest: dict[tuple[str, int], Progress] = {}
    for note in notes:
        if isinstance(note, Progress):
            before = latest.get((note.id, note.fence))
            said = before.message if before is not None and note.message is None else note.message
            latest[note.id, note.fence] = Progress(note.id, note.fence, note.percent, said)
    return list(latest.values())
