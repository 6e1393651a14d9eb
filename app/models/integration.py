"""An account elsewhere that an organisation lets the service use (requirement A16)."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified


class Integration(Identified, Created, Base):
    """One grant: an access token, and the refresh token that renews it. Both are sealed."""

    __tablename__ = "integrations"
    __table_args__ = (sa.UniqueConstraint("tenant_id", "provider", "account"),)

    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"))
    #: A name out of ``app.services.integrations.PROVIDERS``.
    provider: Mapped[str] = mapped_column(sa.String(50))
    #: Whose account it is there, as people call it.
    account: Mapped[str] = mapped_column(sa.String(254))
    access_token: Mapped[str] = mapped_column(sa.Text)
    refresh_token: Mapped[str] = mapped_column(sa.Text)
    expires_at: Mapped[dt.datetime] = mapped_column(index=True)
    refreshed_at: Mapped[dt.datetime | None]
    #: When the provider said that the grant has ended.
    revoked_at: Mapped[dt.datetime | None]
    error: Mapped[str | None] = mapped_column(sa.Text)
