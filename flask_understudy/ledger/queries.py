"""Reading the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from .attempt import Attempt, JobEvent
from .database import Database
from .job import ACTIVE, COMPLETED, DELAYED, FAILED, WAITING, Job
from .queue import Queue
from .scope import EVERYTHING, Scope
from .statements import run

#: What waits, in parts that each have an index of their own; the first is nearly all of it.
_WAITS = """
    SELECT queue, run_at FROM understudy_jobs WHERE state = 'waiting' AND NOT parked AND gate IS NULL
        AND (:any_tenant OR tenant = :tenant)
    UNION ALL SELECT queue, run_at FROM understudy_jobs WHERE state = 'waiting' AND parked
        AND (:any_tenant OR tenant = :tenant)
    UNION ALL SELECT queue, run_at FROM understudy_jobs WHERE state = 'waiting' AND NOT parked AND gate IS NOT NULL
        AND (:any_tenant OR tenant = :tenant)"""

OLDEST_BY_QUEUE = f"""
SELECT queue, <ms since:oldest>
FROM (SELECT queue, min(run_at) AS oldest FROM ({_WAITS}) AS waits GROUP BY queue) AS first"""  # noqa: S608 - constants

LEADING = "SELECT count(*) FROM understudy_leases WHERE name = 'clock' AND until >= <now>"

#: What has ended is counted in counts and in tallies that are not folded yet, the rest in the indexes of live jobs: all
#: of it in one statement, which sees one moment.
STATS = f"""
SELECT queue, state, CAST(sum(n) AS bigint) FROM (
    SELECT queue, 'waiting' AS state, count(*) AS n FROM ({_WAITS}) AS waits GROUP BY queue
    UNION ALL SELECT queue, 'delayed', count(*) FROM understudy_jobs WHERE state = 'delayed'
        AND (:any_tenant OR tenant = :tenant) GROUP BY queue
    UNION ALL SELECT queue, 'active', count(*) FROM understudy_jobs WHERE state = 'active'
        AND (:any_tenant OR tenant = :tenant) GROUP BY queue
    UNION ALL SELECT queue, state, n FROM understudy_counts WHERE (:any_tenant OR tenant = :tenant)
    UNION ALL SELECT queue, outcome, n FROM understudy_tallies WHERE outcome <> 'retried'
        AND (:any_tenant OR tenant = :tenant)
) AS parts GROUP BY queue, state HAVING sum(n) <> 0"""  # noqa: S608 - constants

ALIVE = "SELECT count(*) FROM understudy_workers WHERE lease_until >= <now> AND kind <> 'web' AND drained_at IS NULL"

DRAINED = """
SELECT count(*) FROM understudy_workers WHERE lease_until >= <now> AND kind <> 'web' AND drained_at IS NOT NULL"""


def find(database: Database, id: str, session: Session | None = None, *, scope: Scope = EVERYTHING) -> Job | None:
    """Return a job as it is now, detached, or None.

    Args:
        database: The ledger's database.
        id: The job.
        session: Look through this session, which sees its own uncommitted jobs.
        scope: Whose jobs may be found.
    """
    query = select(Job).where(Job.id == id, scope.of(Job))
    if session is not None:
        with session.no_autoflush:
            job = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
        if job is not None:
            session.expunge(job)
        return job
    with Session(database.engine, expire_on_commit=False) as own:
        return own.scalars(query).one_or_none()


def attempts(database: Database, id: str) -> Sequence[Attempt]:
    """Return the attempts of a job that did not complete, the first one first."""
    with Session(database.engine, expire_on_commit=False) as session:
        return session.scalars(select(Attempt).where(Attempt.job_id == id).order_by(Attempt.fence)).all()


def timeline(database: Database, id: str, *, after: int = 0) -> Sequence[JobEvent]:
    """Return the lines of a job's timeline that follow the line `after`, the first one first."""
    query = select(JobEvent).where(JobEvent.job_id == id, JobEvent.id > after).order_by(JobEvent.id)
    with Session(database.engine, expire_on_commit=False) as session:
        return session.scalars(query).all()


def stats(database: Database, queues: Sequence[str], tenant: str | None = None) -> dict[str, dict[str, int]]:
    """Return S4's seven counts of each queue: waiting, active, completed, failed, delayed, paused, total (I08, C8).

    Args:
        database: The ledger's database.
        queues: Named even when they hold nothing.
        tenant: Count this tenant's jobs alone; None = all.
    """
    with database.engine.connect() as connection:
        counts = run(connection, STATS, any_tenant=tenant is None, tenant=tenant or "").all()
        paused = set(connection.scalars(select(Queue.name).where(Queue.paused_at.is_not(None))))
    names = (WAITING, ACTIVE, COMPLETED, FAILED, DELAYED)
    result: dict[str, dict[str, int]] = {
        name: {**dict.fromkeys(names, 0), "paused": 0, "total": 0}
        for name in sorted({*queues, *(row[0] for row in counts)})
    }
    for queue, state, n in counts:
        if state in names:
            result[queue]["paused" if state == WAITING and queue in paused else state] += n
        result[queue]["total"] += n
    return result


def oldest_waiting_ms(database: Database) -> int:
    """Return for how many ms the job that waits longest has been due; 0 when none waits."""
    return max(oldest_by_queue(database).values(), default=0)


def oldest_by_queue(database: Database, tenant: str | None = None) -> dict[str, int]:
    """Return for how many ms the job of each queue that waits longest has been due; of a tenant or all."""
    with database.engine.connect() as connection:
        rows = run(connection, OLDEST_BY_QUEUE, any_tenant=tenant is None, tenant=tenant or "").all()
    return {queue: max(0, int(ms)) for queue, ms in rows}


def is_clock_leading(database: Database) -> bool:
    """Return whether some clock holds the lease."""
    with database.engine.connect() as connection:
        return bool(run(connection, LEADING).scalar_one())


def workers_alive(database: Database) -> int:
    """Return how many processes hold a lease and consume queues; drained ones do not."""
    with database.engine.connect() as connection:
        return int(run(connection, ALIVE).scalar_one())


def workers_drained(database: Database) -> int:
    """Return how many processes hold a lease, and take nothing because they are drained."""
    with database.engine.connect() as connection:
        return int(run(connection, DRAINED).scalar_one())


def row_of(job: Job) -> dict[str, Any]:
    """Return a job's columns by name."""
    return {column.key: getattr(job, column.key) for column in Job.__table__.columns}
