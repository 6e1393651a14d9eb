"""What can be done to one job."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import dramatiq
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from .. import signals
from ..errors import InvalidJob, JobConflict, JobNotFound, TransportError
from ..ledger import CANCELLED, FAILED, TERMINAL, WAITING, Job, transitions
from ..ledger.queries import find
from ..ledger.scope import EVERYTHING, Scope
from ..ledger.statements import moment
from ..ledger.transitions import Due
from ..limit import is_given
from ..policy import LIBRARY_RETRIES, QueuePolicy
from ..signals import JobNotice
from ..signatures import check_payload
from ..state import State
from ..submission import check_reach, encode_payload, max_attempts
from . import payloads
from .queues import check as check_queue
from .transaction import after_commit, joined_session, transaction

logger = logging.getLogger("flask_understudy")


def cancel(state: State, id: str, reason: str = "cancelled", scope: Scope = EVERYTHING) -> str:
    """Cancel a job (T9, promise G8).

    Args:
        state: The application's side of the library.
        id: The job.
        reason: Kept with it.
        scope: Whose jobs may be touched.

    Returns:
        `cancelled` when no attempt will start any more, `requested` when it runs and was asked to stop.

    Raises:
        JobNotFound: There is no such job.
        JobConflict: It has ended already.
    """
    existing(state, id, scope)
    for _ in range(10):  # a job may move between the two statements; each try reads it anew
        with transaction(state) as connection:
            if transitions.cancel(connection, [id], reason):
                transitions.record_event(connection, id, "cancelled", reason)
                outcome = "cancelled"
            elif transitions.request_cancel(connection, [id], reason):
                transitions.record_event(connection, id, "cancel_requested", reason)
                outcome = "requested"
            else:
                outcome = ""
        job = existing(state, id, scope)
        if outcome == "cancelled":
            notice = JobNotice(id=id, queue=job.queue, actor=job.actor, tenant=job.tenant, attempt=job.attempt)
            after_commit(state, lambda notice=notice: signals.emit(signals.job_cancelled, state.app, job=notice))  # type: ignore[misc]
        if outcome:
            return outcome
        if job.state in {"completed", "failed", "cancelled"}:
            raise JobConflict(f"Job {id} is {job.state}; only a job that has not ended can be cancelled.")
    raise JobConflict(f"Job {id} moves too fast to be cancelled; try again.")


def retry(state: State, id: str, scope: Scope = EVERYTHING) -> None:
    """Reopen a failed or cancelled job: the same job, with attempts as at first (T11).

    Raises:
        JobNotFound: There is no such job.
        JobConflict: It has not ended, or completed, or a live job holds its dedup key.
    """
    job = existing(state, id, scope)
    try:
        with transaction(state) as connection:
            due = transitions.reopen(connection, {id: attempts_of(state, job)}, fair=state.config.fair)
            if due:
                transitions.record_event(connection, id, "retried", f"Reopened after {job.state}")
    except IntegrityError:  # its twin was accepted at this very moment
        due = []
    if not due and job.state in {FAILED, CANCELLED}:
        raise JobConflict(f"Job {id} cannot be retried: a live job holds its dedup key {job.dedup_key!r}.")
    if not due:
        raise JobConflict(f"Job {id} is {job.state}; only failed and cancelled jobs can be retried.")
    after_commit(state, lambda: announce(state, due))


def announce(state: State, due: Sequence[Due]) -> None:
    """Announce jobs that wait, and are not held back; when the broker cannot, workers find them in the ledger."""
    try:
        if heard := [job for job in due if not job.is_gated]:
            state.transport.announce(heard)
    except TransportError as problem:
        logger.debug("Not announced: %s", problem)


def attempts_of(state: State, job: Job) -> int:
    """Return how many attempts a reopened job gets: as many as a new one."""
    actor = state.broker.actors.get(job.actor)
    if actor is None:
        return LIBRARY_RETRIES + 1
    policy = state.config.queues.get(job.queue, QueuePolicy())
    return max_attempts(job.options, actor, policy, state.config) or LIBRARY_RETRIES + 1


def replay(state: State, id: str, scope: Scope = EVERYTHING, *, payload: dict[str, Any] | None = None) -> str:
    """Send a new job that does what another one did, whatever became of that one.

    Args:
        state: The application's side of the library.
        id: The job to repeat.
        scope: Whose jobs may be touched.
        payload: Arguments by name, instead of the job's own; see `payloads.restored` for what is withheld.

    Returns:
        The new job's id; with a dedup key that a live job holds, that job's.

    Raises:
        JobNotFound: There is no such job.
        InvalidJob: No actor has its name any more, or the arguments do not fit it.
    """
    return str(state.broker.enqueue(replayed(state, existing(state, id, scope), payload)).message_id)


def replayed(state: State, job: Job, payload: dict[str, Any] | None = None) -> dramatiq.Message[Any]:
    """Return a message that asks for what a job did.

    Raises:
        InvalidJob: No actor has its name any more, or the arguments do not fit it.
    """
    if job.actor not in state.broker.actors:
        raise InvalidJob(f"Job {job.id} cannot be replayed: no actor is named {job.actor!r} in this release.")
    if payload is not None:
        actor = state.broker.actors[job.actor]
        payload = check_payload(actor, payloads.restored(actor, job, payload))
    options = {**job.options, "tenant": job.tenant, "owner": job.owner, "priority": job.priority, "replay_of": job.id}
    optional = {"tags": job.tags, "dedup_key": job.dedup_key, "correlation_id": job.correlation_id}
    optional["event_id"] = job.event_id
    if job.limit_key is not None and is_given(job.limit_key):
        optional["concurrency_key"] = job.limit_key
    options |= {name: value for name, value in optional.items() if value is not None}
    return dramatiq.Message(
        queue_name=job.queue,
        actor_name=job.actor,
        args=tuple(job.args) if payload is None else (),
        kwargs=job.kwargs if payload is None else payload,
        options=options,
    )


def replay_within(state: State, connection: Connection, ids: Sequence[str], told: list[Callable[[], None]]) -> int:
    """Replay jobs in a transaction of the caller's; return how many, and put what follows its commit into `told`."""
    with Session(connection) as session:
        found = session.scalars(select(Job).where(Job.id.in_(ids))).all()
        messages = [replayed(state, job) for job in found if job.actor in state.broker.actors]
    if messages:
        told.append(state.broker.enqueue_within(connection, messages))
    return len(messages)


def changed(state: State, id: str, payload: dict[str, Any], scope: Scope = EVERYTHING) -> list[str]:
    """Return the names of the arguments of a job that a payload would change.

    Raises:
        JobNotFound: There is no such job.
        InvalidJob: The payload is no JSON.
    """
    job = existing(state, id, scope)
    return payloads.changed(state.broker.actors.get(job.actor), job, payload)


def run_now(state: State, id: str, scope: Scope = EVERYTHING) -> None:
    """Let a delayed job run now (T2 before its time).

    Raises:
        JobNotFound: There is no such job.
        JobConflict: It is neither delayed nor waiting.
    """
    job = existing(state, id, scope)
    with transaction(state) as connection:
        due = transitions.make_due(connection, [id], fair=state.config.fair)
        transitions.record_event(connection, [job.id for job in due], "hastened", "Made due by hand")
    if due:
        after_commit(state, lambda: announce(state, due))
    elif job.state != WAITING:
        raise JobConflict(f"Job {id} is {job.state}; only a delayed job can be made due.")


def amend(
    state: State,
    id: str,
    scope: Scope = EVERYTHING,
    *,
    priority: int | None = None,
    queue: str | None = None,
    run_at: datetime | None = None,
    payload: dict[str, Any] | None = None,
) -> None:
    """Change a job that is waiting or delayed; what is None stays as it is.

    Args:
        state: The application's side of the library.
        id: The job.
        scope: Whose jobs may be touched.
        priority: -1000 to 1000.
        queue: A queue that is declared.
        run_at: Aware time up to ten years away; one that has passed means now.
        payload: Arguments by name, instead of all it has; see `payloads.restored` for what is withheld.

    Raises:
        JobNotFound: There is no such job.
        JobConflict: It runs or has ended.
        InvalidJob: A value cannot be; nothing was changed.
    """
    job = existing(state, id, scope)
    if priority is not None:
        check_priority(priority)
    if queue is not None:
        check_queue(state, queue)
    if run_at is not None:
        check_reach(run_at)
    kwargs = None
    if payload is not None:
        actor = state.broker.actors.get(job.actor)
        payload = payloads.restored(actor, job, payload)
        if actor is not None:
            payload = check_payload(actor, payload)
        kwargs = encode_payload(job.actor, (), payload, state.config)[1]
    with transaction(state) as connection:
        due = transitions.amend(
            connection,
            [id],
            priority=priority,
            queue=queue,
            run_at=moment(run_at),
            args=None if kwargs is None else "[]",
            kwargs=kwargs,
            fair=state.config.fair,
        )
        transitions.record_event(connection, [each.id for each in due], "amended", "Changed by hand")
    if not due:
        raise JobConflict(f"Job {id} is {job.state}; only a job that waits can be changed.")
    after_commit(state, lambda: announce(state, due))


def check_priority(priority: int) -> None:
    """Refuse a priority that no job can have.

    Raises:
        InvalidJob: It is no whole number from -1000 to 1000.
    """
    if isinstance(priority, bool) or not isinstance(priority, int) or not -1000 <= priority <= 1000:
        raise InvalidJob(f"priority is {priority!r}; it takes a whole number from -1000 to 1000.")


def delete(state: State, id: str, scope: Scope = EVERYTHING, *, stop: bool = False) -> str:
    """Delete a job (T12); one that waits is cancelled first, as nothing live is ever deleted (promise G1).

    Args:
        state: The application's side of the library.
        id: The job.
        scope: Whose jobs may be touched.
        stop: Whether to ask a job that runs to stop, instead of refusing.

    Returns:
        `deleted`, or `requested` when it runs and was asked to stop.

    Raises:
        JobNotFound: There is no such job.
        JobConflict: It runs, and `stop` is not set.
    """
    job = existing(state, id, scope)
    with transaction(state) as connection:
        transitions.cancel(connection, [id], "deleted")
        if transitions.delete(connection, [id]):
            return "deleted"
    if job.state in TERMINAL:
        raise JobConflict(f"Job {id} is part of an open batch, which counts it; delete it when the batch has ended.")
    if not stop:
        raise JobConflict(f"Job {id} is {job.state}; cancel it first, or ask with force=cancel.")
    return cancel(state, id, "deleted", scope)


def existing(state: State, id: str, scope: Scope = EVERYTHING) -> Job:
    """Return a job, as the caller's transaction sees it when that has uncommitted writes.

    Raises:
        JobNotFound: There is none within the scope.
    """
    job = find(state.database, id, joined_session(state), scope=scope)
    if job is None:
        raise JobNotFound(f"There is no job {id!r}.")
    return job
