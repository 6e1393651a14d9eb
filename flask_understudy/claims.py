"""A claimed job on its way through Dramatiq: what the worker sees as the message, and how its end reaches the ledger.

The broker calls `begin` before the first hook, `ended` before the hooks that follow the actor, and the consumer calls
`finish` when all hooks are done. In between hooks may enqueue: a retry is this job's own transition, anything else a
follow-up that is stored in the same transaction as the finish, so that neither can be lost or happen twice.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

import dramatiq
from dramatiq.broker import MessageProxy
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from . import signals
from .context import RunningJob, enter, leave
from .encoding import printable
from .endings import ReportedFailure, allows_retry, backoff, encoded_result, ending_of, not_asked_for
from .errors import (
    LeaseLost,
    Snooze,
)
from .joining import joined
from .ledger import steps, transitions
from .ledger.transitions import MAX_HAND_BACKS, Claimed, Ending, NewJob
from .ledger.writer import Finish, LogLine, Progress
from .redaction import redacted_arguments, redacted_text
from .signals import JobNotice
from .storing import tell_added

if TYPE_CHECKING:
    from flask.ctx import AppContext

    from .worker import WorkerProcess

MAX_LOG_LINES = 1_000
MAX_LOG_LINE = 4_000

_finishing: ContextVar[ClaimedMessage | None] = ContextVar("understudy_finishing", default=None)


def finishing() -> ClaimedMessage | None:
    """Return the claimed message whose hooks run after its actor, in this thread, or None."""
    return _finishing.get()


class ClaimedMessage(MessageProxy):
    """A job that this worker holds.

    Args:
        claimed: The claim.
        worker: The process that holds it.
        released: Called once when the job no longer occupies the worker.
    """

    def __init__(
        self,
        claimed: Claimed,
        worker: WorkerProcess,
        released: Callable[[float], None] | None = None,
    ) -> None:
        self.failed = False
        self._exception: BaseException | None = None
        self.queue_name = claimed.queue
        self.actor_name = claimed.actor
        self.args = tuple(claimed.args)
        self.kwargs = claimed.kwargs
        self.options = {**claimed.options, "retries": max(0, claimed.attempt - 1)}
        self.message_id = claimed.id
        self.message_timestamp = claimed.created_ms
        self.claimed = claimed
        self.worker = worker
        self.ending: Ending | None = None
        self.follow_ups: list[NewJob] = []
        self.result: Any = None
        self.recorded = False
        self._released = released
        self._app_context: AppContext | None = None
        self._job: RunningJob | None = None
        self._running: Token[RunningJob] | None = None
        self._hooks: list[Token[ClaimedMessage | None]] = []
        self._began: float | None = None
        self._duration: float = 0.0
        self._log_lines = 0

    @functools.cached_property
    def _message(self) -> dramatiq.Message[Any]:  # type: ignore[override]
        """The message itself, for what asks for more than its fields: most jobs end without."""
        return dramatiq.Message(
            queue_name=self.queue_name,
            actor_name=self.actor_name,
            args=self.args,
            kwargs=self.kwargs,
            options=self.options,
            message_id=self.message_id,
            message_timestamp=self.message_timestamp,
        )

    def __str__(self) -> str:
        """Name the job without its arguments: Dramatiq logs this text."""
        return f"{self.claimed.actor} {self.claimed.id}"

    def __repr__(self) -> str:
        """Likewise."""
        return f"<ClaimedMessage {self}>"

    # -- the three moments ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The actor is about to run in this thread: give it its context and make it known to interrupts."""
        claimed = self.claimed
        job = RunningJob(
            id=claimed.id,
            actor=claimed.actor,
            queue=claimed.queue,
            attempt=claimed.attempt,
            max_attempts=claimed.max_attempts,
            fence=claimed.fence,
            tenant=claimed.tenant,
            owner=claimed.owner,
            correlation_id=claimed.correlation_id,
            batch_id=claimed.batch_id or claimed.options.get("batch"),
            write_log=self._log,
            write_progress=self._progress,
            open_transaction=self._transaction,
            claim=self,
        )
        self._began = time.monotonic()
        self._app_context = self.worker.app.app_context()
        self._app_context.push()
        self._job = job
        self._running = enter(job)
        self._tell(signals.job_started)
        self.worker.note_started(claimed.id)
        self.worker.interrupts.enter(job)

    def ended(self, result: Any, exception: BaseException | None) -> BaseException | None:
        """The actor returned or raised: close it to interrupts and note what it left; return the failure, if any."""
        self.worker.interrupts.leave()
        self._duration = time.monotonic() - (self._began or time.monotonic())
        self.ending, self.follow_ups = None, []
        if exception is None and isinstance(result, dict) and result.get("status") == "failed" and "reason" in result:
            exception = ReportedFailure(str(result["reason"]))
            self.stuff_exception(exception)
        self.result = result
        if self.recorded:
            return None  # what its own transaction completed cannot fail any more
        judged = self._judge_steps(exception)
        if judged is not None and judged is not exception:
            self.stuff_exception(judged)
        if self.is_suspended:
            self.clear_exception()
            self.ending = self._ending("delayed", "suspended", None, charged=0)
        return judged

    @property
    def is_suspended(self) -> bool:
        """Whether a step left the actor in the middle, to go on another time."""
        unwind = self._job.steps.unwind if self._job is not None and self._job.steps is not None else None
        return unwind is not None and unwind.exception is None and not self.recorded

    def _judge_steps(self, exception: BaseException | None) -> BaseException | None:
        """Return what the actor raised, or what its steps have against its end."""
        if self._job is None:
            return exception
        if self._job.steps is not None:
            return self._job.steps.judge(exception)
        if self.claimed.fence == 1 or exception is not None:
            return exception
        try:
            with self.worker.state.database.statement() as connection:
                left = steps.first_names(connection, self.claimed.id)
        except SQLAlchemyError as problem:
            self.worker.logger.warning("Job %s: its steps cannot be read: %s", self.claimed.id, type(problem).__name__)
            return None
        return not_asked_for(left) if left else None

    def __enter__(self) -> ClaimedMessage:
        """While hooks run after the actor, what they enqueue belongs to this job's finish."""
        self._hooks.append(_finishing.set(self))
        return self

    def __exit__(self, *_: object) -> None:
        _finishing.reset(self._hooks.pop())

    def finish(self) -> None:
        """All hooks are done: leave the contexts and hand the end to the writer."""
        exception = self._exception
        try:
            if self._running is not None:
                leave(self._running)
            if self._app_context is not None:
                self._app_context.pop(None)
        except Exception:
            self.worker.logger.exception("A teardown of the application failed after job %s.", self.claimed.id)
        finally:
            self.worker.note_ended(self.claimed.id)
            self.release()
        self.worker.writer.put(self._finish(exception))

    def release(self) -> None:
        """The job no longer occupies the worker; idempotent."""
        if self._released is not None:
            self._released(self._duration)
            self._released = None

    # -- what hooks may decide -----------------------------------------------------------------------------------

    def retry(self, delay_ms: int, exception: BaseException | None) -> None:
        """Let another attempt follow in that many ms."""
        state = "delayed" if delay_ms else "waiting"
        self.ending = self._ending(state, "retried", exception, delay_ms=delay_ms)

    def hand_back(self, delay_ms: int = 0, exception: BaseException | None = None) -> None:
        """Give the claim back without charging it; after `MAX_HAND_BACKS` times the job fails."""
        if self.claimed.hand_backs >= MAX_HAND_BACKS:
            self.give_up("hand_backs", exception)
            return
        self.ending = self._ending(
            "delayed" if delay_ms else "waiting",
            "handed_back",
            exception,
            delay_ms=delay_ms,
            charged=0,
        )

    def snooze(self, asked: Snooze) -> None:
        """Let the job go on later, without charging it and without counting a hand-back."""
        if asked.why:
            self._log(asked.why)
        self.clear_exception()
        self.ending = self._ending("delayed", "suspended", None, delay_ms=int(asked.seconds * 1000), charged=0)

    def allows_retry(self, exception: BaseException) -> bool:
        """Whether the job may be tried again after this, by its actor's options (C1 to C5)."""
        return allows_retry(self.claimed, self._actor_options, exception)

    def is_final(self, exception: BaseException) -> bool:
        """Whether another attempt would only meet the same again, by the actor's `throws`."""
        throws = self._actor_options.get("throws")
        return throws is not None and isinstance(exception, throws)

    def backoff(self, retry: int) -> int:
        """Return the ms to wait before a retry, by number: call, else actor, else queue, else settings."""
        return backoff(retry, self.claimed, self._actor_options, self.worker.config)

    @property
    def _actor_options(self) -> dict[str, Any]:
        return self.worker.broker.get_actor(self.actor_name).options

    def give_up(self, reason: str, exception: BaseException | None) -> None:
        """Fail the job for good."""
        self.ending = self._ending("failed", "failed", exception, reason=reason)
        self.failed = True

    def cancel(self, exception: BaseException | None) -> None:
        """End the job as cancelled."""
        self.ending = self._ending("cancelled", "cancelled", exception, reason="cancelled")

    def _ending(self, state: str, outcome: str, exception: BaseException | None, **more: Any) -> Ending:
        return ending_of(self.claimed, state, outcome, exception, **more)

    def _finish(self, exception: BaseException | None) -> Finish:
        claimed = self.claimed
        if self.recorded:
            if exception is not None:
                self.worker.logger.error(
                    "Job %s raised after its transaction had completed it: %r",
                    claimed.id,
                    exception,
                )
            self.ending = None
        elif self.ending is None and (self.failed or exception is not None):
            self.give_up("error", exception)
        limit = self.worker.config.max_payload_bytes
        encoded = encoded_result(claimed, self.result, limit, completed=self.ending is None)
        if self.ending is not None and self.ending.state == "failed":
            self.ending.result = encoded
        finish = Finish(claimed.id, claimed.fence, encoded, self.ending, self.follow_ups)
        if self.is_suspended and self._job is not None and self._job.steps is not None:
            finish.step = self._job.steps.step
        finish.key, finish.batch = claimed.key, claimed.batch_id
        finish.told = lambda state: self._told(state, finish.follow_ups)
        return finish

    # -- what the running job may do -----------------------------------------------------------------------------

    def _log(self, message: str) -> None:
        self._log_lines += 1
        if self._log_lines <= MAX_LOG_LINES:
            self.worker.writer.put(
                LogLine(self.claimed.id, self.claimed.attempt, printable(redacted_text(message), MAX_LOG_LINE))
            )

    def _progress(self, percent: int, message: str | None) -> None:
        text = None if message is None else printable(message, 500)
        self.worker.writer.put(Progress(self.claimed.id, self.claimed.fence, percent, text))

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        session = self.worker.session()
        try:
            with joined(session):
                yield session
            if (problem := self._judge_steps(None)) is not None:
                raise problem
            connection: Connection = session.connection(bind_arguments=self.worker.bind_arguments)
            claim = (self.claimed.id, self.claimed.fence, None)
            if not transitions.complete(connection, self.worker.id, [claim]):
                raise LeaseLost(f"Job {self.claimed.id} is no longer this worker's; its work was rolled back.")
            session.commit()
        except BaseException:
            session.rollback()
            raise
        self.recorded = True

    # -- what the rest of the process hears ----------------------------------------------------------------------

    def _told(self, state: str | None, born: list[NewJob]) -> None:
        if state is None:
            self.worker.logger.warning(
                "Job %s was taken back before its end was recorded; that end is dropped.",
                self.claimed.id,
            )
            return
        error = self.ending.error if self.ending is not None else None
        match state:
            case "completed":
                self._tell(signals.job_completed)
            case "failed":
                self._tell(signals.job_failed, error=error)
            case "cancelled":
                self._tell(signals.job_cancelled, error=error)
            case _ if self.ending is not None and self.ending.charged:
                self._tell(signals.job_failed, error=error, will_retry=True)
        tell_added(self.worker.state, born)

    def _tell(self, signal: Any, error: str | None = None, will_retry: bool = False) -> None:
        if not signal.receivers:
            return
        claimed = self.claimed
        args, kwargs = redacted_arguments(self.worker.broker.actors.get(claimed.actor), claimed.args, claimed.kwargs)
        notice = JobNotice(
            id=claimed.id,
            queue=claimed.queue,
            actor=claimed.actor,
            tenant=claimed.tenant,
            attempt=claimed.attempt,
            args=args,
            kwargs=kwargs,
            duration_ms=int(self._duration * 1000) if signal is not signals.job_started else None,
            error=error,
            will_retry=will_retry,
        )
        signals.emit(signal, self.worker.app, job=notice)
