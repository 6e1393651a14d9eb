"""Storing accepted jobs, in the caller's transaction or alone, and saying so once they exist."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import dramatiq
from flask import has_app_context
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from . import joining, signals
from .admission import admit_sent
from .closing import close_soon
from .context import running_job
from .errors import InvalidJob, JobConflict, NotInitialised, TransportError
from .ledger import Job, batches, transitions
from .ledger.batches import NewBatch
from .ledger.database import begin_on_sqlite
from .ledger.limit import Numbers
from .ledger.statements import run
from .ledger.transitions import Due, NewJob
from .limit import BATCH
from .redaction import redacted_arguments
from .signals import JobNotice
from .state import State

logger = logging.getLogger("flask_understudy")

MOST_TRIES = 5

TWIN = """
SELECT id FROM understudy_jobs
WHERE tenant = :tenant AND dedup_key = :key AND state IN ('delayed', 'waiting', 'active')"""

#: What is written in the transaction of jobs, before them; returns the waiting jobs that it woke.
Beside = Callable[[Connection], list[Due]]

#: The jobs that are new, each with when it is due (ms since 1970); and the live twin's id of each that met one.
Stored = tuple[list[tuple[NewJob, int]], dict[str, str]]


def joins(state: State, wishes: set[Any]) -> bool:
    """Tell whether jobs are stored in the transaction of the caller's session.

    Raises:
        InvalidJob: The wishes differ, or cannot be met.
    """
    wishes.discard(None)
    if len(wishes) > 1 or not wishes <= {True, False}:
        raise InvalidJob(f"transaction is {wishes!r}; it takes True or False, the same for all jobs of one call.")
    if not has_app_context():
        if True in wishes:
            raise InvalidJob("transaction=True needs an application context, as it joins db.session.")
        return False
    return wishes.pop() if wishes else joining.has_uncommitted_writes(state.db.session())


def enlisted(sender: tuple[str, str], jobs: list[NewJob], batch: NewBatch) -> NewBatch:
    """Make jobs part of a batch, let them share its limit where it has one, and return it with its owner."""
    tenant, owner = sender
    if jobs and not batch.is_known:
        tenant, owner = jobs[0].tenant, jobs[0].owner
    if not batch.is_known:
        batch = replace(batch, tenant=tenant, owner=owner)
    for job in jobs:
        if job.tenant != batch.tenant:
            raise InvalidJob(f"A batch is one tenant's: {batch.tenant!r} and {job.tenant!r} cannot share one.")
        job.batch_id = batch.id
        if batch.concurrency is None:
            continue
        if job.limit_key is not None:
            raise InvalidJob(
                f"{job.actor} has a limit of its own, and this batch has one as well: a job has one key. "
                "Leave out the batch's concurrency, or send the job outside of it."
            )
        job.limit_key, job.numbers = f"{BATCH}{batch.id}", Numbers(batch.concurrency)
    return batch


def store_joined(state: State, jobs: list[NewJob], beside: Beside | None, batch: NewBatch | None) -> Stored:
    """Store jobs in the transaction of the caller's session; they are told of when it is committed."""
    session = state.db.session()
    connection = session.connection(bind_arguments={"mapper": Job})
    with connection.begin_nested() if beside is not None else nullcontext():
        woken = beside(connection) if beside is not None else []
        accepted, twins = _accept_all(connection, jobs, batch)
    born = [job for job, _ in accepted]
    joining.after_commit(session, born, lambda: committed(state, accepted, woken, batch))
    return accepted, twins


def store_alone(state: State, jobs: list[NewJob], beside: Beside | None, batch: NewBatch | None) -> Stored:
    """Store jobs in a transaction of their own, or in one statement, and tell of them."""
    woken: list[Due] = []
    is_more = beside is not None or batch is not None
    if is_more or any(job.dedup_key is not None or job.thinning is not None for job in jobs):
        with state.database.engine.begin() as connection:
            woken = beside(connection) if beside is not None else []
            stored = _accept_all(connection, jobs, batch)
    else:
        with state.database.engine.connect() as connection:  # one statement needs no BEGIN and COMMIT around it
            stored = accept(connection.execution_options(isolation_level="AUTOCOMMIT"), jobs)
    committed(state, stored[0], woken, batch)
    return stored


def committed(
    state: State,
    accepted: list[tuple[NewJob, int]],
    woken: Sequence[Due] = (),
    batch: NewBatch | None = None,
) -> None:
    """The jobs exist: say so, and let somebody run them."""
    tell_added(state, [job for job, _ in accepted])
    waiting = [(job, due) for job, due in accepted if job.state == "waiting" and job.limit_key is None]
    keyed = [job for job, _ in accepted if job.limit_key is not None]
    urgent: list[NewJob] = []
    try:
        if waiting or woken:
            free = (Due(job.id, job.queue, job.priority, due) for job, due in waiting)
            state.transport.announce([*woken, *free])
    except TransportError as problem:
        logger.debug("Not announced: %s", problem)
        urgent = [job for job, _ in waiting if job.fallback == "sync"]
    if keyed:
        admitted = {due.id for due in admit_sent(state, keyed)}
        if not state.transport.is_up:
            urgent += [job for job in keyed if job.fallback == "sync" and job.id in admitted]
    if batch is not None and not accepted:
        close_soon(state, {batch.id})
    if urgent and running_job() is None:
        state.stand_in.run(urgent)


def _accept_all(connection: Connection, jobs: list[NewJob], batch: NewBatch | None) -> Stored:
    """Store jobs in a transaction, and with them the batch that they are."""
    if batch is not None and batch.is_known:
        held = batches.hold(connection, batch.id)
        if held is None or not held.is_open or held.is_cancelled:
            raise JobConflict(f"Nothing can be added to batch {batch.id}: it has ended or was cancelled.")
    stored = accept(connection, jobs)
    if batch is not None:
        batches.store(connection, batch, len(stored[0]))
    return stored


def accept(connection: Connection, jobs: list[NewJob]) -> Stored:
    """Store jobs in a transaction.

    Returns:
        The jobs that are new with when they are due (ms since 1970), and for each job that met a live twin the
        twin's id by the job's own.
    """
    begin_on_sqlite(connection)
    accepted: list[tuple[NewJob, int]] = []
    twins: dict[str, str] = {}
    missing = jobs
    for _ in range(MOST_TRIES):
        if not missing:
            break
        due = transitions.insert(connection, missing)
        accepted += [(job, due[job.id]) for job in missing if job.id in due]
        again = []
        for job in missing:
            if job.twin is not None:
                twins[job.id] = job.twin
            if job.id in due or job.dedup_key is None:
                continue
            twin = run(connection, TWIN, tenant=job.tenant, key=job.dedup_key).first()
            if twin is None:  # it ended in between
                again.append(job)
            else:
                twins[job.id] = twin[0]
        missing = again
    return accepted, twins


def tell_added(state: State, jobs: Iterable[NewJob]) -> None:
    """Send `job_added` for jobs that exist from now on."""
    if not signals.job_added.receivers:
        return
    for job in jobs:
        message = dramatiq.get_encoder().decode(f'{{"args":{job.args},"kwargs":{job.kwargs}}}'.encode())
        args, kwargs = redacted_arguments(state.broker.actors.get(job.actor), message["args"], message["kwargs"])
        notice = JobNotice(
            id=job.id,
            queue=job.queue,
            actor=job.actor,
            tenant=job.tenant,
            args=args,
            kwargs=kwargs,
        )
        signals.emit(signals.job_added, state.app, job=notice)


def explained(problem: SQLAlchemyError) -> Exception:
    """Return a clearer exception for a database error where there is one."""
    text = str(problem.orig if hasattr(problem, "orig") else problem)
    if "understudy_" in text and ("no such table" in text or "does not exist" in text or "no such column" in text):
        return NotInitialised(
            f"The ledger's tables are missing or old ({text.splitlines()[0]}). Run `flask db upgrade`."
        )
    return problem
