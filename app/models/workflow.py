"""An automated workflow of an organisation: steps that are done one after the other (requirements A18 to A21)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified


class Workflow(Identified, Created, Base):
    """One definition; its executions keep a copy of the steps they were started with."""

    __tablename__ = "workflows"
    __table_args__ = (sa.Index(None, "tenant_id", "name", unique=True),)

    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(sa.String(100))
    #: As ``app.services.workflows.definitions`` has them; secrets of webhooks are sealed.
    steps: Mapped[list[dict[str, Any]]] = mapped_column(sa.JSON)
    #: Whether the steps after one that failed are done, unless the step says it itself (A21).
    continue_on_error: Mapped[bool] = mapped_column(default=False)
    is_enabled: Mapped[bool] = mapped_column(default=True)
