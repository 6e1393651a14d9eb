"""The audit: who did what to jobs, queues and tenants through the doors. Lines are added and never changed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment


class AuditLine(Base):
    """One thing that somebody did.

    Attributes:
        id: Grows with time.
        at: When.
        tenant: Whose the thing is that was touched, when the principal sees every tenant; else the principal's.
        subject: Who.
        action: What, as `noun.verb`.
        target: To which job, queue or tenant.
        address: Where the request came from; None = not by HTTP.
        detail: Further facts.
    """

    __tablename__ = "understudy_audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(Moment)
    tenant: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    target: Mapped[str] = mapped_column(Text)
    address: Mapped[str | None] = mapped_column(Text)
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))

    __table_args__ = (Index("ix_understudy_audit_tenant", "tenant", "id"),)
