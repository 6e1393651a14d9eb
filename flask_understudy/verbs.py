"""What an `Understudy` can do with jobs, batches and queues."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import dramatiq
from sqlalchemy.orm import Session

from .broker import LedgerBroker
from .clock.prune import prune
from .ledger import Job, queries
from .operations import batches as batch_operations
from .operations import external, reopening
from .operations import health as health_operation
from .operations import jobs as job_operations
from .operations import queues as queue_operations
from .operations.batches import Batch
from .operations.transaction import committed_or_joined, joined_session
from .operations.waiting import wait_for_end, wait_in_turn
from .state import State


class JobVerbs:
    """Sending many, asking and acting; a part of `Understudy`."""

    broker: LedgerBroker

    @property
    def state(self) -> State:
        """The state of the current application, else of the one initialised last."""
        return self.broker.state

    # -- sending ---------------------------------------------------------------------------------------------------

    def send_many(
        self, messages: Iterable[dramatiq.Message[Any]], *, delay: int | None = None
    ) -> list[dramatiq.Message[Any]]:
        """Send many messages: one INSERT, one announcement, all or none.

        Args:
            messages: From `actor.message(…)` or `actor.message_with_options(…)`.
            delay: ms until they may run.
        """
        return self.broker.enqueue_many(list(messages), delay=delay)

    def transaction(self) -> AbstractContextManager[Session]:
        """Write rows of your own beside jobs, both or neither, with the commit where a send would have it.

            with jobs.transaction() as session:
                session.add(Order(id=order_id))
                session.flush()
                fulfil.send(order_id)

        A caller of yours with uncommitted writes in `db.session` commits all of it. Without any it is committed at the
        block's end, and an exception undoes what the block wrote.
        """
        return committed_or_joined(self.state)

    def batch(
        self,
        messages: Iterable[dramatiq.Message[Any]],
        *,
        name: str = "",
        concurrency: int | None = None,
        on_complete: dramatiq.Message[Any] | None = None,
        on_success: dramatiq.Message[Any] | None = None,
        on_failure: dramatiq.Message[Any] | None = None,
    ) -> Batch:
        """Send many messages as one batch: all or none, in the caller's transaction as `send` would.

        Args:
            messages: From `actor.message(…)` or `actor.message_with_options(…)`; all of one tenant.
            name: For people.
            concurrency: How many of its jobs run at a time in all processes; None = any number (A11).
            on_complete: Sent when all its jobs have ended, however.
            on_success: Sent then if every one of them completed.
            on_failure: Sent then if any failed or was cancelled (A12).

        An actor with a parameter `batch_id` gets the batch's id in these three.

        Raises:
            InvalidJob: A value is out of range, or a job cannot be accepted; nothing was stored.
        """
        callbacks = {"on_complete": on_complete, "on_success": on_success, "on_failure": on_failure}
        id = batch_operations.create(self.state, messages, name=name, concurrency=concurrency, callbacks=callbacks)
        return Batch(self.state, id)

    def find_batch(self, batch_id: str) -> Batch:
        """Return a batch that was sent before.

        Raises:
            JobNotFound: There is no such batch.
        """
        batch_operations.find(self.state, batch_id)
        return Batch(self.state, batch_id)

    # -- asking and acting -----------------------------------------------------------------------------------------

    def get(self, job_id: str) -> Job | None:
        """Return a job as it is now, detached from any session, or None."""
        return queries.find(self.state.database, job_id, joined_session(self.state))

    def wait(self, job_id: str, seconds: float, *, caller: Hashable = None) -> Job | None:
        """Return a job once it has ended, or as it is after so many seconds; None when there is none.

        What the caller's transaction has not committed is not there yet, for nobody runs it.

        Args:
            job_id: The job.
            seconds: s to wait at the most.
            caller: Whose request waits, for views: they share the places of `UNDERSTUDY_WAITING_REQUESTS`, and who
                finds none is answered at once. None = takes no place.
        """
        if caller is None:
            return wait_for_end(self.state, job_id, seconds)
        return wait_in_turn(self.state, caller, job_id, seconds)

    def cancel(self, job_id: str, reason: str = "cancelled") -> str:
        """Cancel a job; return `cancelled`, or `requested` when it runs and was asked to stop (promise G8).

        Raises:
            JobNotFound: There is no such job.
            JobConflict: It has ended.
        """
        return job_operations.cancel(self.state, job_id, reason)

    def retry(self, job_id: str) -> None:
        """Reopen a failed or cancelled job, the same one, with attempts as at first.

        Raises:
            JobNotFound: There is no such job.
            JobConflict: It is neither failed nor cancelled, or a live job holds its dedup key.
        """
        job_operations.retry(self.state, job_id)

    def retry_failed_jobs(self, queue: str, *, newer_than: timedelta | None = None) -> int:
        """Reopen the failed jobs of a queue, as `retry` does one; return how many (O01).

        Args:
            queue: The queue.
            newer_than: Only jobs that were sent within this time; None = all that are kept.

        Raises:
            InvalidJob: No queue has the name.
        """
        return reopening.retry_failed(self.state, queue, newer_than=newer_than)

    def pause(self, queue: str) -> None:
        """Claim nothing from a queue any more, in all processes; what runs goes on."""
        queue_operations.pause(self.state, queue)

    def resume(self, queue: str) -> None:
        """Claim from a paused queue again."""
        queue_operations.resume(self.state, queue)

    def finish_external(self, job_id: str, attempt: int, *, error: str | None = None, result: Any = None) -> str:
        """Record that somebody else did a job that waits, or failed to; return `recorded` or `duplicate` (I05).

        Raises:
            JobNotFound: There is no such job.
            JobConflict: It does not wait for that attempt.
        """
        return external.finish(self.state, job_id, attempt, error=error, result=result)

    def clean(self, queue: str, status: str = "completed", *, grace: int = 0) -> int:
        """Delete a queue's terminal jobs that ended more than `grace` ms ago; return how many (N05).

        Args:
            queue: The queue.
            status: `completed`, `failed` or `cancelled`.
            grace: ms since the end for which a job is kept all the same.

        Raises:
            InvalidJob: The queue is unknown, or a value is out of range.
        """
        return queue_operations.clean(self.state, queue, status, grace)

    def stats(self, tenant: str | None = None) -> dict[str, dict[str, int]]:
        """Return each queue's counts: waiting, active, completed, failed, delayed, paused, total (I08)."""
        state = self.state
        return queries.stats(
            state.database,
            sorted(self.broker.get_declared_queues() | set(state.config.queues)),
            tenant,
        )

    def health(self, tenant: str | None = None) -> dict[str, Any]:
        """Return the overall status, whether Redis answers, and the queues' counts, of a tenant or all (L04)."""
        return health_operation.health(self.state, tenant)

    @property
    def is_broker_up(self) -> bool:
        """Whether the broker worked last time it was asked; costs nothing (J05)."""
        return self.state.transport.is_up

    def cleanup_old_jobs(self) -> int:
        """Delete jobs whose retention is over, as the clock does every minute; return how many (N04)."""
        return prune(self.state)
