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

from .statements import run

MAX_HAND_BACKS = 50
MAX_CRASHES = 3

_ROW = (
    "id text, tenant text, owner text, queue text, actor text, state text, priority integer, args text, kwargs text, "
    "options text, fallback text, tags text, dedup_key text, correlation_id text, parent_id text, run_at text, "
    "delay_ms bigint, expires_at text, max_attempts integer, sensitive boolean"
)

INSERT = f"""
INSERT INTO understudy_jobs (id, tenant, owner, queue, actor, state, priority, args, kwargs, options, fallback, tags,
    dedup_key, correlation_id, parent_id, run_at, expires_at, created_at, max_attempts, sensitive)
SELECT r.id, r.tenant, r.owner, r.queue, r.actor, r.state, r.priority, <json:r.args>, <json:r.kwargs>,
    <json:r.options>, r.fallback, <json:r.tags>, r.dedup_key, r.correlation_id, r.parent_id,
    coalesce(<time:r.run_at>, <after:r.delay_ms>), <time:r.expires_at>, <now>, r.max_attempts, r.sensitive
FROM <rows:{_ROW}> WHERE true
ON CONFLICT DO NOTHING
RETURNING id, <ms:run_at>"""  # noqa: S608 - constants of this module

_CLAIMED = """attempt = attempt + 1, fence = fence + 1, state = 'active', worker_id = :worker, started_at = <now>,
    cancel_requested_at = NULL
FROM due WHERE id = due_id
RETURNING id, queue, actor, args, kwargs, options, <ms:created_at>, tenant, owner, priority, correlation_id, attempt,
    max_attempts, fence, crashes, hand_backs, sensitive, <ms:run_at>, <sequence>"""

_CLAIMABLE = """state = 'waiting' AND (expires_at IS NULL OR expires_at > <now>)
    AND NOT EXISTS (SELECT 1 FROM understudy_queues AS q WHERE q.name = queue AND q.paused_at IS NOT NULL)"""

CLAIM = f"""
WITH due AS (SELECT id AS due_id FROM understudy_jobs
    WHERE id <any:ids> AND {_CLAIMABLE} AND <unsynced> <skip locked>)
UPDATE understudy_jobs SET {_CLAIMED}"""  # noqa: S608

CLAIM_NEXT = f"""
WITH due AS (SELECT id AS due_id FROM understudy_jobs
    WHERE queue = :queue AND {_CLAIMABLE} AND <unsynced>
    ORDER BY <in order> LIMIT :n <skip locked>)
UPDATE understudy_jobs SET {_CLAIMED}"""  # noqa: S608

_HELD = """understudy_jobs.id = r.id AND understudy_jobs.fence = r.fence AND understudy_jobs.worker_id = :worker
    AND understudy_jobs.state = 'active'"""

COMPLETE = f"""
UPDATE understudy_jobs SET state = 'completed', finished_at = <now>, progress = 100, error = NULL, reason = NULL,
    result = <json:r.result>
FROM <rows:id text, fence integer, result text> WHERE {_HELD}
RETURNING understudy_jobs.id"""  # noqa: S608

_ENDING = (
    "id text, fence integer, state text, delay_ms bigint, charged integer, outcome text, error text, traceback text, "
    "reason text, result text, crashes integer"
)

RECORD_ATTEMPTS = f"""
INSERT INTO understudy_attempts (job_id, fence, number, worker_id, started_at, finished_at, outcome, error, traceback)
SELECT r.id, r.fence, attempt, worker_id, started_at, <now>, r.outcome, r.error, r.traceback
FROM <rows:{_ENDING}> JOIN understudy_jobs ON {_HELD} WHERE true
ON CONFLICT DO NOTHING"""  # noqa: S608

END = f"""
UPDATE understudy_jobs SET
    state = CASE WHEN cancel_requested_at IS NOT NULL AND r.state IN ('delayed', 'waiting') THEN 'cancelled'
        ELSE r.state END,
    finished_at = CASE WHEN r.state IN ('failed', 'cancelled') OR cancel_requested_at IS NOT NULL THEN <now> END,
    run_at = CASE WHEN r.state = 'delayed' THEN <after:r.delay_ms> ELSE run_at END,
    attempt = attempt - 1 + r.charged, hand_backs = hand_backs + 1 - r.charged,
    crashes = understudy_jobs.crashes + r.crashes,
    error = coalesce(r.error, understudy_jobs.error), reason = r.reason, result = <json:r.result>
FROM <rows:{_ENDING}> WHERE {_HELD}
RETURNING understudy_jobs.id, understudy_jobs.state, queue, priority, <ms:run_at>"""  # noqa: S608

PROMOTE = """
WITH due AS (SELECT id AS due_id FROM understudy_jobs WHERE state = 'delayed' AND run_at <= <now>
    ORDER BY run_at LIMIT :n <skip locked>)
UPDATE understudy_jobs SET state = 'waiting' FROM due WHERE id = due_id
RETURNING id, queue, priority, <ms:run_at>"""

CANCEL = """
UPDATE understudy_jobs SET state = 'cancelled', finished_at = <now>, reason = :reason
WHERE id = :id AND state IN ('delayed', 'waiting') RETURNING id"""

REQUEST_CANCEL = """
UPDATE understudy_jobs SET cancel_requested_at = coalesce(cancel_requested_at, <now>)
WHERE id = :id AND state = 'active' RETURNING id"""

EXPIRE = """
WITH due AS (SELECT id AS due_id FROM understudy_jobs
    WHERE state IN ('delayed', 'waiting') AND expires_at IS NOT NULL AND expires_at <= <now> LIMIT :n <skip locked>)
UPDATE understudy_jobs SET state = 'failed', reason = 'expired', error = 'Expired before it could run',
    finished_at = <now>
FROM due WHERE id = due_id
RETURNING id, queue, actor, tenant, attempt"""

REOPEN = """
UPDATE understudy_jobs SET state = 'waiting', run_at = <now>, finished_at = NULL, reason = NULL, crashes = 0,
    hand_backs = 0, cancel_requested_at = NULL, expires_at = NULL, progress = 0,
    max_attempts = CASE WHEN max_attempts IS NULL THEN NULL ELSE attempt + :attempts END
WHERE id = :id AND state IN ('failed', 'cancelled') RETURNING id, queue, priority, <ms:run_at>"""


_DEAD = """j.state = 'active' AND j.worker_id = :worker
    AND EXISTS (SELECT 1 FROM understudy_workers AS w WHERE w.id = :worker AND w.lease_until < <now>)"""

RECORD_CRASHES = f"""
INSERT INTO understudy_attempts (job_id, fence, number, worker_id, started_at, finished_at, outcome, error)
SELECT j.id, j.fence, j.attempt, j.worker_id, j.started_at, <now>,
    CASE WHEN :all_blamed OR j.id <any:blamed> THEN 'crashed' ELSE 'handed_back' END, :error
FROM understudy_jobs AS j WHERE {_DEAD}
ON CONFLICT DO NOTHING"""  # noqa: S608

RESCUE = f"""
WITH held AS (SELECT j.id AS held_id, CASE WHEN :all_blamed OR j.id <any:blamed> THEN 1 ELSE 0 END AS blamed
    FROM understudy_jobs AS j WHERE {_DEAD} <skip locked>),
judged AS (SELECT h.held_id, h.blamed, CASE WHEN k.cancel_requested_at IS NOT NULL THEN 'cancelled'
        WHEN h.blamed = 1 AND k.crashes + 1 >= :max_crashes THEN 'poison'
        WHEN h.blamed = 1 AND k.attempt >= k.max_attempts THEN 'exhausted' END AS verdict
    FROM held AS h JOIN understudy_jobs AS k ON k.id = h.held_id)
UPDATE understudy_jobs SET
    state = CASE WHEN verdict IS NULL THEN 'waiting' WHEN verdict = 'cancelled' THEN 'cancelled' ELSE 'failed' END,
    reason = verdict, finished_at = CASE WHEN verdict IS NOT NULL THEN <now> END,
    error = CASE WHEN blamed = 1 THEN :error ELSE error END,
    crashes = crashes + blamed, attempt = attempt - 1 + blamed, hand_backs = hand_backs + 1 - blamed
FROM judged WHERE id = held_id
RETURNING id, state, queue, priority, <ms:run_at>, actor, tenant, attempt, reason"""  # noqa: S608

PRUNE = """
DELETE FROM understudy_jobs WHERE id IN (SELECT id FROM understudy_jobs
    WHERE state <any:states> AND (queue <any:queues>) <> :others AND finished_at < <after::age_ms>
    ORDER BY finished_at LIMIT :n)
AND state IN ('completed', 'failed', 'cancelled') RETURNING id"""

TRIM = """
DELETE FROM understudy_jobs WHERE id IN (SELECT id FROM understudy_jobs
    WHERE state = 'completed' AND queue = :queue ORDER BY finished_at DESC LIMIT :n OFFSET :keep)
AND state = 'completed' RETURNING id"""

PRUNE_ATTEMPTS = "DELETE FROM understudy_attempts WHERE job_id <any:ids>"
PRUNE_EVENTS = "DELETE FROM understudy_job_events WHERE job_id <any:ids>"

RECORD_EVENT = """
INSERT INTO understudy_job_events (job_id, at, kind, attempt, message)
SELECT j.id, <now>, :kind, :attempt, :message FROM understudy_jobs AS j WHERE j.id = :id"""


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


@dataclass(frozen=True, slots=True)
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
    return {row[0]: row[1] for row in run(connection, INSERT, rows=json.dumps(rows))}


def _values(job: NewJob) -> Iterable[Any]:
    return (getattr(job, name) for name in NewJob.__slots__)


def claim(connection: Connection, worker: str, ids: Sequence[str]) -> list[Claimed]:
    """T4: claim those of the announced jobs that may run now."""
    return _claimed(run(connection, CLAIM, worker=worker, ids=list(ids)))


def claim_next(connection: Connection, worker: str, queue: str, n: int) -> list[Claimed]:
    """T4: claim the next `n` waiting jobs of a queue, by priority, then by time."""
    return _claimed(run(connection, CLAIM_NEXT, worker=worker, queue=queue, n=n))


def _claimed(rows: Iterable[Any]) -> list[Claimed]:
    claimed = []
    for row in rows:
        values = list(row)
        for i in (3, 4, 5):
            if isinstance(values[i], str):
                values[i] = json.loads(values[i])
        claimed.append(Claimed(*values))
    claimed.sort(key=lambda job: (job.priority, job.run_ms, job.sequence))
    return claimed


def complete(connection: Connection, worker: str, ends: Sequence[tuple[str, int, str | None]]) -> set[str]:
    """T5: record results, given as (id, fence, encoded result); return the ids whose claim still held."""
    rows = [{"id": id, "fence": fence, "result": result} for id, fence, result in ends]
    return {row[0] for row in run(connection, COMPLETE, worker=worker, rows=json.dumps(rows))}


def end(connection: Connection, worker: str, endings: Sequence[Ending]) -> dict[str, str]:
    """T5, T6: record attempts that did not complete; return the new state of each whose claim still held."""
    rows = json.dumps([asdict(ending) for ending in endings])
    run(connection, RECORD_ATTEMPTS, worker=worker, rows=rows)
    return {row[0]: row[1] for row in run(connection, END, worker=worker, rows=rows)}


def promote(connection: Connection, n: int = 1000) -> list[Due]:
    """T2: make delayed jobs whose time has come waiting."""
    return [Due(*row) for row in run(connection, PROMOTE, n=n)]


def cancel(connection: Connection, id: str, reason: str) -> bool:
    """T9: cancel a job that is not active; tell whether it was."""
    return run(connection, CANCEL, id=id, reason=reason).first() is not None


def request_cancel(connection: Connection, id: str) -> bool:
    """T9: ask the holder of an active job to stop; tell whether there is one."""
    return run(connection, REQUEST_CANCEL, id=id).first() is not None


def expire(connection: Connection, n: int = 1000) -> list[Any]:
    """T10: fail jobs whose time to run is over; return (id, queue, actor, tenant, attempt)."""
    return list(run(connection, EXPIRE, n=n))


def reopen(connection: Connection, id: str, attempts: int) -> Due | None:
    """T11: make a failed or cancelled job waiting again, with that many more attempts."""
    row = run(connection, REOPEN, id=id, attempts=attempts).first()
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
    known = {
        "worker": worker,
        "all_blamed": blamed is None,
        "blamed": list(blamed or ()),
        "error": error,
    }
    run(connection, RECORD_CRASHES, **known)
    return list(run(connection, RESCUE, max_crashes=MAX_CRASHES, **known))


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
        PRUNE,
        queues=list(queues),
        states=list(states),
        age_ms=-age_ms,
        others=others,
        n=n,
    )
    return _forget(connection, rows)


def trim(connection: Connection, queue: str, keep: int, n: int = 1000) -> int:
    """T12: delete up to `n` completed jobs of a queue beyond its newest `keep`; return how many."""
    return _forget(connection, run(connection, TRIM, queue=queue, keep=keep, n=n))


def _forget(connection: Connection, rows: Iterable[Any]) -> int:
    ids = [row[0] for row in rows]
    if ids:
        forget(connection, ids)
    return len(ids)


def forget(connection: Connection, ids: Sequence[str]) -> None:
    """Delete what the ledger still holds about deleted jobs."""
    run(connection, PRUNE_ATTEMPTS, ids=list(ids))
    run(connection, PRUNE_EVENTS, ids=list(ids))


def record_event(connection: Connection, id: str, kind: str, message: str, attempt: int = 0) -> None:
    """Add a line to a job's timeline; nothing happens when the job is gone."""
    run(connection, RECORD_EVENT, id=id, kind=kind, message=message, attempt=attempt)
