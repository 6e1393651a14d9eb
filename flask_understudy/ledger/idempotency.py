"""The answers kept for requests that carry an `Idempotency-Key`, so that a repeat gets the same one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment


class IdempotencyKey(Base):
    """One key and what the first request with it was answered. Kept for 24 h.

    Attributes:
        tenant: Whose it is.
        subject: Who sent it.
        key: As sent.
        request: Digest of method, path and body; a repeat must have the same.
        status: Of the answer.
        headers: Of the answer, those that matter.
        body: Of the answer.
        at: When.
    """

    __tablename__ = "understudy_idempotency_keys"

    tenant: Mapped[str] = mapped_column(Text, primary_key=True)
    subject: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    request: Mapped[str] = mapped_column(Text)
    status: Mapped[int]
    headers: Mapped[dict[str, Any]] = mapped_column(JSON)
    body: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Moment, index=True)
