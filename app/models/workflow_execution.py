"""One run of an automated workflow."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified


class WorkflowExecution(Identified, Created, Base):
    """What became of one run: ``running``, ``completed`` or ``failed``."""

    __tablename__ = "workflow_executions"
    __table_args__ = (sa.Index(None, "status", "finished_at"),)

    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"), index=True)
    workflow_id: Mapped[str] = mapped_column(sa.String(100))
    #: The id of the job that ran it; the ledger has no foreign keys from outside.
    job_id: Mapped[str | None] = mapped_column(sa.String(36), index=True)
    status: Mapped[str] = mapped_column(sa.String(20), default="running")
    error: Mapped[str | None] = mapped_column(sa.Text)
    finished_at: Mapped[dt.datetime | None]
