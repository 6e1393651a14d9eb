"""Leave for a contractor to do dangerous work at a station, for some days."""

from __future__ import annotations

import datetime as dt
import enum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified


class PermitStatus(enum.StrEnum):
    """How far a permit is. One that is active after its last day is overdue."""

    DRAFT = "Draft"
    ACTIVE = "Active"
    CLOSED = "Closed"
    REVOKED = "Revoked"


class WorkPermit(Identified, Created, Base):
    """One permit."""

    __tablename__ = "work_permits"
    __table_args__ = (
        sa.UniqueConstraint("tenant_id", "number"),
        sa.Index(None, "tenant_id", "starts_on"),
        sa.Index(None, "tenant_id", "ends_on"),
    )

    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"))
    station_id: Mapped[str] = mapped_column(sa.ForeignKey("stations.id"))
    contractor_id: Mapped[str] = mapped_column(sa.ForeignKey("contractors.id"))
    #: As people call it, such as ``WP-0042``.
    number: Mapped[str] = mapped_column(sa.String(20))
    work: Mapped[str] = mapped_column(sa.String(100))
    #: One of `PermitStatus`.
    status: Mapped[str] = mapped_column(sa.String(20), default=PermitStatus.DRAFT)
    starts_on: Mapped[dt.date]
    #: The last day.
    ends_on: Mapped[dt.date]
    closed_on: Mapped[dt.date | None]
