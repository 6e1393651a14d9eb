"""Firing schedules: at most one job per schedule and slot, whatever the number of clocks (promise G7).

A schedule's row is locked while it is decided what becomes of its slots, and each slot is a row of its own that is
there once. The time is the database's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, or_, select
from sqlalchemy.orm import Session

from ..errors import InvalidSchedule
from ..ledger import Schedule
from ..ledger.schedule import ALL, ALLOW, QUEUE, QUEUED, SKIP, SKIPPED
from ..ledger.statements import now
from ..operations.slots import record, runs, send
from ..state import State
from ..timing import Trigger, latest_slot, next_slot, trigger_of

logger = logging.getLogger("flask_understudy")

MOST_MISSED = 100
ON_TIME = timedelta(seconds=60)
_TICK = timedelta(microseconds=1)

STILL_RUNS = "a job of an earlier slot had not ended"
ONE_WAITS = "a job of an earlier slot had not ended, and one slot waits for it already"
A_LATER_ONE = "it was missed, and a later slot was due as well"


@dataclass(frozen=True, slots=True)
class Passed:
    """The slots of a schedule that came since it was looked at.

    Attributes:
        slots: The latest of them, in order.
        before: The first and the last of those before them, when there are too many to be named.
    """

    slots: list[datetime]
    before: tuple[datetime, datetime] | None = None


def fire(state: State) -> int:
    """Fire every schedule that is due; return how many jobs that made."""
    with Session(state.database.own_engine) as session:
        time = now(session.connection())
        is_due = or_(Schedule.next_run_at <= time, Schedule.queued_slot.is_not(None))
        due = select(Schedule.id).where(is_due, Schedule.enabled, Schedule.retired_at.is_(None))
        ids = list(session.scalars(due.order_by(Schedule.next_run_at, Schedule.id)))
    return sum(_fire_one(state, id) for id in ids)


def _fire_one(state: State, id: str) -> int:
    with Session(state.database.own_engine) as session, session.begin():
        connection = session.connection()
        with connection.begin_nested():  # SQLite has no other lock on a row than being the writer
            row = session.get(Schedule, id, with_for_update=True)
            sent = [] if row is None else list(_sent(state, connection, row))
    for committed in sent:
        committed()
    return len(sent)


def _sent(state: State, connection: Connection, row: Schedule) -> Iterator[Callable[[], None]]:
    """Decide what becomes of a schedule's slots; yield what to call for each job once that is committed."""
    time = now(connection)
    if not row.enabled or row.retired_at is not None:
        return
    try:
        trigger = trigger_of(row.expression, row.timezone)
    except InvalidSchedule as problem:
        if row.last_error != str(problem):
            logger.error("Schedule %s cannot fire: %s", row.name, problem)
        row.last_error = str(problem)
        return
    if row.queued_slot is not None and not runs(connection, row):
        slot, row.queued_slot = row.queued_slot, None
        if (committed := send(state, connection, row, slot, was_queued=True)) is not None:
            yield committed
    if row.next_run_at is None or row.next_run_at > time:
        return
    passed = passed_slots(trigger, row.next_run_at, time)
    for slot in _wanted(connection, row, passed, time):
        if _may_start(connection, row, slot) and (committed := send(state, connection, row, slot)) is not None:
            yield committed
    row.next_run_at = next_slot(trigger, max(passed.slots[-1], time))


def passed_slots(trigger: Trigger, first: datetime, time: datetime) -> Passed:
    """Return the slots from `first` on up to a time: the latest ones, and between which times the others lie."""
    found: list[datetime] = []
    upto = time
    while (slot := latest_slot(trigger, upto)) is not None and slot > first:
        if len(found) == MOST_MISSED - 1:
            return Passed([slot, *reversed(found)], (first, latest_slot(trigger, slot - _TICK) or first))
        found.append(slot)
        upto = slot - _TICK
    return Passed([first, *reversed(found)])


def _wanted(connection: Connection, row: Schedule, passed: Passed, time: datetime) -> list[datetime]:
    """Return the slots to be fired as the schedule's policy says; record the others as skipped."""
    if passed.before is not None:
        first, last = passed.before
        record(connection, row, first, SKIPPED, reason="they were missed, and too many", until=max(first, last))
    if row.missed == ALL:
        return passed.slots
    *earlier, latest = passed.slots
    for slot in earlier:
        record(connection, row, slot, SKIPPED, reason=A_LATER_ONE)
    allowed = ON_TIME if row.missed == SKIP else max(ON_TIME, timedelta(seconds=row.grace_seconds))
    if time - latest <= allowed:
        return [latest]
    late, most = (int(delay.total_seconds()) for delay in (time - latest, allowed))
    record(connection, row, latest, SKIPPED, reason=f"it was missed by {late} s, and {most} s are made up for")
    return []


def _may_start(connection: Connection, row: Schedule, slot: datetime) -> bool:
    """Whether a slot may start beside the jobs of earlier ones; record what becomes of it if not."""
    if row.overlap == ALLOW or (row.queued_slot is None and not runs(connection, row)):
        return True
    if row.overlap == QUEUE and row.queued_slot is None:
        if record(connection, row, slot, QUEUED):
            row.queued_slot = slot
        return False
    record(connection, row, slot, SKIPPED, reason=ONE_WAITS if row.overlap == QUEUE else STILL_RUNS)
    return False
