"""A span of time that employees are paid for (requirement K04)."""

from __future__ import annotations

import datetime as dt
import enum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified


class PayrollStatus(enum.StrEnum):
    """How far a period is."""

    DRAFT = "draft"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


class PayrollPeriod(Identified, Created, Base):
    """One period of one organisation; amounts are whole cents."""

    __tablename__ = "payroll_periods"
    __table_args__ = (sa.UniqueConstraint("tenant_id", "starts_on"),)

    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(sa.String(100))
    starts_on: Mapped[dt.date]
    ends_on: Mapped[dt.date]
    status: Mapped[PayrollStatus] = mapped_column(
        sa.Enum(
            PayrollStatus,
            native_enum=False,
            length=20,
            create_constraint=False,
            values_callable=lambda kind: [status.value for status in kind],
        ),
        default=PayrollStatus.DRAFT,
    )
    #: As the seed document has it: ``50%``. It never goes back (A06, C36).
    progress: Mapped[str] = mapped_column(sa.String(4), default="0%")
    employees: Mapped[int] = mapped_column(default=0)
    processed: Mapped[int] = mapped_column(default=0)
    net_cents: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    #: Who is told of the end: a user's id.
    initiated_by: Mapped[str | None] = mapped_column(sa.String(64))
    #: The job that began last.
    job_id: Mapped[str | None] = mapped_column(sa.String(36))
    error: Mapped[str | None] = mapped_column(sa.Text)
    completed_at: Mapped[dt.datetime | None]
