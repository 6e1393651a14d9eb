"""T12: what has ended goes; and the timeline of what is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection

from .. import moves, steps
from ..statements import run
from ..tallies import Tallies


def delete(connection: Connection, ids: Sequence[str]) -> int:
    """T12: delete those of the jobs that have ended; return how many."""
    return _forget(connection, run(connection, moves.DELETE, ids=list(ids)))


def prune(
    connection: Connection,
    queues: Sequence[str],
    states: Sequence[str],
    age_ms: int,
    *,
    others: bool = False,
    tenant: str | None = None,
    n: int = 1000,
) -> int:
    """T12: delete up to `n` jobs that became terminal more than `age_ms` ago; return how many.

    Args:
        connection: In a transaction.
        queues: The queues meant; with `others` all but those.
        states: Terminal states.
        age_ms: How old, in ms since the end.
        others: Mean every queue that is not named.
        tenant: Whose jobs; None = every tenant's.
        n: At the most so many.
    """
    rows = run(
        connection,
        moves.PRUNE,
        queues=list(queues),
        states=list(states),
        age_ms=-age_ms,
        others=others,
        any_tenant=tenant is None,
        tenant=tenant or "",
        n=n,
    )
    return _forget(connection, rows)


def trim(connection: Connection, queue: str, keep: int, n: int = 1000) -> int:
    """T12: delete up to `n` completed jobs of a queue beyond its newest `keep`; return how many."""
    return _forget(connection, run(connection, moves.TRIM, queue=queue, keep=keep, n=n))


def _forget(connection: Connection, rows: Iterable[Any]) -> int:
    ids, tallies = [], Tallies()
    for id, tenant, queue, state in rows:
        ids.append(id)
        tallies.take_back(tenant, queue, state)
    tallies.write(connection)
    if ids:
        forget(connection, ids)
    return len(ids)


def forget(connection: Connection, ids: Sequence[str]) -> None:
    """Delete what the ledger still holds about deleted jobs."""
    run(connection, moves.PRUNE_ATTEMPTS, ids=list(ids))
    run(connection, moves.PRUNE_EVENTS, ids=list(ids))
    steps.forget(connection, ids)


def record_event(connection: Connection, id: str | Sequence[str], kind: str, message: str, attempt: int = 0) -> None:
    """Add a line to the timeline of a job or of several; those that are gone are passed over."""
    ids = [id] if isinstance(id, str) else list(id)
    run(connection, moves.RECORD_EVENT, ids=ids, kind=kind, message=message, attempt=attempt)
