"""Who did what. Rows are only added, and move to the archive after a year (requirement E06)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified, utcnow


class AuditColumns(Identified, Created):
    """The columns that the log and its archive have in common.

    Ids of tenants and people are plain strings here: the record outlives what it speaks of.
    """

    tenant_id: Mapped[str] = mapped_column(sa.String(36))
    #: The subject that acted: a user's id, ``token:<id>``, ``job:<id>`` or ``cli``.
    subject: Mapped[str] = mapped_column(sa.String(64))
    action: Mapped[str] = mapped_column(sa.String(64))
    target: Mapped[str | None] = mapped_column(sa.String(200))
    ip: Mapped[str | None] = mapped_column(sa.String(45))
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)


class AuditLog(AuditColumns, Base):
    """One action of the last year."""

    __tablename__ = "audit_logs"
    __table_args__ = (sa.Index(None, "tenant_id", "created_at"), sa.Index(None, "created_at"))


class AuditLogArchive(AuditColumns, Base):
    """One older action, under the id it had in the log (requirement K05)."""

    __tablename__ = "audit_logs_archive"
    __table_args__ = (sa.Index(None, "tenant_id", "created_at"),)

    archived_at: Mapped[dt.datetime] = mapped_column(default=utcnow)
