"""What the doors of schedules take and answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from ..contrib.api import Body
from ..ledger import Schedule
from ..ledger.schedule import GRACE_SECONDS
from ..operations import payloads, timetable
from ..operations.drafts import LONGEST_NAME, MOST_GRACE_SECONDS
from ..timing import describe
from ..timing.expressions import LONGEST
from .callers import Caller, state
from .shapes import Instant, Shape

Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Expression = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST)]
Missed = Literal["latest", "skip", "all"]
Overlap = Literal["allow", "skip", "queue"]


class SlotShape(Shape):
    """What became of one slot."""

    slot: Instant
    until: Instant | None = Field(description="The last of the slots that are meant, when they are many.")
    outcome: str = Field(description="fired, skipped, queued or by_hand.")
    reason: str | None = Field(description="Why it was skipped.")
    job_id: str | None
    at: Instant = Field(description="When that was decided.")


class ScheduleShape(Shape):
    """A schedule."""

    id: str
    name: str
    type: str = Field(description="The actor's name.")
    payload: dict[str, Any] | None = Field(description="Arguments by name, secrets withheld; null without permission.")
    options: dict[str, Any]
    schedule: str = Field(description="Cron, `every …` or a date.")
    timezone: str
    description: str = Field(description="In words when it fires.")
    enabled: bool
    missed: str
    grace_ms: int
    overlap: str
    source: str = Field(description="code or runtime.")
    tenant: str
    owner: str
    next_run_at: Instant | None
    is_overdue: bool = Field(description="Whether it should have fired more than five minutes ago.")
    last_run_at: Instant | None
    last_error: str | None
    last_job_id: str | None = Field(description="The latest job that it sent, also by hand.")
    last_job_state: str | None = Field(description="What became of that job; null = it is not kept any more.")
    created_at: Instant
    updated_at: Instant


class ScheduleDetail(ScheduleShape):
    """A schedule with its latest slots and its next ones."""

    next_runs: list[Instant] = Field(description="The next five slots; none while it is disabled.")
    slots: list[SlotShape]


class Schedules(Shape):
    """A page of schedules, by name."""

    data: list[ScheduleShape]
    next_cursor: str | None


class Registered(ScheduleShape):
    """A schedule that was registered."""


class Registration(Body):
    """A schedule to be."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NAME)]
    type: Word = Field(description="The actor's name; see /types.")
    payload: dict[str, Any] = Field(default={}, description="Arguments of each job, by name.")
    schedule: Expression = Field(description="Five cron fields, `@daily`, `every 30 minutes` or a date.")
    timezone: Word | None = Field(default=None, description="IANA name; default UNDERSTUDY_TIMEZONE.")
    options: dict[str, Any] = Field(default={}, description="Options of each send: queue, priority, tags, attempts, …")
    missed: Missed = Field(default="latest", description="What becomes of slots that passed while no clock ran.")
    grace_ms: int = Field(default=GRACE_SECONDS * 1000, ge=0, le=MOST_GRACE_SECONDS * 1000)
    overlap: Overlap = Field(default="allow", description="What becomes of a slot while an earlier job has not ended.")
    enabled: bool | None = Field(default=None, description="null = as it was, and true for a new one.")


class Changes(Body):
    """What shall be otherwise."""

    type: Word | None = None
    payload: dict[str, Any] | None = None
    schedule: Expression | None = None
    timezone: Word | None = None
    options: dict[str, Any] | None = None
    missed: Missed | None = None
    grace_ms: int | None = Field(default=None, ge=0, le=MOST_GRACE_SECONDS * 1000)
    overlap: Overlap | None = None
    enabled: bool | None = None


class Whose(Body):
    """Whose schedule is meant."""

    tenant: Annotated[str, StringConstraints(max_length=200)] | None = Field(
        default=None, description="For callers who may see every tenant; default their own, else the code's."
    )


class Previewed(Body):
    """An expression to be tried."""

    schedule: Expression
    timezone: Word | None = None
    n: int = Field(default=5, ge=1, le=100)
    after: AwareDatetime | None = Field(default=None, description="Default: now.")


class Preview(Shape):
    """When an expression fires."""

    description: str
    timezone: str
    next_runs: list[Instant]


class RunShape(Shape):
    """The job that was sent."""

    job_id: str


def fields_of(who: Caller, row: Schedule) -> dict[str, Any]:
    """Return what a caller sees of a schedule."""
    return fields_of_each(who, [row])[0]


def fields_of_each(who: Caller, rows: Sequence[Schedule]) -> list[dict[str, Any]]:
    """Return what a caller sees of schedules."""
    if not rows:
        return []
    sent = timetable.last_sent(state(), rows)
    time = datetime.now(UTC)
    return [_fields_of(who, row, sent.get(row.id), time) for row in rows]


def _fields_of(who: Caller, row: Schedule, sent: timetable.Sent | None, time: datetime) -> dict[str, Any]:
    try:
        words = describe(row.expression)
    except ValueError:
        words = ""  # by an older release, which accepted it
    return {
        "id": row.id,
        "name": row.name,
        "type": row.actor,
        "payload": payloads.shown(state().broker.actors.get(row.actor), row) if who.may("payload") else None,
        "options": dict(row.options),
        "schedule": row.expression,
        "timezone": row.timezone,
        "description": words,
        "enabled": row.enabled,
        "missed": row.missed,
        "grace_ms": row.grace_seconds * 1000,
        "overlap": row.overlap,
        "source": row.source,
        "tenant": row.tenant,
        "owner": row.owner,
        "next_run_at": row.next_run_at,
        "is_overdue": timetable.is_overdue(row, time),
        "last_run_at": row.last_run_at,
        "last_error": row.last_error,
        "last_job_id": sent.job_id if sent else None,
        "last_job_state": sent.state if sent else None,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }
