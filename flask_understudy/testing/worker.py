"""Running jobs here and now."""

from __future__ import annotations

from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import dramatiq
from flask import current_app, has_app_context
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from ..broker import explained
from ..clock.announce import expire, promote, unpark
from ..errors import JobConflict, JobNotFound, UnderstudyError
from ..ledger import TERMINAL, Job, Queue, limits, queries, transitions
from ..ledger.transitions import Claimed
from ..operations.transaction import joined_session
from ..processing import process
from ..state import KEY, State
from .outbox import Outbox
from .threadless import Threadless

if TYPE_CHECKING:
    from ..extension import Understudy


class TestWorker(Outbox):
    """Runs the jobs of one application in the thread of a test.

    Args:
        jobs: The application's `Understudy`, or `app.extensions["understudy"]`.

    It is a context manager; `stop` does the same as leaving it.
    """

    __test__ = False  # no test case, whatever its name makes pytest think

    def __init__(self, jobs: Understudy | State) -> None:
        super().__init__(jobs)
        self._process: Threadless | None = None

    def __enter__(self) -> Self:
        """Return itself; the ledger is entered with the first job."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def run(self, job: str | Job | dramatiq.Message[Any], *, raise_errors: bool = False) -> Job:
        """Run one waiting or delayed job now, whatever its time.

        Args:
            job: The message that `send` returned, a job, or its id.
            raise_errors: Raise what the actor raised, after its end was recorded.

        Returns:
            The job as the run left it: `completed`, `failed`, `cancelled`, or `delayed` until the next attempt.

        Raises:
            JobNotFound: There is no such job, or its sender has not committed yet.
            JobConflict: It does not wait, its queue is paused, or it has expired.
            UncommittedWrites: `db.session` holds writes that no worker would see.
        """
        id = job if isinstance(job, str) else job.id if isinstance(job, Job) else job.message_id
        worker = self._worker()
        with self.state.database.transaction() as connection:
            transitions.hasten(connection, ids=[id])
        with self.state.database.claims() as connection:
            claimed = limits.claim(connection, worker.id, [id])
        if not claimed:
            raise self._refusal(id)
        self._run(claimed[0], raise_errors)
        return self._job(id)

    def drain(
        self,
        queue: str | None = None,
        *,
        include_delayed: bool = False,
        limit: int = 1000,
        raise_errors: bool = False,
    ) -> list[Job]:
        """Run jobs until none is due, those included that they send themselves.

        Args:
            queue: Only this queue; default all.
            include_delayed: Do not wait for anybody's time: retries and jobs of next year run as well.
            limit: Attempts after which something must be wrong.
            raise_errors: Raise what an actor raised, at the first that does.

        Returns:
            The jobs that ended, in that order. One that waits for its next attempt has not.

        Raises:
            AssertionError: There was still work after `limit` attempts.
            UncommittedWrites: `db.session` holds writes that no worker would see.
        """
        worker = self._worker()
        ended: list[Job] = []
        ran = 0
        while True:
            claimed = self._next(worker, queue, include_delayed)
            if claimed is None:
                return ended
            if ran == limit:
                worker.hand_back([worker.hold(claimed, None)])
                worker.writer.flush()
                raise AssertionError(f"There is still work after {limit} attempts; the next job is {claimed.actor!r}.")
            ran += 1
            self._run(claimed, raise_errors)
            job = self._job(claimed.id)
            if job.state in TERMINAL:
                ended.append(job)

    def stop(self) -> None:
        """Leave the ledger and close the library's own connections; idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()
            self.state.database.close()

    # -- within ----------------------------------------------------------------------------------------------------

    def _worker(self) -> Threadless:
        """Return the worker with its lease renewed, so that no clock elsewhere takes it for dead."""
        if joined_session(self.state) is not None:
            raise UncommittedWrites(
                "db.session holds uncommitted writes, which no worker would see. Commit before you run jobs."
            )
        process = self._process or Threadless(self.state)
        try:
            process.heartbeat.enter()
        except SQLAlchemyError as problem:
            raise explained(problem) from problem
        self._process = process
        return process

    def _next(self, worker: Threadless, queue: str | None, include_delayed: bool) -> Claimed | None:
        expire(self.state)
        promote(self.state)
        unpark(self.state)
        with self.state.database.transaction() as connection:
            if include_delayed:
                transitions.hasten(connection, queue=queue)
            found = select(Job.queue).where(Job.state == "waiting").distinct().order_by(Job.queue)
            queues = [queue] if queue is not None else list(connection.scalars(found))
        for name in queues:
            with self.state.database.claims() as connection:
                claimed = limits.claim_next(connection, worker.id, name, 1).claimed
            if claimed:
                return claimed[0]
        return None

    def _run(self, claimed: Claimed, raise_errors: bool) -> None:
        worker = self._worker()
        message = worker.hold(claimed, None)
        process(message)
        worker.writer.flush()
        if has_app_context() and current_app.extensions.get(KEY) is self.state:
            self.state.db.session.expire_all()  # so that the test sees what the job did
        if raise_errors and message.raised is not None:
            raise message.raised

    def _job(self, id: str) -> Job:
        job = queries.find(self.state.database, id)
        if job is None:
            raise JobNotFound(f"There is no job {id!r}. Was it sent in a transaction that is not committed?")
        return job

    def _refusal(self, id: str) -> UnderstudyError:
        job = self._job(id)
        if job.state != "waiting":
            return JobConflict(f"Job {id} is {job.state}; only waiting and delayed jobs can be run.")
        with Session(self.state.database.engine) as session:
            queue = session.get(Queue, job.queue)
        if queue is not None and queue.paused_at is not None:
            return JobConflict(f"Job {id} waits in the queue {job.queue!r}, which is paused.")
        if job.expires_at is not None and job.expires_at <= datetime.now(UTC):
            return JobConflict(f"Job {id} expired at {job.expires_at} and never runs.")
        return JobConflict(
            f"Job {id} waits: its tenant {job.tenant!r} is paused, or that or its queue {job.queue!r} runs as many "
            "jobs as it may."
        )


class UncommittedWrites(UnderstudyError):
    """Jobs are to be run while `db.session` holds writes that they could not see, or would wait for in vain."""
