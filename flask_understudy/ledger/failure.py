"""What people decided about a kind of failure: jobs that failed alike share a fingerprint."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment


class FailureVerdict(Base):
    """What was decided about the failures of one fingerprint.

    Attributes:
        tenant: Whose jobs it is about.
        fingerprint: Of their error.
        verdict: `ignored`, for good, or `resolved`, until it happens again.
        at: When; a later failure reopens a resolved one.
        subject: By whom.
    """

    __tablename__ = "understudy_failure_verdicts"

    tenant: Mapped[str] = mapped_column(Text, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(Text, primary_key=True)
    verdict: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Moment)
    subject: Mapped[str] = mapped_column(Text)
