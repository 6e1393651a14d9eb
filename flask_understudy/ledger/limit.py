"""Limits by key, and the starts that count against a rate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment


class KeyLimit(Base):
    """What holds for the jobs of a tenant that share a key; see `gates`.

    Attributes:
        tenant: Whose jobs.
        key: What they share.
        concurrency: How many run at a time; None = any number.
        rate: How many start within `per_ms`; None = any number.
        per_ms: The span of time of the rate.
        is_set: Whether an operator set it, so that what the code declares does not count.
        changed_at: Since when it holds.
    """

    __tablename__ = "understudy_limits"

    tenant: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    concurrency: Mapped[int | None]
    rate: Mapped[int | None]
    per_ms: Mapped[int | None] = mapped_column(BigInteger)
    is_set: Mapped[bool] = mapped_column(server_default=text("false"))
    changed_at: Mapped[datetime] = mapped_column(Moment)


class Pass(Base):
    """A start of a job whose key has a rate: given before it, and kept for as long as it counts.

    Attributes:
        job_id: The job.
        fence: The job's claims before this one.
        tenant: Of the key.
        key: The key.
        started_at: When the job was started; None = it has not been yet.
    """

    __tablename__ = "understudy_passes"

    job_id: Mapped[str] = mapped_column(Text, primary_key=True)
    fence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tenant: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    started_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (Index("ix_understudy_passes_of_key", "tenant", "key", "started_at"),)


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a key allows.

    Attributes:
        concurrency: Jobs at a time; None = any number.
        rate: Starts within `per_ms`; None = any number.
        per_ms: The span of time of the rate.
        overrides: Whether this counts where something else is known already; what operators set counts all the same.
    """

    concurrency: int | None
    rate: int | None = None
    per_ms: int | None = None
    overrides: bool = True
