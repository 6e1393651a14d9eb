"""The tenant, as far as it differs from the others: paused, or limited."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment


class Tenant(Base):
    """What holds for one tenant's jobs. A tenant without a row is neither paused nor limited.

    Attributes:
        name: The tenant, as jobs name it.
        paused_at: Since when none of its jobs is claimed.
        concurrency: Jobs of it that run at a time in all processes; None = no limit.
    """

    __tablename__ = "understudy_tenants"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    paused_at: Mapped[datetime | None] = mapped_column(Moment)
    concurrency: Mapped[int | None]
