"""The tables of outbound webhooks. They stand in the ledger's metadata once this module is imported, and not before."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from sqlalchemy import JSON, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from ...ledger.base import Base, Moment

PENDING = "pending"
DELIVERED = "delivered"
FAILED = "failed"
DELIVERY_STATES = (PENDING, DELIVERED, FAILED)

#: Why an endpoint is disabled.
BY_HAND, GONE, FAILING = "by_hand", "gone", "failing"


def now() -> datetime:
    """Return the present instant."""
    return datetime.now(UTC)


def new_id() -> str:
    """Return a random id."""
    return str(uuid.uuid4())


class WebhookEndpoint(Base):
    """A subscription: where a tenant wants to hear of which events (K06).

    Attributes:
        id: Random.
        tenant: Whose it is.
        url: Where deliveries go.
        description: For people.
        events: Names of events; `*` = all.
        enabled: Whether anything is sent.
        disabled_reason: Why not: `by_hand`, `gone` (it answered 410), `failing` (for days).
        secret: What signs, sealed.
        old_secret: What signs as well while a rotation lasts, sealed.
        old_secret_until: When that ends.
        created_at: When it was made.
        updated_at: When it was changed last.
    """

    __tablename__ = "understudy_webhook_endpoints"

    id: Mapped[str] = mapped_column(Text, primary_key=True, default=new_id)
    tenant: Mapped[str] = mapped_column(Text)
    url: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text, default="")
    events: Mapped[list[str]] = mapped_column(JSON)
    enabled: Mapped[bool] = mapped_column(default=True)
    disabled_reason: Mapped[str | None] = mapped_column(Text)
    secret: Mapped[str] = mapped_column(Text)
    old_secret: Mapped[str | None] = mapped_column(Text)
    old_secret_until: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    updated_at: Mapped[datetime] = mapped_column(Moment, default=now, onupdate=now)

    __table_args__ = (Index("ix_understudy_webhook_endpoints_of_tenant", "tenant", "created_at", "id"),)

    @property
    def owner(self) -> str:
        """What its secrets are sealed for."""
        return f"{self.tenant}/{self.id}"


class WebhookDelivery(Base):
    """One thing that one receiver is told. The id travels as `webhook-id`, the same in all attempts.

    Attributes:
        id: Random.
        tenant: Whose it is.
        endpoint_id: The endpoint it goes to; None = to `url`, without a subscription.
        url: Where it goes when there is no endpoint.
        secret: What signs it when there is no endpoint, sealed.
        event: The event's name.
        body: The JSON text that is sent, byte for byte.
        state: `pending`, `delivered` or `failed`.
        job_id: The job that delivers it, the latest one.
        attempts: How often it was sent.
        status: The HTTP status of the latest attempt.
        error: Why the latest attempt failed.
        created_at: When it was made.
        queued_at: When it was made, or replayed last.
        finished_at: When it was delivered or given up.
    """

    __tablename__ = "understudy_webhook_deliveries"

    id: Mapped[str] = mapped_column(Text, primary_key=True, default=new_id)
    tenant: Mapped[str] = mapped_column(Text)
    endpoint_id: Mapped[str | None] = mapped_column(Text)
    url: Mapped[str | None] = mapped_column(Text)
    secret: Mapped[str | None] = mapped_column(Text)
    event: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, default=PENDING)
    job_id: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(default=0)
    status: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    queued_at: Mapped[datetime] = mapped_column(Moment, default=now)
    finished_at: Mapped[datetime | None] = mapped_column(Moment, index=True)

    __table_args__ = (
        Index("ix_understudy_webhook_deliveries_of_tenant", "tenant", "created_at", "id"),
        Index("ix_understudy_webhook_deliveries_of_endpoint", "endpoint_id", "created_at", "id"),
    )

    @property
    def owner(self) -> str:
        """What its secret is sealed for."""
        return f"{self.tenant}/{self.id}"


class WebhookAttempt(Base):
    """One request that was made for a delivery.

    Attributes:
        id: Grows with time.
        delivery_id: For which.
        number: The attempt's number, 1-based.
        at: When it was made.
        status: The HTTP status; None = no answer.
        duration_ms: ms that it took; None without an answer, as it would tell what is behind our network's walls.
        response: The beginning of the answer, printable and redacted.
        error: Why it failed; None = it did not.
    """

    __tablename__ = "understudy_webhook_attempts"

    id: Mapped[int] = mapped_column(primary_key=True)
    delivery_id: Mapped[str] = mapped_column(Text, index=True)
    number: Mapped[int]
    at: Mapped[datetime] = mapped_column(Moment, default=now)
    status: Mapped[int | None]
    duration_ms: Mapped[int | None]
    response: Mapped[str] = mapped_column(Text, default="")
    error: Mapped[str | None] = mapped_column(Text)


class WebhookBreaker(Base):
    """What is known of a receiver that failed; one that works has no row. `breaker` writes it.

    Attributes:
        key: The endpoint's id, or a digest of tenant, scheme, host and port.
        failures: Attempts in a row that failed.
        since_at: When the first of them was.
        rest_ms: ms for which it rests, or rested last.
        open_until: Until when nothing is sent; None = it is closed.
    """

    __tablename__ = "understudy_webhook_breakers"

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    failures: Mapped[int]
    since_at: Mapped[datetime] = mapped_column(Moment)
    rest_ms: Mapped[int]
    open_until: Mapped[datetime | None] = mapped_column(Moment)
