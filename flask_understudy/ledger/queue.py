"""The queue's row: written when somebody pauses or limits it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment


class Queue(Base):
    """What operators decided about a queue; a queue without a row runs without a limit.

    Attributes:
        name: The queue's name.
        concurrency: Jobs of it that run at a time in all processes; None = no limit.
        paused_at: Since when nothing is claimed from it; None = running.
    """

    __tablename__ = "understudy_queues"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    concurrency: Mapped[int | None]
    paused_at: Mapped[datetime | None] = mapped_column(Moment)
