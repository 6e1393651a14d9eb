"""The schedule, and the slots it has fired."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment

FIRED, SKIPPED, QUEUED, BY_HAND = "fired", "skipped", "queued", "by_hand"

LATEST, SKIP, ALL = MISSED = ("latest", "skip", "all")
ALLOW, _, QUEUE = OVERLAP = ("allow", "skip", "queue")

GRACE_SECONDS = 3600

_QUEUED = text("queued_slot IS NOT NULL")
_SENT = text("job_id IS NOT NULL")


class Schedule(Base):
    """When an actor is sent by the clock.

    Attributes:
        id: Given once; stays when the code gives it another name.
        tenant: Whose it is, and whose its jobs are; empty = nobody's.
        name: Unique among the tenant's.
        owner: The subject that registered it, and its jobs' owner; empty when the code did.
        actor: The actor that is sent.
        expression: Cron (five fields), `every N minutes|hours|days`, or a date.
        timezone: IANA zone the expression is read in.
        args: Positional arguments of each job.
        kwargs: Keyword arguments of each job.
        options: Options of each send: `queue`, `priority`, `tags`, `attempts`, …
        enabled: Whether it fires.
        source: `code` or `runtime`.
        missed: What becomes of slots that passed while no clock ran: `latest`, `skip` or `all`.
        grace_seconds: How late the latest slot may be fired; a minute is never too late.
        overlap: What becomes of a slot while a former job has not ended: `allow`, `skip` or `queue`.
        next_run_at: The next slot; None = there is none.
        last_run_at: The latest slot that fired.
        last_error: Why the latest slot could not fire.
        queued_slot: The slot that waits for the former job's end.
        retired_at: Since when the code declares it no longer; it does not fire, and is deleted after a month.
        created_at: When it was first seen.
        updated_at: When it was last changed.
    """

    __tablename__ = "understudy_schedules"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    tenant: Mapped[str] = mapped_column(Text, server_default="")
    name: Mapped[str] = mapped_column(Text)
    owner: Mapped[str] = mapped_column(Text, server_default="")
    actor: Mapped[str] = mapped_column(Text)
    expression: Mapped[str] = mapped_column(Text)
    timezone: Mapped[str] = mapped_column(Text)
    args: Mapped[list[Any]] = mapped_column(JSON)
    kwargs: Mapped[dict[str, Any]] = mapped_column(JSON)
    options: Mapped[dict[str, Any]] = mapped_column(JSON, server_default="{}")
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    source: Mapped[str] = mapped_column(Text, server_default="code")
    missed: Mapped[str] = mapped_column(Text, server_default=LATEST)
    grace_seconds: Mapped[int] = mapped_column(server_default=str(GRACE_SECONDS))
    overlap: Mapped[str] = mapped_column(Text, server_default=ALLOW)
    next_run_at: Mapped[datetime | None] = mapped_column(Moment)
    last_run_at: Mapped[datetime | None] = mapped_column(Moment)
    last_error: Mapped[str | None] = mapped_column(Text)
    queued_slot: Mapped[datetime | None] = mapped_column(Moment)
    retired_at: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        UniqueConstraint("tenant", "name"),
        Index("ix_understudy_schedules_due", "next_run_at"),
        Index("ix_understudy_schedules_queued", "queued_slot", postgresql_where=_QUEUED, sqlite_where=_QUEUED),
    )


class ScheduleFire(Base):
    """One slot of a schedule: fired at most once, because the row is unique (promise G7).

    Attributes:
        schedule: The schedule's id.
        slot: The time it was due.
        until: The last of the slots that this row stands for, when it is about many that were skipped.
        job_id: The job it became; None = none yet, or skipped.
        outcome: `fired`, `skipped`, `queued` (it waits for the former job's end) or `by_hand` (somebody ran it).
        reason: Why it was skipped.
        at: When that was decided.
    """

    __tablename__ = "understudy_schedule_fires"

    schedule: Mapped[str] = mapped_column(ForeignKey("understudy_schedules.id", ondelete="CASCADE"), primary_key=True)
    slot: Mapped[datetime] = mapped_column(Moment, primary_key=True)
    until: Mapped[datetime | None] = mapped_column(Moment)
    job_id: Mapped[str | None] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        Index("ix_understudy_schedule_fires_at", "at"),
        Index("ix_understudy_schedule_fires_sent", "schedule", "slot", postgresql_where=_SENT, sqlite_where=_SENT),
    )
