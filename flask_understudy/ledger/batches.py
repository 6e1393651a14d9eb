"""Batches: counting them, ending each of their ends once, and opening them again.

A batch is over when none of its jobs lives. Whoever ends a job looks after its own commit, so of two last jobs that end
at once at least the later one's worker sees it. What decides is the batch's row: it is locked before its jobs are
counted, by who closes it, who opens it again and who adds to it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from .job import CANCELLED, FAILED, TERMINAL
from .statements import run

MOST = 100

INSERT = """
INSERT INTO understudy_batches (id, tenant, owner, name, total, concurrency, callbacks, created_at)
SELECT :id, :tenant, :owner, :name, :total, CAST(:concurrency AS integer), <json::callbacks>, <now>"""

EXTEND = "UPDATE understudy_batches SET total = total + :n WHERE id = :id"

#: Whether a time is NULL is not asked in here: SQLite 3.40 was seen to answer that of a RETURNING the wrong way round.
HOLD = """
UPDATE understudy_batches SET total = total WHERE id = :id
RETURNING tenant, concurrency, finished_at, cancelled_at"""

_LIVE = """EXISTS (SELECT 1 FROM understudy_jobs AS j
    WHERE j.batch_id = b.id AND j.batch_id IS NOT NULL AND j.state IN ('delayed', 'waiting', 'active'))"""

OVER = f"""
SELECT b.id FROM understudy_batches AS b
WHERE b.finished_at IS NULL AND (:any_id OR b.id <any:ids>) AND NOT {_LIVE} LIMIT {MOST}"""  # noqa: S608 - constants

COUNTS = """
SELECT batch_id, state, count(*) FROM understudy_jobs WHERE batch_id <any:ids> AND batch_id IS NOT NULL
GROUP BY batch_id, state"""

FINISH = """
UPDATE understudy_batches SET finished_at = <now>, completed = completed + :completed, failed = failed + :failed,
    cancelled = cancelled + :cancelled
WHERE id = :id AND finished_at IS NULL
RETURNING id, tenant, owner, failed, cancelled, <text:callbacks>"""

CONCURRENCY = "SELECT concurrency FROM understudy_batches WHERE id = :id"

NOTE_ERROR = "UPDATE understudy_batches SET error = :error WHERE id = :id"

REOPEN = """
UPDATE understudy_batches SET finished_at = NULL, cancelled_at = NULL, error = NULL,
    completed = completed - :completed, failed = failed - :failed, cancelled = cancelled - :cancelled
WHERE id = :id AND finished_at IS NOT NULL"""

ABANDON = """
UPDATE understudy_batches SET cancelled_at = coalesce(cancelled_at, <now>)
WHERE id = :id AND finished_at IS NULL RETURNING id"""

ABANDONED = f"""
SELECT id FROM understudy_batches WHERE finished_at IS NULL AND cancelled_at IS NOT NULL LIMIT {MOST}"""  # noqa: S608

OF_STATES = """
SELECT id FROM understudy_jobs WHERE batch_id = :id AND batch_id IS NOT NULL AND state <any:states> LIMIT :n"""

FORGET = """
DELETE FROM understudy_batches WHERE finished_at < <after::age_ms>
    AND NOT EXISTS (SELECT 1 FROM understudy_jobs AS j WHERE j.batch_id = understudy_batches.id)"""


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch on its way into the ledger, or one that is added to.

    Attributes:
        callbacks: Encoded messages by what they are for.
        is_known: Whether it is there already.
    """

    id: str
    tenant: str
    owner: str = ""
    name: str = ""
    concurrency: int | None = None
    callbacks: str = "{}"
    is_known: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """A batch that has just ended.

    Attributes:
        callbacks: Messages by what they are for.
    """

    id: str
    tenant: str
    owner: str
    failed: int
    cancelled: int
    callbacks: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Held:
    """A batch whose row is locked."""

    tenant: str
    concurrency: int | None
    is_open: bool
    is_cancelled: bool


def store(connection: Connection, batch: NewBatch, n: int) -> None:
    """Store a batch of `n` jobs, or so many more in one that is known, in the transaction that stores them."""
    if batch.is_known:
        run(connection, EXTEND, id=batch.id, n=n)
        return
    run(
        connection,
        INSERT,
        id=batch.id,
        tenant=batch.tenant,
        owner=batch.owner,
        name=batch.name,
        total=n,
        concurrency=batch.concurrency,
        callbacks=batch.callbacks,
    )


def hold(connection: Connection, id: str) -> Held | None:
    """Lock a batch for the rest of the transaction; None when there is none."""
    row = run(connection, HOLD, id=id).first()
    return None if row is None else Held(row[0], row[1], row[2] is None, row[3] is not None)


def over(connection: Connection, ids: Sequence[str] | None = None) -> list[str]:
    """Return open batches none of whose jobs lives, of those given or of all."""
    return list(run(connection, OVER, any_id=ids is None, ids=list(ids or ())).scalars())


def close(connection: Connection, id: str) -> Ended | None:
    """End a batch if all its jobs have ended; None when they have not or somebody else was faster.

    Args:
        connection: In a transaction, which is to store its callbacks too.
        id: The batch.
    """
    held = hold(connection, id)
    if held is None or not held.is_open:
        return None
    counts = counted(connection, [id])[id]
    if any(n for state, n in counts.items() if state not in TERMINAL):
        return None
    row = run(connection, FINISH, id=id, **{state: counts[state] for state in TERMINAL}).one()
    _, tenant, owner, failed, cancelled, callbacks = row
    return Ended(id, tenant, owner, failed, cancelled, json.loads(callbacks))


def counted(connection: Connection, ids: Sequence[str]) -> dict[str, Counter[str]]:
    """Return how many jobs of each batch are in each state."""
    counts: dict[str, Counter[str]] = {id: Counter() for id in ids}
    for id, state, n in run(connection, COUNTS, ids=list(ids)):
        counts[id][state] = n
    return counts


def note_error(connection: Connection, id: str, error: str) -> None:
    """Keep why something could not be sent at the end of a batch."""
    run(connection, NOTE_ERROR, id=id, error=error)


def reopen(connection: Connection, reopened: Iterable[tuple[str, str]]) -> None:
    """Open the batches again whose jobs were reopened, given as (batch, the job's state before).

    Args:
        connection: In the transaction that reopened the jobs.
        reopened: The jobs' batches.
    """
    before: dict[str, Counter[str]] = {}
    for id, state in reopened:
        before.setdefault(id, Counter())[state] += 1
    for id in sorted(before):
        held = hold(connection, id)
        if held is None or held.is_open:
            continue
        counts = counted(connection, [id])[id]
        for state in (FAILED, CANCELLED):
            counts[state] += before[id][state]
        run(connection, REOPEN, id=id, **{state: counts[state] for state in TERMINAL})


def abandon(connection: Connection, id: str) -> bool:
    """Note that the rest of a batch is cancelled; tell whether it was open."""
    return run(connection, ABANDON, id=id).first() is not None


def abandoned(connection: Connection) -> list[str]:
    """Return open batches whose rest is cancelled."""
    return list(run(connection, ABANDONED).scalars())


def concurrency(connection: Connection, id: str) -> int | None:
    """Return how many jobs of a batch may run at a time; None = any number, or there is no such batch."""
    return run(connection, CONCURRENCY, id=id).scalar()  # type: ignore[no-any-return]


def of_states(connection: Connection, id: str, states: Sequence[str], n: int) -> list[str]:
    """Return up to `n` jobs of a batch that are in one of the states."""
    return list(run(connection, OF_STATES, id=id, states=list(states), n=n).scalars())


def forget(connection: Connection, age_ms: int) -> None:
    """Delete batches that ended longer ago than that and have no jobs any more."""
    run(connection, FORGET, age_ms=-age_ms)
