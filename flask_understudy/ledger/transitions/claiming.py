"""T4: jobs get a holder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from .. import moves
from ..statements import run
from .records import Claimed, Stray


def claim(
    connection: Connection, worker: str, ids: Sequence[str], *, queue: str | None = None, suspects: bool = True
) -> list[Claimed]:
    """T4: claim those of the announced jobs that may run now, but for those that a limit concerns: see `limits`.

    Args:
        connection: One on which the statement commits by itself, or a transaction.
        worker: The claimer.
        ids: The jobs.
        queue: Where they are to be; one that was moved since it was announced is left to the workers of its new queue.
            None = anywhere.
        suspects: Whether jobs are wanted that ended a process before.
    """
    given = {"any_queue": queue is None, "queue": queue or ""}
    return _claimed(run(connection, moves.CLAIM, worker=worker, ids=list(ids), suspects=suspects, **given))


def claim_next(connection: Connection, worker: str, queue: str, n: int, *, suspects: bool = True) -> list[Claimed]:
    """T4: claim the next `n` waiting jobs of a queue, by priority, then by turn; otherwise like `claim`."""
    return _claimed(run(connection, moves.CLAIM_NEXT, worker=worker, queue=queue, n=n, suspects=suspects))


def claim_within(
    connection: Connection,
    worker: str,
    ids: Sequence[str],
    queues: Sequence[str],
    tenants: Sequence[str],
    *,
    suspects: bool = True,
) -> list[Claimed]:
    """T4: claim jobs that `limits` found room for; otherwise like `claim`.

    Args:
        connection: In the transaction that holds the locks of those limits.
        worker: The claimer.
        ids: The jobs.
        queues: The limited queues among theirs that have room for them.
        tenants: The limited tenants among theirs that have room for them.
        suspects: Whether jobs are wanted that ended a process before.
    """
    found = run(
        connection,
        moves.CLAIM_WITHIN,
        worker=worker,
        ids=list(ids),
        queues=list(queues),
        tenants=list(tenants),
        suspects=suspects,
    )
    return _claimed(found)


def _claimed(result: Any) -> list[Claimed]:
    """Return the rows of a claim, read from the driver itself: this is the hottest path there is."""
    rows = result.cursor.fetchall()
    result.close()
    claimed = [
        Claimed(id, queue, actor, _loads(args), _loads(kwargs), _loads(options), *rest)
        for id, queue, actor, args, kwargs, options, *rest in rows
    ]
    claimed.sort(key=lambda job: (job.priority, job.turn_ms, job.sequence))
    return claimed


def _loads(text: str) -> Any:
    """Return a JSON array or object; the empty ones, which most are, without the parser."""
    return [] if text == "[]" else {} if text == "{}" else json.loads(text)


def strays(connection: Connection, worker: str, age_ms: int) -> list[Stray]:
    """Return the jobs that a worker has held for more than `age_ms`, by the ledger."""
    return [Stray(*row) for row in run(connection, moves.STRAYS, worker=worker, age_ms=-age_ms)]
