"""One run of an automated workflow."""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified


class WorkflowExecution(Identified, Created, Base):
    """What became of one run: ``running``, ``completed`` or ``failed``."""

    __tablename__ = "workflow_executions"
    __table_args__ = (
        sa.Index(None, "status", "finished_at"),
        sa.Index(None, "workflow_id", "trigger_id", unique=True),
    )

    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"), index=True)
    workflow_id: Mapped[str] = mapped_column(sa.String(100))
    #: What started it, by the caller's own name: the same one starts a workflow once.
    trigger_id: Mapped[str | None] = mapped_column(sa.String(200))
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    #: The steps as the workflow had them when it was started, each saying whether the next one follows its failure.
    steps: Mapped[list[dict[str, Any]]] = mapped_column(sa.JSON, default=list, server_default="[]")
    #: What became of the steps so far, in order.
    outcomes: Mapped[list[dict[str, Any]]] = mapped_column(sa.JSON, default=list, server_default="[]")
    #: The id of the job that ran it; the ledger has no foreign keys from outside.
    job_id: Mapped[str | None] = mapped_column(sa.String(36), index=True)
    status: Mapped[str] = mapped_column(sa.String(20), default="running")
    error: Mapped[str | None] = mapped_column(sa.Text)
    finished_at: Mapped[dt.datetime | None]
