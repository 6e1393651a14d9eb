"""A code that lets somebody set a new password."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified


class PasswordResetToken(Identified, Created, Base):
    """One code sent by mail, kept as a keyed digest because the code itself is short."""

    __tablename__ = "password_reset_tokens"

    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"))
    user_id: Mapped[str] = mapped_column(sa.ForeignKey("users.id"), index=True)
    digest: Mapped[str] = mapped_column(sa.String(64))
    expires_at: Mapped[dt.datetime] = mapped_column(index=True)
    used_at: Mapped[dt.datetime | None]
    #: Wrong codes tried against this one.
    failures: Mapped[int] = mapped_column(default=0)
