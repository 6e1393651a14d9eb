"""A batch: many jobs as one object."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment


class Batch(Base):
    """Jobs that were sent together, whose progress and end are of interest together.

    While it is open its jobs are counted where they are, so the three counts hold only jobs that were deleted since an
    earlier end of the batch; with each end they become the counts of all its jobs.

    Attributes:
        id: Random; its jobs carry it.
        tenant: Whose it is.
        owner: Who asked for it.
        name: For people; need not be unique.
        total: How many jobs it has.
        concurrency: How many of them run at a time, in all processes; None = any number.
        callbacks: What is sent at its end: messages by `on_complete`, `on_success`, `on_failure`.
        completed: Jobs that completed.
        failed: Jobs that failed.
        cancelled: Jobs that were cancelled.
        error: Why a callback could not be sent at its end.
        created_at: When it was accepted.
        cancelled_at: When the rest of it was cancelled.
        finished_at: When all its jobs had ended.
    """

    __tablename__ = "understudy_batches"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    tenant: Mapped[str] = mapped_column(Text, server_default="")
    owner: Mapped[str] = mapped_column(Text, server_default="")
    name: Mapped[str] = mapped_column(Text)
    total: Mapped[int]
    concurrency: Mapped[int | None]
    callbacks: Mapped[dict[str, Any]] = mapped_column(JSON, server_default="{}")
    completed: Mapped[int] = mapped_column(server_default="0")
    failed: Mapped[int] = mapped_column(server_default="0")
    cancelled: Mapped[int] = mapped_column(server_default="0")
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment)
    cancelled_at: Mapped[datetime | None] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        Index("ix_understudy_batches_created", "tenant", "created_at", "id"),
        Index(
            "ix_understudy_batches_open",
            "id",
            postgresql_where=text("finished_at IS NULL"),
            sqlite_where=text("finished_at IS NULL"),
        ),
    )
