"""The processes that claim jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..errors import JobNotFound
from ..ledger import ACTIVE, Job, Worker
from ..ledger.statements import run
from ..state import State
from .transaction import transaction

DRAIN = """
UPDATE understudy_workers SET drained_at = coalesce(drained_at, <now>) WHERE id = :id RETURNING id"""

RESUME = "UPDATE understudy_workers SET drained_at = NULL WHERE id = :id RETURNING id"

ALIVE = "SELECT id FROM understudy_workers WHERE lease_until >= <now>"

LEADER = "SELECT holder FROM understudy_leases WHERE name = 'clock' AND until >= <now>"


@dataclass(frozen=True, slots=True)
class Process:
    """A worker process.

    Attributes:
        worker: Its row.
        active: Jobs it runs now.
        is_alive: Whether its lease holds.
        leads_clock: Whether its clock is the one that leads.
    """

    worker: Worker
    active: int
    is_alive: bool
    leads_clock: bool = False


def listing(state: State) -> Sequence[Process]:
    """Return the processes that are in the ledger, the oldest first."""
    with Session(state.database.engine, expire_on_commit=False) as session:
        alive = {row[0] for row in run(session.connection(), ALIVE)}
        leader = run(session.connection(), LEADER).scalar()
        counted = select(Job.worker_id, func.count()).where(Job.state == ACTIVE).group_by(Job.worker_id)
        active: dict[Any, int] = dict(session.execute(counted).all())
        workers = session.scalars(select(Worker).order_by(Worker.started_at, Worker.id)).all()
    return [
        Process(worker, active.get(worker.id, 0), worker.id in alive, leads_clock=worker.id == leader)
        for worker in workers
    ]


def drain(state: State, id: str) -> None:
    """Let a process claim nothing any more, within a few seconds; what it runs goes on.

    It stays until it is stopped or resumed.

    Raises:
        JobNotFound: There is no such process.
    """
    _move(state, DRAIN, id)


def resume(state: State, id: str) -> None:
    """Let a drained process claim again, within a few seconds.

    Raises:
        JobNotFound: There is no such process.
    """
    _move(state, RESUME, id)


def _move(state: State, statement: str, id: str) -> None:
    with transaction(state) as connection:
        if run(connection, statement, id=id).first() is None:
            raise JobNotFound(f"There is no worker {id!r}.")
