"""T2 and T9 to T11: what happens to jobs that nobody holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from .. import batches, moves, steps, turns
from ..job import CANCELLED, DELAYED, FAILED, WAITING
from ..statements import run
from ..tallies import Tallies
from .records import Due


def promote(connection: Connection, n: int = 1000, *, fair: bool = True) -> list[Due]:
    """T2: make delayed jobs whose time has come waiting; with `fair` tenants take turns."""
    return _due(connection, run(connection, moves.PROMOTE, n=n), fair)


def hasten(connection: Connection, *, ids: Sequence[str] | None = None, queue: str | None = None) -> None:
    """T2 before its time: make delayed jobs waiting, those named or those of a queue; None = any.

    What their steps sleep or wait for is over as well.
    """
    steps.hasten(connection, ids=ids, queue=queue)
    run(
        connection,
        moves.HASTEN,
        any_id=ids is None,
        ids=list(ids or ()),
        any_queue=queue is None,
        queue=queue or "",
    )


def make_due(connection: Connection, ids: Sequence[str], *, fair: bool = True) -> list[Due]:
    """T2 before its time: make delayed jobs due now, whatever their steps sleep or wait for; return those that were."""
    steps.hasten(connection, ids=ids)
    return _due(connection, run(connection, moves.MAKE_DUE, ids=list(ids)), fair)


def wake(connection: Connection, ids: Sequence[str], *, fair: bool = True) -> list[Due]:
    """T2 before its time: what suspended jobs waited for is there; return those that now wait to be claimed."""
    return _due(connection, run(connection, moves.WAKE, ids=sorted(ids)), fair)


def cancel(connection: Connection, ids: Sequence[str], reason: str) -> set[str]:
    """T9: cancel those of the jobs that wait, now or later; return their ids."""
    cancelled = list(run(connection, moves.CANCEL, ids=list(ids), reason=reason))
    _tally(connection, CANCELLED, (row[1:] for row in cancelled))
    return {row[0] for row in cancelled}


def request_cancel(connection: Connection, ids: Sequence[str], reason: str = CANCELLED) -> set[str]:
    """T9: ask the holders of those of the jobs that run to stop, for the reason that was given first; return them."""
    return {row[0] for row in run(connection, moves.REQUEST_CANCEL, ids=list(ids), reason=reason)}


def drain(connection: Connection, queue: str, states: Sequence[str], *, tenant: str | None, n: int) -> int:
    """T9: cancel up to `n` jobs of a queue that are waiting or delayed, of a tenant or all; return how many."""
    rows = run(
        connection,
        moves.DRAIN,
        queue=queue,
        states=list(states),
        any_tenant=tenant is None,
        tenant=tenant or "",
        n=n,
    )
    return _tally(connection, CANCELLED, rows)


def expire(connection: Connection, n: int = 1000) -> list[Any]:
    """T10: fail jobs whose time to run is over; return (id, queue, actor, tenant, attempt)."""
    expired = list(run(connection, moves.EXPIRE, n=n))
    _tally(connection, FAILED, ((tenant, queue, actor) for _, queue, actor, tenant, _ in expired))
    return expired


def reopen(connection: Connection, attempts: Mapping[str, int], *, fair: bool = True) -> list[Due]:
    """T11: make failed and cancelled jobs waiting again; return those that are.

    Args:
        connection: In a transaction.
        attempts: How many more attempts each job gets, by id.
        fair: Whether tenants take turns.

    Raises:
        IntegrityError: Two of the jobs have the same dedup key.
    """
    rows = [{"id": id, "attempts": n} for id, n in attempts.items()]
    tallies, found, states = Tallies(), [], []
    for state in (FAILED, CANCELLED):
        for row in run(connection, moves.REOPEN, ids=list(attempts), rows=json.dumps(rows), state=state):
            tallies.take_back(row[4], row[1], state)
            states.append(state)
            found.append(row)
    tallies.write(connection)
    steps.reopen(connection, [row[0] for row in found])
    batches.reopen(connection, [(row[6], row_state) for row, row_state in zip(found, states, strict=True) if row[6]])
    return _due(connection, found, fair)


def amend(
    connection: Connection,
    ids: Sequence[str],
    *,
    priority: int | None = None,
    queue: str | None = None,
    run_at: str | None = None,
    args: str | None = None,
    kwargs: str | None = None,
    fair: bool = True,
) -> list[Due]:
    """Change those of the jobs that are waiting or delayed, but for what is None; return them.

    Where they get another place in the order, they take new turns there. Those that stay delayed count as held back.
    """
    moved = priority is not None or queue is not None or run_at is not None
    found = run(
        connection,
        moves.AMEND,
        ids=list(ids),
        priority=priority,
        queue=queue,
        run_at=run_at,
        args=args,
        kwargs=kwargs,
        moved=moved,
    )
    rows = [(*row[:5], row[5] if row[6] == WAITING else DELAYED) for row in found]
    return _due(connection, rows, fair and moved)


def _due(connection: Connection, rows: Iterable[Any], fair: bool) -> list[Due]:
    """Return jobs that have just come to wait, as (id, queue, priority, due in ms, tenant, gate), in their turn."""
    found = list(rows)
    of_tenants = [row[0] for row in found if row[4]] if fair else []
    placed = turns.place(connection, of_tenants) if of_tenants else {}
    return [
        Due(id, queue, priority, placed.get(id, due), gate is not None)
        for id, queue, priority, due, _, gate, *_ in found
    ]


def _tally(connection: Connection, outcome: str, rows: Iterable[tuple[str, str, str]]) -> int:
    """Tally jobs that ended without an attempt, given as (tenant, queue, actor); return how many."""
    tallies, ended = Tallies(), list(rows)
    for tenant, queue, actor in ended:
        tallies.add(tenant, queue, actor, outcome, 0, 0)
    tallies.write(connection)
    return len(ended)
