"""Somebody whom an organisation pays."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified


class Employee(Identified, Created, Base):
    """One employee, paid by the month; amounts are whole cents."""

    __tablename__ = "employees"
    __table_args__ = (sa.UniqueConstraint("tenant_id", "email"),)

    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(sa.String(200))
    email: Mapped[str] = mapped_column(sa.String(254))
    #: A full month's pay.
    salary_cents: Mapped[int] = mapped_column(sa.BigInteger)
    #: What comes on top, each month in full.
    allowance_cents: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    hired_on: Mapped[dt.date]
    #: The last day; None for those who stay.
    left_on: Mapped[dt.date | None]
