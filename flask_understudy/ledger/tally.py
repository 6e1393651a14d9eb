"""Counting what ended, without counting it anew for each question.

Whoever ends jobs adds a tally in the same transaction: rows that are only ever inserted, so that no two processes wait
for each other. The clock folds them into counts, which say what stands in the ledger now, and rates, which say what
happened in each minute.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment


class Tally(Base):
    """What one transaction ended, by tenant, queue, actor and outcome; not folded yet.

    Attributes:
        id: Grows with time.
        at: When.
        tenant: Whose jobs.
        queue: Their queue.
        actor: Their actor.
        outcome: `completed`, `failed`, `cancelled`; or `retried`, an attempt after which another one follows.
        n: How many; negative when jobs were deleted or reopened, which no rate counts.
        busy_ms: How long their attempts ran, in total.
        waited_ms: How long they waited for these attempts when they were due, in total.
    """

    __tablename__ = "understudy_tallies"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(Moment)
    tenant: Mapped[str] = mapped_column(Text)
    queue: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)
    n: Mapped[int]
    busy_ms: Mapped[int] = mapped_column(BigInteger, server_default="0")
    waited_ms: Mapped[int] = mapped_column(BigInteger, server_default="0")


class Count(Base):
    """How many jobs of a tenant and queue stand in a terminal state, but for the tallies that are not folded yet."""

    __tablename__ = "understudy_counts"

    tenant: Mapped[str] = mapped_column(Text, primary_key=True)
    queue: Mapped[str] = mapped_column(Text, primary_key=True)
    state: Mapped[str] = mapped_column(Text, primary_key=True)
    n: Mapped[int] = mapped_column(BigInteger)


class Rate(Base):
    """What happened in one minute to the jobs of one actor; in one hour, when it is more than two days ago.

    Kept for 30 days.

    Attributes:
        minute: The beginning of either.
        queue: The queue.
        actor: The actor.
        outcome: As of a tally.
        n: How many.
        busy_ms: As of a tally.
        waited_ms: As of a tally.
    """

    __tablename__ = "understudy_rates"

    minute: Mapped[datetime] = mapped_column(Moment, primary_key=True)
    queue: Mapped[str] = mapped_column(Text, primary_key=True)
    actor: Mapped[str] = mapped_column(Text, primary_key=True)
    outcome: Mapped[str] = mapped_column(Text, primary_key=True)
    n: Mapped[int] = mapped_column(BigInteger)
    busy_ms: Mapped[int] = mapped_column(BigInteger, server_default="0")
    waited_ms: Mapped[int] = mapped_column(BigInteger, server_default="0")
