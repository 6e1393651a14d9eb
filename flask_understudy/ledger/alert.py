"""Alerts: what the clock found to be wrong, from its beginning to its end."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment

_OPEN: dict[str, Any] = {"postgresql_where": text("ended_at IS NULL"), "sqlite_where": text("ended_at IS NULL")}


class AlertEpisode(Base):
    """One stretch of time in which a rule was broken; told once when it begins and once when it is over.

    Attributes:
        id: Grows with time.
        rule: Name of the rule: `depth`, `failure-rate`, `stalled`, `broker`, …
        subject: The queue or actor it is about; empty = the whole.
        began_at: When it was first seen.
        ended_at: When it was over; None = not yet.
        value: The latest figure.
        threshold: What the rule allows.
        message: In words.
        muted_until: Until when nobody is told.
        detail: Further facts.
    """

    __tablename__ = "understudy_alerts"

    id: Mapped[int] = mapped_column(primary_key=True)
    rule: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    began_at: Mapped[datetime] = mapped_column(Moment)
    ended_at: Mapped[datetime | None] = mapped_column(Moment)
    value: Mapped[float]
    threshold: Mapped[float]
    message: Mapped[str] = mapped_column(Text)
    muted_until: Mapped[datetime | None] = mapped_column(Moment)
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))

    __table_args__ = (Index("uq_understudy_alerts_open", "rule", "subject", unique=True, **_OPEN),)
