"""What one employee is paid for one period (requirement K04)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified


class PayrollDetail(Identified, Created, Base):
    """A payslip. There is one for each employee and period, and it is never counted anew (A04)."""

    __tablename__ = "payroll_details"
    __table_args__ = (sa.UniqueConstraint("period_id", "employee_id"),)

    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"))
    period_id: Mapped[str] = mapped_column(sa.ForeignKey("payroll_periods.id"))
    employee_id: Mapped[str] = mapped_column(sa.ForeignKey("employees.id"))
    #: Cents by label.
    earnings: Mapped[dict[str, Any]]
    deductions: Mapped[dict[str, Any]]
    gross_cents: Mapped[int] = mapped_column(sa.BigInteger)
    net_cents: Mapped[int] = mapped_column(sa.BigInteger)
