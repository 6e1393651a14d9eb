"""What schedules did last and will do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import aliased

from ..errors import InvalidSchedule
from ..ledger import Job, Schedule, ScheduleFire
from ..state import State
from ..timing import next_slot, trigger_of
from .schedules import reading

#: A schedule whose slot passed longer ago than this should have fired.
LATE = timedelta(minutes=5)

UPCOMING = 5


@dataclass(frozen=True, slots=True)
class Sent:
    """A job that a schedule sent.

    Attributes:
        job_id: The job.
        state: Its state; None = it is not kept any more.
    """

    job_id: str
    state: str | None


def last_sent(state: State, rows: Sequence[Schedule]) -> dict[str, Sent]:
    """Return the latest job that each schedule sent, by the schedule's id."""
    latest = aliased(ScheduleFire)
    newest = (
        select(latest.schedule, func.max(latest.slot))
        .where(latest.schedule.in_([row.id for row in rows]), latest.job_id.is_not(None))
        .group_by(latest.schedule)
    )
    query = (
        select(ScheduleFire.schedule, ScheduleFire.job_id, Job.state)
        .outerjoin(Job, Job.id == ScheduleFire.job_id)
        .where(tuple_(ScheduleFire.schedule, ScheduleFire.slot).in_(newest))
    )
    with reading(state) as session:
        return {schedule: Sent(str(job_id), known) for schedule, job_id, known in session.execute(query)}


def upcoming(expression: str, timezone: str, first: datetime | None, n: int = UPCOMING) -> list[datetime]:
    """Return slots of a schedule.

    Args:
        expression: When it fires.
        timezone: IANA name.
        first: The first of them; None = there is none.
        n: How many.
    """
    if first is None:
        return []
    found = [first]
    try:
        trigger = trigger_of(expression, timezone)
    except InvalidSchedule:  # by an older release, which accepted it
        return found
    while len(found) < n and (slot := next_slot(trigger, found[-1])) is not None:
        found.append(slot)
    return found


def is_overdue(row: Schedule, time: datetime) -> bool:
    """Whether a schedule should have fired some time before a time."""
    return row.enabled and row.next_run_at is not None and row.next_run_at < time - LATE


__all__ = ["LATE", "Sent", "is_overdue", "last_sent", "upcoming"]
