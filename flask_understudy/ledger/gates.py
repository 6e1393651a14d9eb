"""Limits by key (invariant I10): a job that shares a key with others waits behind a gate until it is admitted.

Claims pass over what is behind a gate as if it were not there, so jobs without a key pay nothing for those with one,
and waiting burns no attempt. A job comes to wait behind its gate whenever it is sent, put off, handed back or reopened;
`admit` alone lets it through, and counts under a lock of the key: jobs that are through and wait or run have their
places, and each job that is not through has none. So the count holds over all processes at any instant, however late
the jobs that are through are started.

A rate counts starts within its span of time. A pass is written for each job that is let through; it counts as long as
the job has not started, and for the length of the span afterwards. Whatever lies between admission and start, any span
of that length sees no more starts than allowed: let the last of them be the one that was admitted last; at its
admission each of the others was either not started yet or started within the span before, and was counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from .limit import Numbers
from .locking import lock, locked
from .statements import run
from .transitions import Due
from .turns import TURN

MOST_KEYS = 100
MOST_AT_ONCE = 1_000

Key = tuple[str, str]

_ROWS = "<rows:tenant text, key text>"

_ADMITTED = """(SELECT count(*) FROM understudy_jobs AS a WHERE a.tenant = l.tenant AND a.limit_key = l.key
    AND a.gate IS NULL AND a.state IN ('waiting', 'active'))"""

_GATED = """EXISTS (SELECT 1 FROM understudy_jobs AS g
    WHERE g.state = 'waiting' AND g.gate IS NOT NULL AND g.tenant = l.tenant AND g.gate = l.key)"""

_HAS_ROOM = f"(l.rate IS NOT NULL OR l.concurrency > {_ADMITTED})"

#: The keys among those given with jobs behind their gates and, by a look without a lock, room for them. Whoever makes
#: room looks after its own commit, and so does whoever sends; the later one of the two sees both.
PROMISING = f"""
SELECT l.tenant, l.key FROM {_ROWS} JOIN understudy_limits AS l ON l.tenant = r.tenant AND l.key = r.key
WHERE {_GATED} AND {_HAS_ROOM}"""  # noqa: S608

ALL_PROMISING = f"SELECT l.tenant, l.key FROM understudy_limits AS l WHERE {_GATED} AND {_HAS_ROOM}"  # noqa: S608

RATED = f"""
SELECT l.tenant, l.key, l.per_ms FROM {_ROWS} JOIN understudy_limits AS l ON l.tenant = r.tenant AND l.key = r.key
WHERE l.rate IS NOT NULL"""  # noqa: S608

#: How many more jobs of each key may pass; NULL = any number.
ROOM = f"""
SELECT l.tenant, l.key, l.rate IS NOT NULL, l.concurrency - {_ADMITTED},
    l.rate - (SELECT count(*) FROM understudy_passes AS p WHERE p.tenant = l.tenant AND p.key = l.key
        AND (p.started_at IS NULL OR p.started_at > <after:-l.per_ms>))
FROM {_ROWS} JOIN understudy_limits AS l ON l.tenant = r.tenant AND l.key = r.key"""  # noqa: S608

#: What is in a paused queue is left behind its gate: it would keep others from starting.
ADMIT = f"""
WITH first AS (SELECT id AS first_id FROM understudy_jobs
    WHERE tenant = :tenant AND gate = :key AND gate IS NOT NULL AND state = 'waiting'
        AND (expires_at IS NULL OR expires_at > <now>)
        AND queue NOT IN (SELECT name FROM understudy_queues WHERE paused_at IS NOT NULL) AND <unsynced>
    ORDER BY <in order> LIMIT :n <skip locked>)
UPDATE understudy_jobs SET gate = NULL FROM first WHERE id = first_id
RETURNING id, queue, priority, <ms:{TURN}>, fence"""  # noqa: S608

GIVE_PASSES = """
INSERT INTO understudy_passes (job_id, fence, tenant, key)
SELECT r.job_id, r.fence, :tenant, :key FROM <rows:job_id text, fence integer> WHERE true
ON CONFLICT (job_id, fence) DO NOTHING"""

#: A pass is used by the claim that follows it, and no job is claimed again without another one: so the job's start is
#: that claim's. Of a job that is gone nobody knows when it started: now at the latest.
NOTE_STARTS = """
UPDATE understudy_passes SET started_at = coalesce(
    (SELECT j.started_at FROM understudy_jobs AS j WHERE j.id = job_id AND j.fence > understudy_passes.fence), <now>)
WHERE tenant = :tenant AND key = :key AND started_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM understudy_jobs AS j WHERE j.id = job_id AND j.fence = understudy_passes.fence)"""

TAKE_BACK_PASSES = """
DELETE FROM understudy_passes WHERE tenant = :tenant AND key = :key AND (started_at < <after::age_ms> OR (
    started_at IS NULL AND EXISTS (SELECT 1 FROM understudy_jobs AS j WHERE j.id = job_id
        AND j.fence = understudy_passes.fence AND (j.state <> 'waiting' OR j.gate IS NOT NULL))))"""

DECLARE = """
INSERT INTO understudy_limits (tenant, key, concurrency, rate, per_ms, is_set, changed_at)
SELECT :tenant, :key, CAST(:concurrency AS integer), CAST(:rate AS integer), CAST(:per_ms AS bigint), :is_set, <now>
WHERE true
ON CONFLICT (tenant, key) DO UPDATE SET concurrency = excluded.concurrency, rate = excluded.rate,
    per_ms = excluded.per_ms, is_set = excluded.is_set, changed_at = excluded.changed_at
WHERE :overrides AND (excluded.is_set OR NOT understudy_limits.is_set)
    AND (excluded.is_set <> understudy_limits.is_set
        OR coalesce(excluded.concurrency, 0) <> coalesce(understudy_limits.concurrency, 0)
        OR coalesce(excluded.rate, 0) <> coalesce(understudy_limits.rate, 0)
        OR coalesce(excluded.per_ms, 0) <> coalesce(understudy_limits.per_ms, 0))
RETURNING key"""

WITHDRAW = """
UPDATE understudy_jobs SET gate = limit_key
WHERE tenant = :tenant AND limit_key = :key AND limit_key IS NOT NULL AND gate IS NULL AND state = 'waiting'"""

TOUCH = "UPDATE understudy_limits SET changed_at = <now> WHERE tenant = :tenant AND key = :key"

WITHDRAW_PAUSED = """
UPDATE understudy_jobs SET gate = limit_key
WHERE limit_key IS NOT NULL AND gate IS NULL AND state IN ('waiting', 'active') AND state = 'waiting'
    AND queue IN (SELECT name FROM understudy_queues WHERE paused_at IS NOT NULL)"""

#: Keys that jobs wait for and that have no row: their sender died in between, or the row was forgotten too early.
UNKNOWN = """
SELECT g.tenant, g.gate, min(g.actor) FROM understudy_jobs AS g
WHERE g.state = 'waiting' AND g.gate IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM understudy_limits AS l WHERE l.tenant = g.tenant AND l.key = g.gate)
GROUP BY g.tenant, g.gate LIMIT 1000"""

FORGET = """
DELETE FROM understudy_limits WHERE NOT is_set AND changed_at < <after::age_ms>
    AND NOT EXISTS (SELECT 1 FROM understudy_jobs AS j
        WHERE j.tenant = understudy_limits.tenant AND j.limit_key = understudy_limits.key
        AND j.limit_key IS NOT NULL AND j.gate IS NULL AND j.state IN ('waiting', 'active'))
    AND NOT EXISTS (SELECT 1 FROM understudy_jobs AS j WHERE j.state = 'waiting' AND j.gate IS NOT NULL
        AND j.tenant = understudy_limits.tenant AND j.gate = understudy_limits.key)
    AND NOT EXISTS (SELECT 1 FROM understudy_passes AS p
        WHERE p.tenant = understudy_limits.tenant AND p.key = understudy_limits.key
        AND (p.started_at IS NULL OR p.started_at > <after:-understudy_limits.per_ms>))"""

FORGET_ONE = "DELETE FROM understudy_limits WHERE tenant = :tenant AND key = :key RETURNING key"

FORGET_PASSES = """
DELETE FROM understudy_passes WHERE NOT EXISTS (SELECT 1 FROM understudy_limits AS l
    WHERE l.tenant = understudy_passes.tenant AND l.key = understudy_passes.key AND l.rate IS NOT NULL)"""


def promising(connection: Connection, keys: Iterable[Key] | None = None) -> list[Key]:
    """Return the keys, of those given or of all, whose jobs could be admitted now."""
    if keys is None:
        return [(tenant, key) for tenant, key in run(connection, ALL_PROMISING)]
    return [(tenant, key) for tenant, key in run(connection, PROMISING, rows=_rows(keys))]


def admit(connection: Connection, keys: Sequence[Key]) -> list[Due]:
    """Let the first jobs of each key pass, as far as there is room; return them.

    Args:
        connection: Of `Database.claims`; what is lost with it in a crash is admitted anew.
        keys: At most `MOST_KEYS`.
    """
    admitted: list[Due] = []
    with locked(connection, map(_lock, keys)):
        for tenant, key, per_ms in run(connection, RATED, rows=_rows(keys)).all():
            run(connection, NOTE_STARTS, tenant=tenant, key=key)
            run(connection, TAKE_BACK_PASSES, tenant=tenant, key=key, age_ms=-per_ms)
        for tenant, key, is_rated, places, starts in run(connection, ROOM, rows=_rows(keys)).all():
            n = min(MOST_AT_ONCE, *(room for room in (places, starts) if room is not None))
            if n > 0:
                admitted += _admit(connection, tenant, key, n, is_rated)
    return admitted


def _admit(connection: Connection, tenant: str, key: str, n: int, is_rated: bool) -> list[Due]:
    rows = run(connection, ADMIT, tenant=tenant, key=key, n=n).all()
    if rows and is_rated:
        passes = json.dumps([{"job_id": row[0], "fence": row[4]} for row in rows])
        run(connection, GIVE_PASSES, tenant=tenant, key=key, rows=passes)
    return [Due(id, queue, priority, turn) for id, queue, priority, turn, _ in rows]


def declare(connection: Connection, key: Key, numbers: Numbers, *, is_set: bool = False) -> None:
    """Say what a key allows, unless an operator said otherwise; with `is_set` this is the operator.

    Where that changes it, what has been admitted and not started goes back behind the gate.

    Args:
        connection: Of `Database.claims`.
        key: Tenant and key.
        numbers: What it allows.
        is_set: Whether an operator says so.
    """
    with locked(connection, [_lock(key)]):
        _declare(connection, key, numbers, is_set)


def declare_within(connection: Connection, key: Key, numbers: Numbers, *, is_set: bool = False) -> None:
    """Do what `declare` does in a transaction of the caller's, which should end soon."""
    lock(connection, [_lock(key)])
    _declare(connection, key, numbers, is_set)


def _declare(connection: Connection, key: Key, numbers: Numbers, is_set: bool) -> None:
    tenant, name = key
    changed = run(
        connection,
        DECLARE,
        tenant=tenant,
        key=name,
        concurrency=numbers.concurrency,
        rate=numbers.rate,
        per_ms=numbers.per_ms,
        is_set=is_set,
        overrides=numbers.overrides,
    ).all()
    if changed:
        run(connection, WITHDRAW, tenant=tenant, key=name)
        run(connection, TOUCH, tenant=tenant, key=name)


def withdraw_paused(connection: Connection) -> None:
    """Put jobs of paused queues back behind their gates, so that they keep nobody from starting."""
    run(connection, WITHDRAW_PAUSED)


def unknown(connection: Connection) -> list[tuple[str, str, str]]:
    """Return keys that jobs wait for and that nobody declared, as (tenant, key, an actor)."""
    return [(tenant, key, actor) for tenant, key, actor in run(connection, UNKNOWN)]


def forget_one(connection: Connection, key: Key) -> bool:
    """Delete what is known of a key, so that it is declared anew; tell whether anything was."""
    lock(connection, [_lock(key)])
    return run(connection, FORGET_ONE, tenant=key[0], key=key[1]).first() is not None


def forget(connection: Connection, age_ms: int) -> None:
    """Delete the rows of keys that no job has waited for, run under or counts against, if they are older than that."""
    run(connection, FORGET, age_ms=-age_ms)
    run(connection, FORGET_PASSES)


def _rows(keys: Iterable[Key]) -> str:
    return json.dumps([{"tenant": tenant, "key": key} for tenant, key in keys])


def _lock(key: Key) -> str:
    return f"key {key[0]} {key[1]}"


__all__ = [
    "MOST_KEYS",
    "Key",
    "admit",
    "declare",
    "declare_within",
    "forget",
    "forget_one",
    "promising",
    "unknown",
    "withdraw_paused",
]
