"""The attempt: one claim that did not end in `completed`. The last claim's facts stand on the job itself."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment


class Attempt(Base):
    """How one claim of a job ended.

    Attributes:
        job_id: The job.
        fence: Which claim of the job it was.
        number: The attempt's number, 1-based; a hand-back and a suspension have the number they gave back.
        worker_id: Who held it.
        started_at: When it was claimed.
        finished_at: When it ended.
        outcome: `retried`, `failed`, `cancelled`, `handed_back`, `suspended` or `crashed`.
        error: Type and message of the error.
        traceback: Where it was raised, without local variables; 16 KiB at the most, and 2,000 characters of a message.
    """

    __tablename__ = "understudy_attempts"

    job_id: Mapped[str] = mapped_column(ForeignKey("understudy_jobs.id", ondelete="CASCADE"), primary_key=True)
    fence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int]
    worker_id: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime | None] = mapped_column(Moment)
    finished_at: Mapped[datetime] = mapped_column(Moment)
    outcome: Mapped[str] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    traceback: Mapped[str | None] = mapped_column(Text)


class JobEvent(Base):
    """One line of a job's timeline: what it logged, and what was done to it by hand.

    Attributes:
        id: Grows with time.
        job_id: The job.
        at: When.
        kind: `log`, `cancel_requested`, `cancelled` or `retried`.
        attempt: The attempt it belongs to; 0 = none.
        message: The text.
    """

    __tablename__ = "understudy_job_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("understudy_jobs.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(Moment)
    kind: Mapped[str] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(server_default="0")
    message: Mapped[str] = mapped_column(Text)

    __table_args__ = (Index("ix_understudy_job_events_job", "job_id", "id"),)
