"""The windows of throttled sends."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment


class Window(Base):
    """A span of time within which only one job of a key runs; see `windows`.

    Attributes:
        tenant: Whose jobs.
        key: What they share, the actor's name included.
        job_id: The job of this window.
        until: When it is over.
    """

    __tablename__ = "understudy_windows"

    tenant: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    job_id: Mapped[str] = mapped_column(Text)
    until: Mapped[datetime] = mapped_column(Moment)
