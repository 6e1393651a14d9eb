"""Batches: sending many jobs as one, asking how far they are, and acting on all of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dramatiq
from sqlalchemy import Connection, literal, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..closing import close_soon
from ..encoding import encode
from ..errors import ConfigError, InvalidJob, JobConflict, JobNotFound
from ..ledger import ACTIVE, CANCELLED, COMPLETED, DELAYED, FAILED, LIVE, TERMINAL, WAITING, Job, transitions
from ..ledger import batches as ledger
from ..ledger.base import Moment
from ..ledger.batch import Batch as Row
from ..ledger.batches import NewBatch
from ..ledger.scope import EVERYTHING, Scope
from ..ledger.search import Place
from ..limit import check_concurrency
from ..state import State
from ..terms import terms_of
from .jobs import announce, attempts_of
from .transaction import after_commit, joined_session, transaction

CHUNK = 500
LONGEST_NAME = 200
CALLBACKS = ("on_complete", "on_success", "on_failure")

AnyMessage = dramatiq.Message[Any]


@dataclass(frozen=True, slots=True)
class Progress:
    """A batch and how far it is.

    Attributes:
        state: `running`, `cancelling`; or, when all its jobs have ended, `completed`, `failed` (some did) or
            `cancelled` (some were, and none failed).
        percent: How many of its jobs have ended, 0 to 100; 100 only when all have.
    """

    id: str
    tenant: str
    owner: str
    name: str
    state: str
    total: int
    concurrency: int | None
    delayed: int
    waiting: int
    active: int
    completed: int
    failed: int
    cancelled: int
    percent: int
    error: str | None
    created_at: datetime
    cancelled_at: datetime | None
    finished_at: datetime | None


class Batch:
    """Many jobs as one object.

    Args:
        state: The application's side of the library.
        id: The batch's id, which its jobs carry.
    """

    def __init__(self, state: State, id: str) -> None:
        self.state = state
        self.id = id

    def __repr__(self) -> str:
        """Say which one it is."""
        return f"<Batch {self.id}>"

    def progress(self) -> Progress:
        """Return how far it is."""
        return find(self.state, self.id)

    def failures(self, n: int = 1000) -> Sequence[Job]:
        """Return up to `n` of its failed jobs, with their errors (A12)."""
        return failures(self.state, self.id, n)

    def add(self, messages: Iterable[AnyMessage]) -> list[AnyMessage]:
        """Add jobs to it, from one of its own jobs for example; see `add`.

        Raises:
            JobConflict: It has ended or was cancelled.
        """
        return add(self.state, self.id, messages)

    def retry_failed(self) -> int:
        """Reopen its failed jobs; it is open again, and sends what is to follow anew. Return how many.

        Raises:
            JobConflict: None of its jobs has failed.
        """
        return retry_failed(self.state, self.id)

    def cancel(self) -> tuple[int, int]:
        """Cancel what is left of it; return how many will not start any more, and how many were asked to stop.

        Raises:
            JobConflict: It has ended.
        """
        return cancel(self.state, self.id)


def create(
    state: State,
    messages: Iterable[AnyMessage],
    *,
    name: str = "",
    concurrency: int | None = None,
    callbacks: Mapping[str, AnyMessage | None] | None = None,
) -> str:
    """Send jobs as one batch, all or none, in the caller's transaction as a send would; return its id.

    Args:
        state: The application's side of the library.
        messages: The jobs; none at all is a batch that ends at once.
        name: For people.
        concurrency: How many of its jobs run at a time in all processes; None = any number.
        callbacks: What is sent at its end: `on_complete` always, `on_success` when every job completed, else
            `on_failure`.

    Raises:
        InvalidJob: A value is out of range, or a job cannot be accepted; nothing was stored.
    """
    if not isinstance(name, str) or len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidJob(f"name is {str(name)[:80]!r}; it takes a printable text of {LONGEST_NAME} characters.")
    try:
        check_concurrency(concurrency)
    except ConfigError as problem:
        raise InvalidJob(str(problem)) from None
    id = str(uuid.uuid4())
    given = {what: _encoded(state, what, message, id) for what, message in (callbacks or {}).items() if message}
    batch = NewBatch(id, "", name=name, concurrency=concurrency, callbacks=encode(given, "A callback of the batch"))
    state.broker.enqueue_many(list(messages), batch=batch)
    return id


def add(state: State, id: str, messages: Iterable[AnyMessage], scope: Scope = EVERYTHING) -> list[AnyMessage]:
    """Add jobs to a batch that has not ended.

    Raises:
        JobNotFound: There is no such batch.
        JobConflict: It has ended or was cancelled.
        InvalidJob: A job cannot be accepted, or is another tenant's; nothing was stored.
    """
    found = _existing(state, id, scope)
    batch = NewBatch(id, found.tenant, concurrency=found.concurrency, is_known=True)
    given = list(messages)
    return state.broker.enqueue_many(given, batch=batch) if given else []


def _encoded(state: State, what: str, message: AnyMessage, id: str) -> dict[str, Any]:
    """Return a callback as it is kept with its batch, after it was checked like any send."""
    if what not in CALLBACKS or not isinstance(message, dramatiq.Message):
        raise InvalidJob(f"{what} is {message!r}; a batch takes {', '.join(CALLBACKS)}, each a message of an actor.")
    actor = state.broker.actors.get(message.actor_name)
    if actor is None:
        raise InvalidJob(f"{what}: no actor is named {message.actor_name!r}.")
    terms = terms_of(actor)
    takes_id = terms.signature is not None and "batch_id" in terms.signature.parameters
    kwargs = {"batch_id": id, **message.kwargs} if takes_id else message.kwargs
    message = message.copy(kwargs=kwargs)
    terms.check(message)
    return {
        "actor": message.actor_name,
        "queue": message.queue_name,
        "args": list(message.args),
        "kwargs": kwargs,
        "options": {name: value for name, value in message.options.items() if name != "transaction"},
    }


def find(state: State, id: str, scope: Scope = EVERYTHING) -> Progress:
    """Return a batch and how far it is.

    Raises:
        JobNotFound: There is no such batch within the scope.
    """
    return _progress(state, [_existing(state, id, scope)])[0]


def failures(state: State, id: str, n: int = 1000) -> Sequence[Job]:
    """Return up to `n` failed jobs of a batch."""
    query = select(Job).where(Job.batch_id == id, Job.state == FAILED).order_by(Job.id).limit(n)
    with Session(state.database.engine, expire_on_commit=False) as session:
        return session.scalars(query).all()


def listing(
    state: State, scope: Scope = EVERYTHING, *, after: Place | None = None, n: int = 50
) -> tuple[list[Progress], Place | None]:
    """Return batches, the newest first, and the place after which the next page begins."""
    query = select(Row).where(scope.of(Row)).order_by(Row.created_at.desc(), Row.id.desc()).limit(n + 1)
    if after is not None:
        there = tuple_(literal(after[0], Moment), literal(after[1]))
        query = query.where(tuple_(Row.created_at, Row.id) < there)
    with Session(state.database.engine) as session:
        found = list(session.scalars(query))
        session.expunge_all()
    shown = found[:n]
    place = (shown[-1].created_at, shown[-1].id) if len(found) > n else None
    return _progress(state, shown), place


def retry_failed(state: State, id: str, scope: Scope = EVERYTHING) -> int:
    """Reopen the failed jobs of a batch, which is open again then and has its end anew; return how many.

    One whose live twin holds its dedup key stays failed.

    Raises:
        JobNotFound: There is no such batch.
        JobConflict: None of its jobs has failed.
    """
    _existing(state, id, scope)
    due: list[transitions.Due] = []
    with transaction(state) as connection:
        ledger.hold(connection, id)
        with Session(connection) as session:
            failed = session.scalars(select(Job).where(Job.batch_id == id, Job.state == FAILED)).all()
            attempts = {job.id: attempts_of(state, job) for job in failed}
        for some in _chunks(list(attempts)):
            due += _reopen(state, connection, {job: attempts[job] for job in some})
    if not due:
        raise JobConflict(f"Batch {id} has no failed job that could be retried.")
    after_commit(state, lambda: announce(state, [job for job in due if not job.is_gated]))
    return len(due)


def _reopen(state: State, connection: Connection, attempts: Mapping[str, int]) -> list[transitions.Due]:
    try:
        with connection.begin_nested():
            due = transitions.reopen(connection, attempts, fair=state.config.fair)
    except IntegrityError:  # two of them share a dedup key: one at a time, the first wins
        if len(attempts) == 1:
            return []
        return [due for id, n in attempts.items() for due in _reopen(state, connection, {id: n})]
    transitions.record_event(connection, [job.id for job in due], "retried", "Reopened with its batch")
    return due


def cancel(state: State, id: str, scope: Scope = EVERYTHING) -> tuple[int, int]:
    """Cancel what is left of a batch.

    Returns:
        How many jobs will not start any more, and how many run and were asked to stop.

    Raises:
        JobNotFound: There is no such batch.
        JobConflict: It has ended.
    """
    _existing(state, id, scope)
    with transaction(state) as connection:
        if not ledger.abandon(connection, id):
            raise JobConflict(f"Batch {id} has ended; there is nothing left to cancel.")
        cancelled = 0
        while n := _cancel_some(connection, id):
            cancelled += n
        asked = transitions.request_cancel(connection, ledger.of_states(connection, id, [ACTIVE], 1_000_000))
        transitions.record_event(connection, list(asked), "cancel_requested", "Its batch was cancelled")
    after_commit(state, lambda: close_soon(state, {id}))
    return cancelled, len(asked)


def cancel_rest(state: State, id: str) -> int:
    """Cancel jobs that have come to wait in a batch since it was cancelled; return how many."""
    with state.database.transaction() as connection:
        return _cancel_some(connection, id)


def _cancel_some(connection: Connection, id: str) -> int:
    ids = ledger.of_states(connection, id, [DELAYED, WAITING], CHUNK)
    cancelled = transitions.cancel(connection, ids, "cancelled") if ids else set()
    transitions.record_event(connection, list(cancelled), "cancelled", "Its batch was cancelled")
    return len(cancelled)


def _existing(state: State, id: str, scope: Scope) -> Row:
    query = select(Row).where(Row.id == id, scope.of(Row))
    joined = joined_session(state)
    if joined is not None:
        with joined.no_autoflush:
            found = joined.scalars(query.execution_options(populate_existing=True)).one_or_none()
        if found is not None:
            joined.expunge(found)
    else:
        with Session(state.database.engine, expire_on_commit=False) as session:
            found = session.scalars(query).one_or_none()
    if found is None:
        raise JobNotFound(f"There is no batch {id!r}.")
    return found


def _progress(state: State, found: Sequence[Row]) -> list[Progress]:
    open_ids = [batch.id for batch in found if batch.finished_at is None]
    counts: Mapping[str, Mapping[str, int]] = {}
    if open_ids:
        joined = joined_session(state)
        if joined is not None:
            counts = ledger.counted(joined.connection(bind_arguments={"mapper": Job}), open_ids)
        else:
            with state.database.engine.connect() as connection:
                counts = ledger.counted(connection, open_ids)
    return [_described(batch, counts.get(batch.id, {})) for batch in found]


def _described(batch: Row, counts: Mapping[str, int]) -> Progress:
    live = {name: counts.get(name, 0) for name in LIVE}
    ended = {name: getattr(batch, name) + counts.get(name, 0) for name in TERMINAL}
    is_over = batch.finished_at is not None
    if not is_over:
        now = "cancelling" if batch.cancelled_at is not None else "running"
    else:
        now = FAILED if ended[FAILED] else CANCELLED if ended[CANCELLED] else COMPLETED
    percent = 100 if is_over else min(99, 100 * sum(ended.values()) // batch.total) if batch.total else 0
    return Progress(
        id=batch.id,
        tenant=batch.tenant,
        owner=batch.owner,
        name=batch.name,
        state=now,
        total=batch.total,
        concurrency=batch.concurrency,
        percent=percent,
        error=batch.error,
        created_at=batch.created_at,
        cancelled_at=batch.cancelled_at,
        finished_at=batch.finished_at,
        **live,
        **ended,
    )


def _chunks(ids: list[str]) -> Iterable[list[str]]:
    return (ids[first : first + CHUNK] for first in range(0, len(ids), CHUNK))
