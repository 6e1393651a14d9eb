"""The event log: what was published, kept so that it can be searched, waited for and replayed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment


class PublishedEvent(Base):
    """One event, written in the transaction of whoever published it.

    Attributes:
        id: Random.
        tenant: Whose event it is; empty when the app has no tenants.
        subject: Who published it; empty when unknown.
        name: The event's name, `domain.happened`.
        version: The version of its schema.
        payload: Its fields.
        correlation_id: Shared by all jobs and events that one request led to.
        job_id: The job that published it, or None.
        replay_of: The event that this one repeats, or None.
        at: When it was published, by the database's clock.
    """

    __tablename__ = "understudy_events"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    tenant: Mapped[str] = mapped_column(Text, server_default="")
    subject: Mapped[str] = mapped_column(Text, server_default="")
    name: Mapped[str] = mapped_column(Text)
    version: Mapped[int]
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    correlation_id: Mapped[str | None] = mapped_column(Text)
    job_id: Mapped[str | None] = mapped_column(Text)
    replay_of: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        Index("ix_understudy_events_named", "name", "at", "id"),
        Index("ix_understudy_events_latest", "at", "id"),
        Index("ix_understudy_events_of_tenant", "tenant", "at", "id"),
    )
