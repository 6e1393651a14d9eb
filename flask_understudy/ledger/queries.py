"""Reading the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from .attempt import Attempt, JobEvent
from .database import Database
from .job import ACTIVE, COMPLETED, DELAYED, FAILED, WAITING, Job
from .queue import Queue
from .statements import run

OLDEST = """
SELECT <ms:now> - <ms:run_at>
FROM (SELECT <now> AS now, min(run_at) AS run_at FROM understudy_jobs WHERE state = 'waiting') AS oldest"""

ALIVE = "SELECT count(*) FROM understudy_workers WHERE lease_until >= <now> AND kind <> 'web'"


def find(database: Database, id: str, session: Session | None = None) -> Job | None:
    """Return a job as it is now, detached, or None.

    Args:
        database: The ledger's database.
        id: The job.
        session: Look through this session, which sees its own uncommitted jobs.
    """
    query = select(Job).where(Job.id == id)
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


def timeline(database: Database, id: str) -> Sequence[JobEvent]:
    """Return the lines of a job's timeline, the first one first."""
    with Session(database.engine, expire_on_commit=False) as session:
        return session.scalars(select(JobEvent).where(JobEvent.job_id == id).order_by(JobEvent.id)).all()


def stats(database: Database, queues: Sequence[str], tenant: str | None = None) -> dict[str, dict[str, int]]:
    """Return S4's seven counts of each queue: waiting, active, completed, failed, delayed, paused, total (I08, C8).

    Args:
        database: The ledger's database.
        queues: Named even when they hold nothing.
        tenant: Count this tenant's jobs alone; None = all.
    """
    query = select(Job.queue, Job.state, func.count()).group_by(Job.queue, Job.state)
    if tenant is not None:
        query = query.where(Job.tenant == tenant)
    with database.engine.connect() as connection:
        counts = connection.execute(query).all()
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
    with database.engine.connect() as connection:
        return max(0, int(run(connection, OLDEST).scalar() or 0))


def workers_alive(database: Database) -> int:
    """Return how many processes hold a lease and consume queues."""
    with database.engine.connect() as connection:
        return int(run(connection, ALIVE).scalar_one())


def row_of(job: Job) -> dict[str, Any]:
    """Return a job's columns by name."""
    return {column.key: getattr(job, column.key) for column in Job.__table__.columns}
