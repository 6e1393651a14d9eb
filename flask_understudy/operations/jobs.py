"""What can be done to one job."""

from __future__ import annotations

import logging

from sqlalchemy.exc import IntegrityError

from .. import signals
from ..errors import JobConflict, JobNotFound, TransportError
from ..ledger import Job, transitions
from ..ledger.queries import find
from ..ledger.transitions import Due
from ..policy import LIBRARY_RETRIES, QueuePolicy
from ..signals import JobNotice
from ..state import State
from ..submission import max_attempts
from .transaction import after_commit, joined_session, transaction

logger = logging.getLogger("flask_understudy")


def cancel(state: State, id: str, reason: str = "cancelled") -> str:
    """Cancel a job (T9, promise G8).

    Args:
        state: The application's side of the library.
        id: The job.
        reason: Kept with it.

    Returns:
        `cancelled` when no attempt will start any more, `requested` when it runs and was asked to stop.

    Raises:
        JobNotFound: There is no such job.
        JobConflict: It has ended already.
    """
    for _ in range(10):  # a job may move between the two statements; each try reads it anew
        with transaction(state) as connection:
            if transitions.cancel(connection, id, reason):
                transitions.record_event(connection, id, "cancelled", reason)
                outcome = "cancelled"
            elif transitions.request_cancel(connection, id):
                transitions.record_event(connection, id, "cancel_requested", reason)
                outcome = "requested"
            else:
                outcome = ""
        job = _existing(state, id)
        if outcome == "cancelled":
            notice = JobNotice(id=id, queue=job.queue, actor=job.actor, tenant=job.tenant, attempt=job.attempt)
            after_commit(state, lambda notice=notice: signals.emit(signals.job_cancelled, state.app, job=notice))  # type: ignore[misc]
        if outcome:
            return outcome
        if job.state in {"completed", "failed", "cancelled"}:
            raise JobConflict(f"Job {id} is {job.state}; only a job that has not ended can be cancelled.")
    raise JobConflict(f"Job {id} moves too fast to be cancelled; try again.")


def retry(state: State, id: str) -> None:
    """Reopen a failed or cancelled job: the same job, with attempts as at first (T11).

    Raises:
        JobNotFound: There is no such job.
        JobConflict: It has not ended, or completed, or a live job holds its dedup key.
    """
    job = _existing(state, id)
    try:
        with transaction(state) as connection:
            due = transitions.reopen(connection, id, _attempts(state, job))
            if due is not None:
                transitions.record_event(connection, id, "retried", f"Reopened after {job.state}")
    except IntegrityError:
        raise JobConflict(f"Job {id} cannot be retried: a live job holds its dedup key {job.dedup_key!r}.") from None
    if due is None:
        raise JobConflict(f"Job {id} is {job.state}; only failed and cancelled jobs can be retried.")
    after_commit(state, lambda: _announce(state, due))


def _announce(state: State, due: Due) -> None:
    try:
        state.transport.announce([due])
    except TransportError as problem:
        logger.debug("Not announced: %s", problem)


def _attempts(state: State, job: Job) -> int:
    actor = state.broker.actors.get(job.actor)
    if actor is None:
        return LIBRARY_RETRIES + 1
    policy = state.config.queues.get(job.queue, QueuePolicy())
    return max_attempts(job.options, actor, policy, state.config) or LIBRARY_RETRIES + 1


def _existing(state: State, id: str) -> Job:
    job = find(state.database, id, joined_session(state))
    if job is None:
        raise JobNotFound(f"There is no job {id!r}.")
    return job
