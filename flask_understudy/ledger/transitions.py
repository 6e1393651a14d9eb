"""The only writer of `Job.state`: each legal move (T1 to T12 of docs/job-states.md) is one guarded statement.

Every guard stands in the statement itself and every time is the database's, so two processes that disagree about the
world cannot both win. Functions take a connection and leave the transaction to the caller.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection

from . import moves
from .statements import run

MAX_HAND_BACKS = 50
MAX_CRASHES = 3


@dataclass(slots=True)
class NewJob:
    """A job on its way into the ledger; the columns of `Job` that the sender decides.

    Attributes:
        args: Encoded positional arguments, a JSON array.
        kwargs: Encoded keyword arguments, a JSON object.
        options: Encoded message options, a JSON object.
        tags: Encoded labels, a JSON array, or None.
        run_at: UTC text of `statements.moment`, or None = `delay_ms` from now.
        delay_ms: ms from the database's now.
    """

    id: str
    tenant: str
    owner: str
    queue: str
    actor: str
    state: str
    priority: int
    args: str
    kwargs: str
    options: str
    fallback: str
    tags: str | None = None
    dedup_key: str | None = None
    correlation_id: str | None = None
    parent_id: str | None = None
    run_at: str | None = None
    delay_ms: int = 0
    expires_at: str | None = None
    max_attempts: int | None = None
    sensitive: bool = False


@dataclass(slots=True)
class Claimed:
    """A job as its claimer sees it: decoded arguments, and the fence that guards every later write."""

    id: str
    queue: str
    actor: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    created_ms: int
    tenant: str
    owner: str
    priority: int
    correlation_id: str | None
    attempt: int
    max_attempts: int | None
    fence: int
    crashes: int
    hand_backs: int
    sensitive: bool
    run_ms: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Due:
    """A waiting job as a transport needs it: id, queue and place in the order."""

    id: str
    queue: str
    priority: int
    run_ms: int


@dataclass(frozen=True, slots=True)
class Stray:
    """A claim as the ledger has it."""

    id: str
    fence: int
    queue: str
    priority: int
    run_ms: int


@dataclass(slots=True)
class Ending:
    """How a claim ended other than by completing (T5, T6).

    Attributes:
        state: `delayed`, `waiting`, `failed` or `cancelled`.
        delay_ms: ms to the next attempt when `delayed`.
        charged: 1, or 0 for a hand-back.
        outcome: What the attempt's record says.
        crashes: 1 when the process of the job died.
    """

    id: str
    fence: int
    state: str
    outcome: str
    delay_ms: int = 0
    charged: int = 1
    error: str | None = None
    traceback: str | None = None
    reason: str | None = None
    result: str | None = None
    crashes: int = 0


def insert(connection: Connection, jobs: Sequence[NewJob]) -> dict[str, int]:
    """T1: store jobs; return when each is due (ms since 1970) by id. A missing id met a live twin or itself."""
    rows = [dict(zip(NewJob.__slots__, _values(job), strict=True)) for job in jobs]
    return {row[0]: row[1] for row in run(connection, moves.INSERT, rows=json.dumps(rows))}


def _values(job: NewJob) -> Iterable[Any]:
    return (getattr(job, name) for name in NewJob.__slots__)


def claim(connection: Connection, worker: str, ids: Sequence[str], *, suspects: bool = True) -> list[Claimed]:
    """T4: claim those of the announced jobs that may run now.

    Args:
        connection: One on which the statement commits by itself, or a transaction.
        worker: The claimer.
        ids: The jobs.
        suspects: Whether jobs are wanted that ended a process before.
    """
    return _claimed(run(connection, moves.CLAIM, worker=worker, ids=list(ids), suspects=suspects))


def claim_next(connection: Connection, worker: str, queue: str, n: int, *, suspects: bool = True) -> list[Claimed]:
    """T4: claim the next `n` waiting jobs of a queue, by priority, then by time; otherwise like `claim`."""
    return _claimed(run(connection, moves.CLAIM_NEXT, worker=worker, queue=queue, n=n, suspects=suspects))


def _claimed(result: Any) -> list[Claimed]:
    """Return the rows of a claim, read from the driver itself: this is the hottest path there is."""
    rows = result.cursor.fetchall()
    result.close()
    claimed = [
        Claimed(id, queue, actor, _loads(args), _loads(kwargs), _loads(options), *rest)
        for id, queue, actor, args, kwargs, options, *rest in rows
    ]
    claimed.sort(key=lambda job: (job.priority, job.run_ms, job.sequence))
    return claimed


def _loads(text: str) -> Any:
    """Return a JSON array or object; the empty ones, which most are, without the parser."""
    return [] if text == "[]" else {} if text == "{}" else json.loads(text)


def complete(connection: Connection, worker: str, ends: Sequence[tuple[str, int, str | None]]) -> set[str]:
    """T5: record results, given as (id, fence, encoded result); return the ids whose claim still held."""
    rows = [{"id": id, "fence": fence, "result": result} for id, fence, result in ends]
    return {
        row[0]
        for row in run(connection, moves.COMPLETE, worker=worker, ids=[end[0] for end in ends], rows=json.dumps(rows))
    }


def end(connection: Connection, worker: str, endings: Sequence[Ending]) -> dict[str, str]:
    """T5, T6: record attempts that did not complete; return the new state of each whose claim still held."""
    rows = json.dumps([asdict(ending) for ending in endings])
    ids = [ending.id for ending in endings]
    run(connection, moves.RECORD_ATTEMPTS, worker=worker, ids=ids, rows=rows)
    return {row[0]: row[1] for row in run(connection, moves.END, worker=worker, ids=ids, rows=rows)}


def promote(connection: Connection, n: int = 1000) -> list[Due]:
    """T2: make delayed jobs whose time has come waiting."""
    return [Due(*row) for row in run(connection, moves.PROMOTE, n=n)]


def hasten(connection: Connection, *, ids: Sequence[str] | None = None, queue: str | None = None) -> None:
    """T2 before its time: make delayed jobs waiting, those named or those of a queue; None = any."""
    run(
        connection,
        moves.HASTEN,
        any_id=ids is None,
        ids=list(ids or ()),
        any_queue=queue is None,
        queue=queue or "",
    )


def strays(connection: Connection, worker: str, age_ms: int) -> list[Stray]:
    """Return the jobs that a worker has held for more than `age_ms`, by the ledger."""
    return [Stray(*row) for row in run(connection, moves.STRAYS, worker=worker, age_ms=-age_ms)]


def cancel(connection: Connection, id: str, reason: str) -> bool:
    """T9: cancel a job that is not active; tell whether it was."""
    return run(connection, moves.CANCEL, id=id, reason=reason).first() is not None


def request_cancel(connection: Connection, id: str) -> bool:
    """T9: ask the holder of an active job to stop; tell whether there is one."""
    return run(connection, moves.REQUEST_CANCEL, id=id).first() is not None


def expire(connection: Connection, n: int = 1000) -> list[Any]:
    """T10: fail jobs whose time to run is over; return (id, queue, actor, tenant, attempt)."""
    return list(run(connection, moves.EXPIRE, n=n))


def reopen(connection: Connection, id: str, attempts: int) -> Due | None:
    """T11: make a failed or cancelled job waiting again, with that many more attempts."""
    row = run(connection, moves.REOPEN, id=id, attempts=attempts).first()
    return Due(*row) if row else None


def rescue(connection: Connection, worker: str, blamed: Sequence[str] | None, error: str) -> list[Any]:
    """T7: take the jobs of a dead worker back.

    Args:
        connection: In a transaction.
        worker: The worker whose lease expired; checked again in the statement.
        blamed: The jobs that were running when it died; None = unknown, all of them.
        error: What the blamed jobs' attempts record.

    Returns:
        Rows of (id, state, queue, priority, due in ms, actor, tenant, attempt, reason).
    """
    held = [row[0] for row in run(connection, moves.HOLD_DEAD, worker=worker)]
    if not held:
        return []
    known = {
        "worker": worker,
        "ids": held,
        "all_blamed": blamed is None,
        "blamed": list(blamed or ()),
        "error": error,
    }
    run(connection, moves.RECORD_CRASHES, **known)
    return list(run(connection, moves.RESCUE, max_crashes=MAX_CRASHES, **known))


def prune(
    connection: Connection,
    queues: Sequence[str],
    states: Sequence[str],
    age_ms: int,
    *,
    others: bool = False,
    n: int = 1000,
) -> int:
    """T12: delete up to `n` jobs that became terminal more than `age_ms` ago; return how many.

    Args:
        connection: In a transaction.
        queues: The queues meant; with `others` all but those.
        states: Terminal states.
        age_ms: How old, in ms since the end.
        others: Mean every queue that is not named.
        n: At the most so many.
    """
    rows = run(
        connection,
        moves.PRUNE,
        queues=list(queues),
        states=list(states),
        age_ms=-age_ms,
        others=others,
        n=n,
    )
    return _forget(connection, rows)


def trim(connection: Connection, queue: str, keep: int, n: int = 1000) -> int:
    """T12: delete up to `n` completed jobs of a queue beyond its newest `keep`; return how many."""
    return _forget(connection, run(connection, moves.TRIM, queue=queue, keep=keep, n=n))


def _forget(connection: Connection, rows: Iterable[Any]) -> int:
    ids = [row[0] for row in rows]
    if ids:
        forget(connection, ids)
    return len(ids)


def forget(connection: Connection, ids: Sequence[str]) -> None:
    """Delete what the ledger still holds about deleted jobs."""
    run(connection, moves.PRUNE_ATTEMPTS, ids=list(ids))
    run(connection, moves.PRUNE_EVENTS, ids=list(ids))


def record_event(connection: Connection, id: str, kind: str, message: str, attempt: int = 0) -> None:
    """Add a line to a job's timeline; nothing happens when the job is gone."""
    run(connection, moves.RECORD_EVENT, id=id, kind=kind, message=message, attempt=attempt)
