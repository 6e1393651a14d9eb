"""A person in an organisation."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Base, Created, Identified
from app.models.tenant import Tenant


class User(Identified, Created, Base):
    """A member of one tenant; the same address may be a member of several."""

    __tablename__ = "users"
    __table_args__ = (sa.UniqueConstraint("tenant_id", "email"),)

    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"))
    email: Mapped[str] = mapped_column(sa.String(254), index=True)
    name: Mapped[str] = mapped_column(sa.String(200))
    #: A name out of ``app.policies.ROLES``.
    role: Mapped[str] = mapped_column(sa.String(20), default="member")
    #: scrypt, as Werkzeug writes it; None for a person who signs in by token only.
    password_hash: Mapped[str | None] = mapped_column(sa.String(255))
    email_verified_at: Mapped[dt.datetime | None]

    tenant: Mapped[Tenant] = relationship()
