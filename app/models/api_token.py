"""A key that a program calls the API with."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified


class ApiToken(Identified, Created, Base):
    """A bearer token of one tenant. The secret is not here, only its SHA-256 digest."""

    __tablename__ = "api_tokens"

    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"), index=True)
    #: The person it acts for; None for a machine's token, which then acts for itself.
    user_id: Mapped[str | None] = mapped_column(sa.ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(sa.String(100))
    #: The first characters of the secret, to recognise it by.
    prefix: Mapped[str] = mapped_column(sa.String(12))
    digest: Mapped[str] = mapped_column(sa.String(64), unique=True)
    scopes: Mapped[list[str]]
    expires_at: Mapped[dt.datetime | None]
    revoked_at: Mapped[dt.datetime | None]
    #: Written at most once a minute.
    last_used_at: Mapped[dt.datetime | None]
