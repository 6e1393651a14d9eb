"""What can be done to a queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from ..errors import InvalidJob
from ..ledger import COMPLETED, DELAYED, TERMINAL, WAITING, Queue, queries, transitions
from ..ledger.scope import EVERYTHING, Scope
from ..ledger.statements import run
from ..policy import QueuePolicy
from ..state import State
from .transaction import transaction

BATCH = 1000
MAX_GRACE_MS = 3_660 * 86_400_000

PAUSE = """
INSERT INTO understudy_queues (name, paused_at) VALUES (:name, <now>)
ON CONFLICT (name) DO UPDATE SET paused_at = coalesce(understudy_queues.paused_at, excluded.paused_at)"""

LIMIT = """
INSERT INTO understudy_queues (name, concurrency) VALUES (:name, CAST(:concurrency AS integer))
ON CONFLICT (name) DO UPDATE SET concurrency = excluded.concurrency"""

RESUME = "UPDATE understudy_queues SET paused_at = NULL WHERE name = :name"


def pause(state: State, name: str) -> None:
    """Claim nothing from a queue any more; what runs goes on. Effective with the next claim, everywhere.

    Raises:
        InvalidJob: No queue has the name.
    """
    check(state, name)
    with transaction(state) as connection:
        run(connection, PAUSE, name=name)


def resume(state: State, name: str) -> None:
    """Claim from a paused queue again, within a second.

    Raises:
        InvalidJob: No queue has the name.
    """
    check(state, name)
    with transaction(state) as connection:
        run(connection, RESUME, name=name)


def clean(state: State, name: str, status: str, grace_ms: int | None, scope: Scope = EVERYTHING) -> int:
    """Delete a queue's completed, failed or cancelled jobs that ended before the grace (T12, requirement N05).

    Args:
        state: The application's side of the library.
        name: The queue.
        status: `completed`, `failed` or `cancelled`.
        grace_ms: ms since the end for which a job is kept all the same, 0 or more; None = the queue's retention.
        scope: Whose jobs may be touched.

    Returns:
        How many jobs were deleted.

    Raises:
        InvalidJob: The queue is unknown, or `status` or `grace_ms` cannot be.
    """
    check(state, name)
    if status not in TERMINAL:
        raise InvalidJob(f"status is {status!r}; it takes one of {', '.join(TERMINAL)}: others are never deleted.")
    if grace_ms is None:
        kept = state.config.queues.get(name, QueuePolicy())
        age = kept.keep_completed if status == COMPLETED else kept.keep_failed
        grace_ms = int(age.total_seconds() * 1000)
    if isinstance(grace_ms, bool) or not isinstance(grace_ms, int) or not 0 <= grace_ms <= MAX_GRACE_MS:
        raise InvalidJob(f"grace is {grace_ms!r}; it takes whole milliseconds from 0 to {MAX_GRACE_MS}.")
    return _in_batches(
        state,
        lambda connection: transitions.prune(connection, [name], [status], grace_ms, tenant=scope.tenant, n=BATCH),
    )


def limit(state: State, name: str, concurrency: int | None) -> None:
    """Let at most so many jobs of a queue run at a time, in all processes; None = as many as there are threads.

    Raises:
        InvalidJob: No queue has the name, or the number is below 1.
    """
    check(state, name)
    if concurrency is not None and concurrency < 1:
        raise InvalidJob(f"concurrency is {concurrency!r}; it takes a whole number, 1 or more, or None.")
    with transaction(state) as connection:
        run(connection, LIMIT, name=name, concurrency=concurrency)


def drain(state: State, name: str, scope: Scope = EVERYTHING, *, delayed: bool = False) -> int:
    """Cancel what waits in a queue (T9), with `delayed` also what is to wait later; return how many jobs.

    Raises:
        InvalidJob: No queue has the name.
    """
    check(state, name)
    states = [WAITING, DELAYED] if delayed else [WAITING]
    return _in_batches(
        state, lambda connection: transitions.drain(connection, name, states, tenant=scope.tenant, n=BATCH)
    )


def stats(state: State, scope: Scope = EVERYTHING) -> dict[str, dict[str, int]]:
    """Return each queue's seven counts (I08)."""
    return queries.stats(state.database, sorted(names(state)), scope.tenant)


def names(state: State) -> set[str]:
    """Return the queues that there are: those that actors are declared on, and those with a policy."""
    return state.broker.get_declared_queues() | set(state.config.queues)


def rows(state: State) -> dict[str, Queue]:
    """Return what operators decided, by queue."""
    with Session(state.database.engine, expire_on_commit=False) as session:
        return {row.name: row for row in session.scalars(select(Queue))}


def policy(state: State, name: str) -> dict[str, Any]:
    """Return what holds for the jobs of a queue unless actor or call say otherwise, times in ms."""
    found = asdict(state.config.queues.get(name, QueuePolicy()))
    return {
        key: int(value.total_seconds() * 1000) if isinstance(value, timedelta) else value
        for key, value in found.items()
        if value is not None
    }


def check(state: State, name: str) -> None:
    """Refuse a queue that there is none of.

    Raises:
        InvalidJob: No queue has the name; names those that there are.
    """
    if name not in names(state):
        raise InvalidJob(f"No queue is named {name!r}. There are: {', '.join(sorted(names(state)))}.")


def _in_batches(state: State, act: Callable[[Connection], int]) -> int:
    total = 0
    while True:
        with transaction(state) as connection:
            n = act(connection)
        total += n
        if n < BATCH:
            return total
