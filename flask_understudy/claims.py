"""A claimed job on its way through Dramatiq: what the worker sees as the message, and how its end reaches the ledger.

The broker calls `begin` before the first hook, `ended` before the hooks that follow the actor, and the consumer calls
`finish` when all hooks are done. In between hooks may enqueue: a retry is this job's own transition, anything else a
follow-up that is stored in the same transaction as the finish, so that neither can be lost or happen twice.
"""

from __future__ import annotations

import functools
import json
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

import dramatiq
from dramatiq.broker import MessageProxy
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from . import signals
from .context import RunningJob, enter, leave
from .encoding import encode, printable
from .errors import InvalidJob, JobCancelled, LeaseLost, Snooze, UnderstudyError, described, without_statements
from .fingerprints import fingerprint_of
from .ledger import transitions
from .ledger.transitions import MAX_HAND_BACKS, Claimed, Ending, NewJob
from .ledger.writer import Finish, LogLine, Progress
from .redaction import redacted_arguments, redacted_text
from .signals import JobNotice

if TYPE_CHECKING:
    from flask.ctx import AppContext

    from .worker import WorkerProcess

MAX_ERROR = 2_000
MAX_TRACEBACK = 16_384
MAX_LOG_LINES = 1_000
MAX_LOG_LINE = 4_000

_finishing: ContextVar[ClaimedMessage | None] = ContextVar("understudy_finishing", default=None)


class ReportedFailure(UnderstudyError):
    """An actor returned `{"status": "failed", "reason": …}`: failed, and not to be retried (requirement B10)."""


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
            write_log=self._log,
            write_progress=self._progress,
            open_transaction=self._transaction,
        )
        self._began = time.monotonic()
        self._app_context = self.worker.app.app_context()
        self._app_context.push()
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
        return None if self.recorded else exception  # what its own transaction completed cannot fail any more

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

    def give_up(self, reason: str, exception: BaseException | None) -> None:
        """Fail the job for good."""
        self.ending = self._ending("failed", "failed", exception, reason=reason)
        self.failed = True

    def cancel(self, exception: BaseException | None) -> None:
        """End the job as cancelled."""
        self.ending = self._ending("cancelled", "cancelled", exception, reason="cancelled")

    def _ending(self, state: str, outcome: str, exception: BaseException | None, **more: Any) -> Ending:
        error, trace, fingerprint = None, None, None
        if exception is not None:
            text = described(exception)
            error = printable(redacted_text(text), MAX_ERROR)
            fingerprint = fingerprint_of(self.claimed.actor, exception, text)
        if exception is not None and not isinstance(exception, ReportedFailure | JobCancelled):
            whole = without_statements("".join(traceback.format_exception(exception, limit=30)), exception)
            trace = printable(redacted_text(whole)[-MAX_TRACEBACK:], MAX_TRACEBACK)
        return Ending(
            self.claimed.id,
            self.claimed.fence,
            state,
            outcome,
            error=error,
            traceback=trace,
            fingerprint=fingerprint,
            **more,
        )

    def _finish(self, exception: BaseException | None) -> Finish:
        claimed, encoded = self.claimed, None
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
        if self.result is not None:
            try:
                encoded = encode(self.result, f"The result of {claimed.actor}")
            except InvalidJob as problem:
                if self.ending is None:
                    encoded = encode(printable(repr(self.result), MAX_ERROR), "A result")
                    self.worker.logger.warning("Job %s: %s Its repr is kept.", claimed.id, problem)
            if encoded is not None and len(encoded.encode()) > self.worker.config.max_payload_bytes:
                encoded = json.dumps(encoded[:MAX_ERROR] + "…")
                self.worker.logger.warning(
                    "Job %s returned more than is kept; store data and return its id.", claimed.id
                )
        if self.ending is not None and self.ending.state == "failed":
            self.ending.result = encoded
        finish = Finish(claimed.id, claimed.fence, encoded, self.ending, self.follow_ups)
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
            yield session
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
        self.worker.broker.tell_added(self.worker.state, born)

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
