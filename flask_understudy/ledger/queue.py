"""The queue's row: written when somebody pauses it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment


class Queue(Base):
    """What operators decided about a queue; a queue without a row is simply running.

    Attributes:
        name: The queue's name.
        paused_at: Since when nothing is claimed from it; None = running.
    """

    __tablename__ = "understudy_queues"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    paused_at: Mapped[datetime | None] = mapped_column(Moment)
