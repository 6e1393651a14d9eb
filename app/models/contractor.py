"""A company that works at an organisation's stations."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified


class Contractor(Identified, Created, Base):
    """One contractor."""

    __tablename__ = "contractors"
    __table_args__ = (sa.UniqueConstraint("tenant_id", "name"),)

    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(sa.String(200))
    email: Mapped[str] = mapped_column(sa.String(254))
    trade: Mapped[str] = mapped_column(sa.String(100))
    #: The last day on which its safety certificate holds; None for one that has none.
    certified_until: Mapped[dt.date | None]
