"""An organisation: everything in the service belongs to one."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified


class Tenant(Identified, Created, Base):
    """One organisation."""

    __tablename__ = "tenants"
    __table_args__ = (sa.Index(None, "onboarding_key", unique=True),)

    slug: Mapped[str] = mapped_column(sa.String(63), unique=True)
    name: Mapped[str] = mapped_column(sa.String(200))
    #: What it pays for: a name out of ``app.services.tenant_onboarding.TIERS``.
    tier: Mapped[str] = mapped_column(sa.String(20), default="free", server_default="free")
    stripe_customer_id: Mapped[str | None] = mapped_column(sa.String(80))
    stripe_subscription_id: Mapped[str | None] = mapped_column(sa.String(80))
    #: Which order made it; None for one that signed up by itself.
    onboarding_key: Mapped[str | None] = mapped_column(sa.String(100))
    #: When its order was carried out in full.
    onboarded_at: Mapped[dt.datetime | None]
