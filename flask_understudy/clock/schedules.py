"""Firing schedules: at most one job per schedule and slot, whatever the number of clocks (promise G7)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from dramatiq.errors import ActorNotFound
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from ..errors import ConfigError, UnderstudyError
from ..ledger import Schedule
from ..ledger.statements import moment, run
from ..state import State
from .triggers import next_slot, trigger_of

logger = logging.getLogger("flask_understudy")

GRACE = timedelta(hours=1)
MOST_SKIPPED = 100

FIRE = """
INSERT INTO understudy_schedule_fires (schedule, slot, job_id, outcome, at)
VALUES (:schedule, <time::slot>, :job_id, :outcome, <now>) ON CONFLICT DO NOTHING RETURNING outcome"""

NOW = "SELECT <ms:now> FROM (SELECT <now> AS now) AS clock"


def now(connection: Connection) -> datetime:
    """Return the database's time."""
    return datetime.fromtimestamp(run(connection, NOW).scalar_one() / 1000, UTC)


def declare(state: State) -> None:
    """Bring the rows of schedules that the code declares up to date; those it no longer declares are deleted.

    Raises:
        ConfigError: An expression or time zone is invalid.
    """
    declared = {schedule.name: schedule for schedule in state.broker.schedules}
    with Session(state.database.own_engine) as session, session.begin():
        time = now(session.connection())
        rows = {row.name: row for row in session.scalars(select(Schedule))}
        for name, wanted in declared.items():
            zone = wanted.timezone or state.config.timezone
            values: dict[str, Any] = {
                "actor": wanted.actor,
                "expression": wanted.expression,
                "timezone": zone,
                "args": list(wanted.args),
                "kwargs": dict(wanted.kwargs),
            }
            row = rows.get(name)
            if row is not None and all(getattr(row, key) == value for key, value in values.items()):
                continue
            slot = next_slot(trigger_of(wanted.expression, zone), time)
            if row is None:
                row = Schedule(name=name, enabled=True, source="code", created_at=time, **values)
                session.add(row)
            for key, value in values.items():
                setattr(row, key, value)
            row.next_run_at, row.updated_at = slot, time
        for name, row in rows.items():
            if row.source == "code" and name not in declared:
                session.delete(row)


def fire(state: State) -> int:
    """Fire every schedule that is due; return how many jobs that made."""
    with Session(state.database.own_engine) as session:
        time = now(session.connection())
        due = select(Schedule.name).where(Schedule.enabled, Schedule.next_run_at <= time)
        names = list(session.scalars(due))
    return sum(_fire_one(state, name) for name in names)


def _fire_one(state: State, name: str) -> bool:
    committed: Callable[[], None] | None = None
    with Session(state.database.own_engine) as session, session.begin():
        row = session.get(Schedule, name, with_for_update=True)
        connection = session.connection()
        time = now(connection)
        if row is None or not row.enabled or row.next_run_at is None or row.next_run_at > time:
            return False
        try:
            trigger = trigger_of(row.expression, row.timezone)
        except ConfigError as problem:
            if row.last_error != str(problem):
                logger.error("Schedule %s cannot fire: %s", name, problem)
            row.last_error = str(problem)
            return False
        missed, latest = _passed(trigger, row.next_run_at, time)
        if time - latest > GRACE:
            missed.append(latest)
        else:
            committed = _send(state, connection, row, latest)
        for slot in missed:
            run(connection, FIRE, schedule=name, slot=moment(slot), job_id=None, outcome="skipped")
        row.next_run_at = next_slot(trigger, max(latest, time))
        row.last_run_at = latest if committed is not None else row.last_run_at
    if committed is not None:
        committed()
    return committed is not None


def _passed(trigger: Any, first: datetime, time: datetime) -> tuple[list[datetime], datetime]:
    """Return the slots from `first` on that were missed, `MOST_SKIPPED` at the most, and the latest slot up to now."""
    missed: list[datetime] = []
    latest = first
    while len(missed) < MOST_SKIPPED and (following := next_slot(trigger, latest)) is not None and following <= time:
        missed.append(latest)
        latest = following
    if len(missed) == MOST_SKIPPED:  # what lies between is neither run nor recorded
        start = max(latest, time - GRACE)
        while (following := next_slot(trigger, start)) is not None and following <= time:
            latest = start = following
    return missed, latest


def _send(state: State, connection: Connection, row: Schedule, slot: datetime) -> Callable[[], None] | None:
    """Send the schedule's job with its slot in one transaction; None when the slot was fired already or cannot be."""
    try:
        message = state.broker.get_actor(row.actor).message_with_options(
            args=tuple(row.args), kwargs=dict(row.kwargs), tags=[f"schedule:{row.name}"]
        )
    except ActorNotFound:
        row.last_error = f"No actor is named {row.actor!r} in this release"
        logger.error("Schedule %s: %s.", row.name, row.last_error)
        return None
    fired = run(
        connection,
        FIRE,
        schedule=row.name,
        slot=moment(slot),
        job_id=message.message_id,
        outcome="fired",
    ).first()
    if fired is None:
        return None
    try:
        with connection.begin_nested():
            committed = state.broker.enqueue_within(connection, [message])
    except UnderstudyError as problem:
        row.last_error = str(problem)
        logger.error("Schedule %s could not fire: %s", row.name, problem)
        return None
    row.last_error = None
    return committed
