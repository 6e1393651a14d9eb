"""The processes that claim jobs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.orm import Session, load_only

from ..errors import JobConflict, JobNotFound
from ..ledger import ACTIVE, Job, Worker
from ..ledger.scope import Scope
from ..ledger.statements import run
from ..state import State
from .transaction import transaction
from .wording import counted

DRAIN = """
UPDATE understudy_workers SET drained_at = coalesce(drained_at, <now>) WHERE id = :id RETURNING id"""

#: The processes that end together with one, as the same master started them.
_TOGETHER = """master_pid = (SELECT master_pid FROM understudy_workers WHERE id = :id)
    AND hostname = (SELECT hostname FROM understudy_workers WHERE id = :id)"""

STOP = f"""
UPDATE understudy_workers SET stopping = true, drained_at = coalesce(drained_at, <now>)
WHERE id = :id OR ({_TOGETHER}) RETURNING id"""  # noqa: S608 - a constant of this module

RESUME = f"""
UPDATE understudy_workers SET drained_at = NULL, stopping = false
WHERE id = :id OR (stopping AND {_TOGETHER}) RETURNING id"""  # noqa: S608 - a constant of this module

#: A worker that died, once its jobs were taken back.
BURY = """
DELETE FROM understudy_workers WHERE id = :id AND lease_until < <now>
    AND NOT EXISTS (SELECT 1 FROM understudy_jobs AS j WHERE j.state = 'active' AND j.worker_id = :id)
RETURNING id"""

STANDING = """
SELECT kind, CASE WHEN lease_until >= <now> THEN 1 ELSE 0 END,
    (SELECT count(*) FROM understudy_jobs AS j WHERE j.state = 'active' AND j.worker_id = :id)
FROM understudy_workers WHERE id = :id"""

ALIVE = "SELECT id FROM understudy_workers WHERE lease_until >= <now>"

#: Jobs of one process that are shown at the most.
MOST_JOBS = 20

LEADER = "SELECT holder FROM understudy_leases WHERE name = 'clock' AND until >= <now>"


@dataclass(frozen=True, slots=True)
class Process:
    """A worker process.

    Attributes:
        worker: Its row.
        active: Jobs it runs now.
        is_alive: Whether its lease holds.
        leads_clock: Whether its clock is the one that leads.
        jobs: Those jobs, the longest-running first, up to `MOST_JOBS` of them; none unless they were asked for.
    """

    worker: Worker
    active: int
    is_alive: bool
    leads_clock: bool = False
    jobs: tuple[Job, ...] = ()


def listing(state: State, *, jobs_of: Scope | None = None) -> Sequence[Process]:
    """Return the processes that are in the ledger, the oldest first.

    Args:
        state: The application's side of the library.
        jobs_of: Whose jobs to name that they run; None = nobody's.
    """
    with Session(state.database.engine, expire_on_commit=False) as session:
        alive = {row[0] for row in run(session.connection(), ALIVE)}
        leader = run(session.connection(), LEADER).scalar()
        counted = select(Job.worker_id, func.count()).where(Job.state == ACTIVE).group_by(Job.worker_id)
        active: dict[Any, int] = dict(session.execute(counted).all())
        workers = session.scalars(select(Worker).order_by(Worker.started_at, Worker.id)).all()
        jobs = {} if jobs_of is None else _jobs(session, jobs_of)
    return [
        Process(
            worker, active.get(worker.id, 0), worker.id in alive, worker.id == leader, tuple(jobs.get(worker.id, ()))
        )
        for worker in workers
    ]


def _jobs(session: Session, scope: Scope) -> dict[str, list[Job]]:
    place = func.row_number().over(partition_by=Job.worker_id, order_by=(Job.started_at, Job.id)).label("place")
    ranked = select(Job.id, place).where(Job.state == ACTIVE, Job.worker_id.is_not(None), scope.of(Job)).subquery()
    wanted = select(Job).options(load_only(Job.id, Job.actor, Job.queue, Job.tenant, Job.started_at, Job.worker_id))
    wanted = wanted.join(ranked, Job.id == ranked.c.id).where(ranked.c.place <= MOST_JOBS).order_by(ranked.c.place)
    found: dict[str, list[Job]] = defaultdict(list)
    for job in session.scalars(wanted):
        found[str(job.worker_id)].append(job)
    return found


def drain(state: State, id: str) -> None:
    """Let a process claim nothing any more, within a few seconds; what it runs goes on.

    It stays until it is stopped or resumed.

    Raises:
        JobNotFound: There is no such process.
    """
    _move(state, DRAIN, id)


def stop(state: State, id: str) -> list[str]:
    """Let a process claim nothing any more, and end it when what it runs has ended; `resume` calls it off till then.

    Dramatiq ends all processes of one command when one of them ends, so they are all asked, and end when all are idle.

    Returns:
        The others that end with it.

    Raises:
        JobNotFound: There is no such process.
        JobConflict: It has died, or it lives inside a web process.
    """
    with transaction(state) as connection:
        kind, is_alive, _ = _standing(connection, id)
        if not is_alive:
            raise JobConflict(f"Worker {id} has died; it can be forgotten.")
        if kind != "worker":
            raise JobConflict(f"Worker {id} lives inside a web process, which goes on: drain it, or restart the web.")
        return sorted(row[0] for row in run(connection, STOP, id=id) if row[0] != id)


def forget(state: State, id: str) -> None:
    """Remove a process that died.

    Raises:
        JobNotFound: There is no such process.
        JobConflict: It lives, or a clock has yet to take its jobs back.
    """
    with transaction(state) as connection:
        if run(connection, BURY, id=id).first() is not None:
            return
        _, is_alive, jobs = _standing(connection, id)
        if is_alive:
            raise JobConflict(f"Worker {id} lives: only one that died can be forgotten. Stop it, or drain it.")
        raise JobConflict(
            f"Worker {id} died with {counted(jobs, 'job')}: as soon as a worker runs, its clock takes them back and "
            "forgets the dead one."
        )


def resume(state: State, id: str) -> None:
    """Let a process claim again that was drained, or was to end and has not ended yet, within a few seconds.

    Raises:
        JobNotFound: There is no such process.
    """
    _move(state, RESUME, id)


def _move(state: State, statement: str, id: str) -> None:
    with transaction(state) as connection:
        if run(connection, statement, id=id).first() is None:
            raise _nobody(id)


def _standing(connection: Connection, id: str) -> tuple[str, bool, int]:
    row = run(connection, STANDING, id=id).first()
    if row is None:
        raise _nobody(id)
    return row[0], bool(row[1]), row[2]


def _nobody(id: str) -> JobNotFound:
    return JobNotFound(f"There is no worker {id!r}.")
