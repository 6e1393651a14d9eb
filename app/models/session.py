"""A signed-in person."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified


class Session(Identified, Created, Base):
    """What a sign-in made: a short-lived bearer token of one user, kept as a digest."""

    __tablename__ = "sessions"
    __table_args__ = (sa.Index(None, "created_at"),)

    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"))
    user_id: Mapped[str] = mapped_column(sa.ForeignKey("users.id"), index=True)
    digest: Mapped[str] = mapped_column(sa.String(64), unique=True)
    expires_at: Mapped[dt.datetime]
