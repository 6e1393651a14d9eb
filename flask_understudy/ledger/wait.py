"""The wait: a job that goes on when an event comes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment

_WITH_EVENT = text("event_id IS NOT NULL")
_OPEN = text("settled_at IS NULL")


class Wait(Base):
    """What one step of a job waits for; its deadline is the step's `wake_at`.

    Attributes:
        job_id: The job.
        position: The step's place.
        tenant: Whose events it may see; the job's tenant.
        event: The event's name.
        fields: The names of the fields it compares, sorted, as a JSON array.
        wanted: Those fields and their values, sorted, as a JSON object.
        event_id: The event that came, or None.
        settled_at: When the event came, or the deadline passed.
    """

    __tablename__ = "understudy_waits"

    job_id: Mapped[str] = mapped_column(Text, primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tenant: Mapped[str] = mapped_column(Text, server_default="")
    event: Mapped[str] = mapped_column(Text)
    fields: Mapped[str] = mapped_column(Text)
    wanted: Mapped[str] = mapped_column(Text)
    event_id: Mapped[str | None] = mapped_column(Text)
    settled_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        Index(
            "ix_understudy_waits_open",
            "tenant",
            "event",
            "fields",
            "wanted",
            postgresql_where=_OPEN,
            sqlite_where=_OPEN,
        ),
        Index("ix_understudy_waits_settled", "settled_at"),
        Index("ix_understudy_waits_of_event", "event_id", postgresql_where=_WITH_EVENT, sqlite_where=_WITH_EVENT),
    )
