"""The schedule, and the slots it has fired."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment


class Schedule(Base):
    """When an actor is sent by the clock.

    Attributes:
        name: Unique name.
        actor: The actor that is sent.
        expression: Cron (five fields) or `every N minutes|hours|days`.
        timezone: IANA zone the expression is read in.
        args: Positional arguments of each job.
        kwargs: Keyword arguments of each job.
        enabled: Whether it fires.
        source: `code` or `runtime`.
        next_run_at: The next slot.
        last_run_at: The latest slot that fired.
        last_error: Why the latest slot could not fire.
        created_at: When it was first seen.
        updated_at: When it was last changed.
    """

    __tablename__ = "understudy_schedules"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    actor: Mapped[str] = mapped_column(Text)
    expression: Mapped[str] = mapped_column(Text)
    timezone: Mapped[str] = mapped_column(Text)
    args: Mapped[list[Any]] = mapped_column(JSON)
    kwargs: Mapped[dict[str, Any]] = mapped_column(JSON)
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    source: Mapped[str] = mapped_column(Text, server_default="code")
    next_run_at: Mapped[datetime | None] = mapped_column(Moment)
    last_run_at: Mapped[datetime | None] = mapped_column(Moment)
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)


class ScheduleFire(Base):
    """One slot of a schedule: fired at most once, because the row is unique (promise G7).

    Attributes:
        schedule: The schedule's name.
        slot: The time it was due.
        job_id: The job it became; None = skipped.
        outcome: `fired` or `skipped`.
        at: When that was decided.
    """

    __tablename__ = "understudy_schedule_fires"

    schedule: Mapped[str] = mapped_column(ForeignKey("understudy_schedules.name", ondelete="CASCADE"), primary_key=True)
    slot: Mapped[datetime] = mapped_column(Moment, primary_key=True)
    job_id: Mapped[str | None] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Moment)
