"""Jobs scheduled for a date: delayed jobs of the ledger, as the seeds see them (requirements F01, F02, K01)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import literal, select, tuple_
from sqlalchemy.orm import Session

from ..errors import InvalidJob, JobConflict
from ..ledger import CANCELLED, DELAYED, WAITING, Job, transitions
from ..ledger.base import Moment
from ..ledger.scope import EVERYTHING, Scope
from ..signatures import check_payload
from ..state import State
from .drafts import OPTIONS, actor_named
from .jobs import existing
from .queues import check as check_queue
from .transaction import transaction

SCHEDULED, ENQUEUED = "scheduled", "enqueued"

#: What may be said about the job beside what may be said about a schedule's.
_MORE = ("dedup_key", "expires_at", "tenant", "owner")


def schedule(
    state: State, type: str, payload: Mapping[str, Any], date: datetime, options: Mapping[str, Any] | None = None
) -> str:
    """Send a job that does not run before a date; return its id (F01).

    Raises:
        InvalidJob: The type, payload, date or an option cannot be; nothing was stored.
    """
    actor = state.broker.get_actor(actor_named(state, type))
    if not isinstance(payload, Mapping):
        raise InvalidJob(f"payload is {payload!r}; it takes a mapping of arguments by name.")
    if not isinstance(date, datetime):
        raise InvalidJob(f"date is {date!r}; it takes an aware datetime.")
    kwargs = check_payload(actor, payload)
    given = dict(options or {})
    for option in given:
        if option not in (*OPTIONS, *_MORE):
            raise InvalidJob(f"{option!r} is no option of a scheduled job. There are {', '.join((*OPTIONS, *_MORE))}.")
    queue = given.pop("queue", None)
    message = actor.message_with_options(kwargs=kwargs, run_at=date, **given)
    if queue is not None:
        check_queue(state, queue)
        message = message._replace(queue_name=queue)
    return str(state.broker.enqueue(message).message_id)


def cancel(state: State, id: str, scope: Scope = EVERYTHING) -> None:
    """Cancel a scheduled job; it never starts (F02, promise G8).

    Raises:
        JobNotFound: There is no such job.
        JobConflict: It has started, or was cancelled before.
    """
    job = existing(state, id, scope)
    is_open = job.state in {DELAYED, WAITING} and not _has_started(job)
    with transaction(state) as connection:
        done = is_open and transitions.cancel(connection, [id], CANCELLED)
        if done:
            transitions.record_event(connection, id, CANCELLED, "The schedule was cancelled")
    if not done:
        status = "has started" if is_open or job.state != CANCELLED else "is cancelled"
        raise JobConflict(f"Job {id} {status}; only one that has not started can be taken off the schedule.")


def listing(
    state: State, scope: Scope = EVERYTHING, *, after: tuple[datetime, str] | None = None, n: int | None = None
) -> list[Job]:
    """Return the jobs that wait for their date, the first one first.

    Args:
        state: The application's side of the library.
        scope: Whose.
        after: Date and id of the one before.
        n: How many; None = all.
    """
    query = select(Job).where(scope.of(Job), Job.state == DELAYED, Job.fence == 0)
    if after is not None:
        query = query.where(tuple_(Job.run_at, Job.id) > tuple_(literal(after[0], Moment), literal(after[1])))
    with Session(state.database.engine, expire_on_commit=False) as session:
        return list(session.scalars(query.order_by(Job.run_at, Job.id).limit(n)))


def status_of(job: Job) -> str:
    """Return what the seeds call the state of a scheduled job: `scheduled`, `enqueued` or `cancelled` (K01)."""
    if not _has_started(job) and job.state in {DELAYED, CANCELLED}:
        return SCHEDULED if job.state == DELAYED else CANCELLED
    return ENQUEUED


def _has_started(job: Job) -> bool:
    """Whether anybody ever claimed it: a job that its step suspended has given its attempt back, and has started."""
    return job.fence > 0
