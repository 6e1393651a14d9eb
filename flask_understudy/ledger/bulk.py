"""A bulk: one verb for all jobs of a filter, done by the clock in steps, to be watched and aborted meanwhile."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment


class Bulk(Base):
    """One bulk.

    Attributes:
        id: Random.
        tenant: Whose jobs it is about; None = every tenant's.
        subject: Who asked for it.
        action: One of `operations.bulk_acts.ACTIONS`.
        changes: What it changes and to what, such as `{"queue": "email"}`; None = nothing.
        filter: Which jobs, as `ledger.search.Filter` in JSON.
        state: `running`, `completed` or `aborted`.
        most: Jobs it touches at the most.
        expected: Jobs there were when it was asked for, `most` at the most; None = too many to count.
        matched: Jobs looked at so far.
        done: Jobs it was done to.
        skipped: Jobs whose state did not allow it.
        place_at: Time of the last job looked at.
        place_id: Its id.
        created_at: When it was asked for; jobs created later are not meant.
        finished_at: When it ended.
    """

    __tablename__ = "understudy_bulks"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    tenant: Mapped[str | None] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    changes: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    filter: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(Text)
    most: Mapped[int]
    expected: Mapped[int | None]
    matched: Mapped[int] = mapped_column(server_default="0")
    done: Mapped[int] = mapped_column(server_default="0")
    skipped: Mapped[int] = mapped_column(server_default="0")
    place_at: Mapped[datetime | None] = mapped_column(Moment)
    place_id: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
