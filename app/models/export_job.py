"""A file that somebody asked for: an export, a report or an organisation's data (requirements K03, C12)."""

from __future__ import annotations

import datetime as dt
import enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified


class ExportKind(enum.StrEnum):
    """What kind of file it is."""

    EXPORT = "export"
    REPORT = "report"
    DATA = "data"


class ExportType(enum.StrEnum):
    """What is in an export (requirement A40)."""

    USER_DATA = "USER_DATA"
    WIKI_PAGES = "WIKI_PAGES"
    MEMBERS = "MEMBERS"
    ANALYTICS = "ANALYTICS"


class ExportStatus(enum.StrEnum):
    """How far it is: PROCESSING from the first attempt on, also between two attempts [C8]."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


def _names(kind: type[enum.StrEnum]) -> sa.Enum:
    return sa.Enum(kind, native_enum=False, length=20, create_constraint=False)


class ExportJob(Identified, Created, Base):
    """One file of one person. The file goes at ``expires_at``, the row stays."""

    __tablename__ = "export_jobs"
    __table_args__ = (
        sa.Index(None, "tenant_id", "user_id", "created_at"),
        sa.Index(None, "tenant_id", "once_key", unique=True),
    )

    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"))
    #: Who asked: a user's id, or ``token:<id>`` for a machine.
    user_id: Mapped[str] = mapped_column(sa.String(64))
    kind: Mapped[ExportKind] = mapped_column(
        sa.Enum(
            ExportKind,
            native_enum=False,
            length=20,
            create_constraint=False,
            values_callable=lambda kind: [known.value for known in kind],
        ),
        default=ExportKind.EXPORT,
        server_default=ExportKind.EXPORT.value,
    )
    #: An `ExportType`, a report's type, or ``data``.
    type: Mapped[str] = mapped_column(sa.String(20))
    status: Mapped[ExportStatus] = mapped_column(_names(ExportStatus), default=ExportStatus.PENDING)
    format: Mapped[str] = mapped_column(sa.String(10))
    filters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    #: What is in an organisation's data, in this order.
    entities: Mapped[list[str] | None] = mapped_column(sa.JSON(none_as_null=True))
    #: Who is mailed at the end (A47).
    notify_email: Mapped[str | None] = mapped_column(sa.String(254))
    #: What an organisation has once only, such as the report of one week.
    once_key: Mapped[str | None] = mapped_column(sa.String(100))
    #: The job that writes it; the ledger has no foreign keys from outside.
    job_id: Mapped[str | None] = mapped_column(sa.String(36), index=True)
    #: The path it is fetched from, once it is there.
    file_url: Mapped[str | None] = mapped_column(sa.String(200))
    #: The key in the storage, noted before the first byte is written.
    file_key: Mapped[str | None] = mapped_column(sa.String(36))
    size: Mapped[int | None] = mapped_column(sa.BigInteger)
    rows: Mapped[int | None] = mapped_column(sa.BigInteger)
    sha256: Mapped[str | None] = mapped_column(sa.String(64))
    error: Mapped[str | None] = mapped_column(sa.Text)
    completed_at: Mapped[dt.datetime | None]
    expires_at: Mapped[dt.datetime | None] = mapped_column(index=True)
