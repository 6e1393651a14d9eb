"""A place where an organisation works."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified


class Station(Identified, Created, Base):
    """One station."""

    __tablename__ = "stations"
    __table_args__ = (sa.UniqueConstraint("tenant_id", "name"),)

    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(sa.String(200))
    region: Mapped[str] = mapped_column(sa.String(100))
    opened_on: Mapped[dt.date]
    #: The last day; None for one that works.
    closed_on: Mapped[dt.date | None]
