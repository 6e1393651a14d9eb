"""The approval: a job that goes on when a person decides."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment

PENDING = "pending"
APPROVED = "approved"
REJECTED = "rejected"
EXPIRED = "expired"

_PENDING = text("state = 'pending'")


class Approval(Base):
    """One decision that a step of a job waits for. The link to it is signed when it is asked for, and never stored.

    Attributes:
        id: Random.
        job_id: The job.
        position: The step's place.
        tenant: The job's tenant.
        name: The step's name.
        prompt: What is to be decided.
        asked: Who is asked, in the application's words.
        state: `pending`, `approved`, `rejected` or `expired`.
        asked_at: When it was asked.
        deadline: After this it expires.
        decided_by: Who decided.
        comment: What they said.
        decided_at: When.
    """

    __tablename__ = "understudy_approvals"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    job_id: Mapped[str] = mapped_column(Text)
    position: Mapped[int]
    tenant: Mapped[str] = mapped_column(Text, server_default="")
    name: Mapped[str] = mapped_column(Text)
    prompt: Mapped[str] = mapped_column(Text)
    asked: Mapped[str] = mapped_column(Text, server_default="")
    state: Mapped[str] = mapped_column(Text)
    asked_at: Mapped[datetime] = mapped_column(Moment)
    deadline: Mapped[datetime] = mapped_column(Moment)
    decided_by: Mapped[str | None] = mapped_column(Text)
    comment: Mapped[str | None] = mapped_column(Text)
    decided_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        Index("uq_understudy_approvals_step", "job_id", "position", unique=True),
        Index(
            "ix_understudy_approvals_pending",
            "tenant",
            "asked_at",
            "id",
            postgresql_where=_PENDING,
            sqlite_where=_PENDING,
        ),
    )
