"""Something that went wrong at an organisation, and that others are told of (U03)."""

from __future__ import annotations

from typing import Literal

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified

Status = Literal["open", "investigating", "resolved", "closed"]


class Incident(Identified, Created, Base):
    """One incident."""

    __tablename__ = "incidents"
    __table_args__ = (sa.Index(None, "tenant_id", "created_at"),)

    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"))
    #: Where it happened; None for nowhere in particular.
    station_id: Mapped[str | None] = mapped_column(sa.ForeignKey("stations.id"))
    #: Who reported it: a user's id, or ``token:<id>`` for a machine.
    reported_by: Mapped[str] = mapped_column(sa.String(64))
    title: Mapped[str] = mapped_column(sa.String(200))
    description: Mapped[str] = mapped_column(sa.Text)
    severity: Mapped[str] = mapped_column(sa.String(20))
    #: One of ``Status``.
    status: Mapped[str] = mapped_column(sa.String(20), default="open", server_default="open")
