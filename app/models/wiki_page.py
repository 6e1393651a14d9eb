"""A page of an organisation's wiki."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Identified, utcnow


class WikiPage(Identified, Created, Base):
    """One page, known by its slug inside its tenant."""

    __tablename__ = "wiki_pages"
    __table_args__ = (sa.UniqueConstraint("tenant_id", "slug"),)

    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"))
    author_id: Mapped[str | None] = mapped_column(sa.ForeignKey("users.id"))
    slug: Mapped[str] = mapped_column(sa.String(200))
    title: Mapped[str] = mapped_column(sa.String(300))
    body: Mapped[str] = mapped_column(sa.Text)
    updated_at: Mapped[dt.datetime] = mapped_column(default=utcnow, onupdate=utcnow)
