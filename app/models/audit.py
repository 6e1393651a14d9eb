"""An inspection of a station; not the record of who did what, which is ``audit_log``."""

from __future__ import annotations

import datetime as dt
import enum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified


class AuditStatus(enum.StrEnum):
    """How far an audit is, in the words of those who ask for reports (A42)."""

    PLANNED = "Planned"
    IN_PROGRESS = "In Progress"
    COMPLETED = "Completed"
    CANCELLED = "Cancelled"


class Audit(Identified, Created, Base):
    """One audit of one station."""

    __tablename__ = "audits"
    __table_args__ = (sa.Index(None, "tenant_id", "due_on"),)

    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"))
    station_id: Mapped[str] = mapped_column(sa.ForeignKey("stations.id"))
    title: Mapped[str] = mapped_column(sa.String(200))
    #: One of `AuditStatus`.
    status: Mapped[str] = mapped_column(sa.String(20), default=AuditStatus.PLANNED)
    due_on: Mapped[dt.date]
    completed_on: Mapped[dt.date | None]
    #: 0 to 100, once it is completed.
    score: Mapped[int | None]
