"""Subscriptions of tenants: made, changed, given a new secret, deleted (K06). The caller commits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from . import breaker, destinations
from .destinations import Rules
from .errors import InvalidWebhook, WebhookConflict
from .sealing import Seal
from .signing import SECRET_PREFIX, is_readable, new_secret
from .tables import (
    BY_HAND,
    DELIVERY_STATES,
    FAILED,
    WebhookAttempt,
    WebhookBreaker,
    WebhookDelivery,
    WebhookEndpoint,
    new_id,
    now,
)

EVERY_EVENT = "*"
MOST_ENDPOINTS = 50
MOST_EVENTS = 50
LONGEST_DESCRIPTION = 200
SHORTEST_SECRET, LONGEST_SECRET = 8, 200
OVERLAP = timedelta(hours=24)
DAY = timedelta(hours=24)

_EVENT = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_LONGEST_EVENT = 100


@dataclass(frozen=True, slots=True)
class Figures:
    """How an endpoint does.

    Attributes:
        deliveries: Made within the last 24 hours.
        failed: How many of those failed.
        failures: Attempts in a row that failed.
        resting_until: Until when nothing is sent, as too many did; once that is past one delivery is the probe. None =
            it does not rest.
    """

    deliveries: int = 0
    failed: int = 0
    failures: int = 0
    resting_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The subscriptions, seen through one session.

    Attributes:
        session: What is read and written through.
        seal: Keeps the secrets.
        rules: Where they may lead.
    """

    session: Session
    seal: Seal
    rules: Rules

    def create(
        self, tenant: str, url: str, events: Sequence[str], *, secret: str | None = None, description: str = ""
    ) -> tuple[WebhookEndpoint, str]:
        """Subscribe a tenant; return the endpoint and its secret, which is never shown again.

        Args:
            tenant: Whose it is.
            url: Where deliveries go.
            events: Names of events, or `*` for all.
            secret: What signs; None makes one.
            description: For people.

        Raises:
            InvalidWebhook: A value cannot be accepted.
            WebhookConflict: The tenant has as many as it may.
        """
        destinations.check(url, self.rules)
        checked = check_events(events)
        _check_description(description)
        secret = new_secret() if secret is None else check_secret(secret)
        if self._count(tenant) >= MOST_ENDPOINTS:
            raise WebhookConflict(f"There are {MOST_ENDPOINTS} endpoints, which is as many as there may be.")
        endpoint = WebhookEndpoint(id=new_id(), tenant=tenant, url=url, events=checked, description=description)
        endpoint.secret = self.seal.seal(secret, endpoint.owner)
        self.session.add(endpoint)
        self.session.flush()
        return endpoint, secret

    def find(self, tenant: str | None, id: str) -> WebhookEndpoint | None:
        """Return an endpoint of a tenant, or with None whoever's it is; None for anybody else's, and for none."""
        found = sa.select(WebhookEndpoint).where(WebhookEndpoint.id == id)
        return self.session.scalar(found if tenant is None else found.where(WebhookEndpoint.tenant == tenant))

    def page(
        self, tenant: str | None, limit: int, after: tuple[datetime, str] | None = None
    ) -> Sequence[WebhookEndpoint]:
        """Return a tenant's endpoints, the oldest first.

        Args:
            tenant: Whose; None = of all tenants, which operators ask for.
            limit: How many at the most.
            after: Time and id of the last one on the page before.
        """
        query = sa.select(WebhookEndpoint)
        if tenant is not None:
            query = query.where(WebhookEndpoint.tenant == tenant)
        if after is not None:
            moment = sa.literal(after[0], WebhookEndpoint.created_at.type)
            place = sa.tuple_(WebhookEndpoint.created_at, WebhookEndpoint.id)
            query = query.where(place > sa.tuple_(moment, sa.literal(after[1])))
        return self.session.scalars(query.order_by(WebhookEndpoint.created_at, WebhookEndpoint.id).limit(limit)).all()

    def of_tenant(self, tenant: str) -> Sequence[WebhookEndpoint]:
        """Return a tenant's endpoints, the oldest first."""
        found = sa.select(WebhookEndpoint).where(WebhookEndpoint.tenant == tenant)
        return self.session.scalars(found.order_by(WebhookEndpoint.created_at, WebhookEndpoint.id)).all()

    def listening(self, tenant: str, event: str) -> list[WebhookEndpoint]:
        """Return a tenant's endpoints that want to hear of an event now."""
        return [e for e in self.of_tenant(tenant) if e.enabled and (event in e.events or EVERY_EVENT in e.events)]

    def figures(self, endpoints: Sequence[WebhookEndpoint]) -> dict[str, Figures]:
        """Return how endpoints do, by their ids."""
        ids = [endpoint.id for endpoint in endpoints]
        day = (
            sa.select(WebhookDelivery.endpoint_id, WebhookDelivery.state, sa.func.count())
            .where(WebhookDelivery.endpoint_id.in_(ids), WebhookDelivery.created_at >= now() - DAY)
            .group_by(WebhookDelivery.endpoint_id, WebhookDelivery.state)
        )
        counts = {(id, state): n for id, state, n in self.session.execute(day)}
        failing = sa.select(WebhookBreaker.key, WebhookBreaker.failures, WebhookBreaker.open_until).where(
            WebhookBreaker.key.in_(ids)
        )
        breakers = {key: (failures, until) for key, failures, until in self.session.execute(failing)}
        return {
            id: Figures(
                sum(counts.get((id, state), 0) for state in DELIVERY_STATES),
                counts.get((id, FAILED), 0),
                *breakers.get(id, (0, None)),
            )
            for id in ids
        }

    def change(self, endpoint: WebhookEndpoint, **values: Any) -> None:
        """Set `url`, `events`, `description` or `enabled`; enabling it forgets what failed.

        Raises:
            InvalidWebhook: A value cannot be accepted; nothing was changed.
        """
        if "url" in values:
            destinations.check(values["url"], self.rules)
        if "events" in values:
            values["events"] = check_events(values["events"])
        if "description" in values:
            _check_description(values["description"])
        if "enabled" in values and values["enabled"] != endpoint.enabled:
            endpoint.disabled_reason = None if values["enabled"] else BY_HAND
        if values.get("enabled") or values.get("url", endpoint.url) != endpoint.url:
            breaker.close(self.session.connection(bind_arguments={"mapper": WebhookEndpoint}), endpoint.id)
        for name, value in values.items():
            setattr(endpoint, name, value)
        self.session.flush()

    def rotate(
        self, endpoint: WebhookEndpoint, *, secret: str | None = None, overlap: timedelta = OVERLAP
    ) -> tuple[str, datetime]:
        """Give an endpoint a new secret; both sign for a while.

        Args:
            endpoint: Which.
            secret: The new one; None makes one.
            overlap: For how long the old one signs too.

        Returns:
            The new secret, which is never shown again, and when the old one ends.
        """
        secret = new_secret() if secret is None else check_secret(secret)
        endpoint.old_secret = endpoint.secret
        endpoint.old_secret_until = until = now() + overlap
        endpoint.secret = self.seal.seal(secret, endpoint.owner)
        self.session.flush()
        return secret, until

    def secrets(self, endpoint: WebhookEndpoint) -> list[str]:
        """Return what signs now: the secret and, while a rotation lasts, the one before.

        Raises:
            SecretUnreadable: They were sealed with another key.
        """
        sealed = [endpoint.secret]
        if endpoint.old_secret and endpoint.old_secret_until and endpoint.old_secret_until > now():
            sealed.append(endpoint.old_secret)
        return [self.seal.open(text, endpoint.owner) for text in sealed]

    def delete(self, endpoint: WebhookEndpoint) -> None:
        """Delete an endpoint with its deliveries; jobs that are still to deliver them find nothing to do."""
        mine = sa.select(WebhookDelivery.id).where(WebhookDelivery.endpoint_id == endpoint.id)
        self.session.execute(sa.delete(WebhookAttempt).where(WebhookAttempt.delivery_id.in_(mine)))
        self.session.execute(sa.delete(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint.id))
        breaker.close(self.session.connection(bind_arguments={"mapper": WebhookEndpoint}), endpoint.id)
        self.session.delete(endpoint)
        self.session.flush()

    def _count(self, tenant: str) -> int:
        mine = sa.select(sa.func.count()).select_from(WebhookEndpoint).where(WebhookEndpoint.tenant == tenant)
        return self.session.scalar(mine) or 0


def check_event(event: str) -> str:
    """Return the name of an event, or refuse what is none.

    Raises:
        InvalidWebhook: It is none.
    """
    if len(event) > _LONGEST_EVENT or not _EVENT.fullmatch(event):
        raise InvalidWebhook("event", f"{event[:100]!r} is no event; it takes a name such as incident.created.")
    return event


def check_events(events: Sequence[str]) -> list[str]:
    """Return the names of events, each once.

    Raises:
        InvalidWebhook: One is none, or there are too many or none.
    """
    if not 1 <= len(events) <= MOST_EVENTS:
        raise InvalidWebhook("events", f"There are {len(events)} events; it takes 1 to {MOST_EVENTS}, or '*' for all.")
    try:
        return list(dict.fromkeys(event if event == EVERY_EVENT else check_event(event) for event in events))
    except InvalidWebhook as problem:
        raise InvalidWebhook("events", str(problem)) from None


def check_secret(secret: str) -> str:
    """Return a secret that somebody chose, or refuse it without showing it.

    Raises:
        InvalidWebhook: It is too short, too long, not of printable ASCII, or no base64 where it says so.
    """
    if not SHORTEST_SECRET <= len(secret) <= LONGEST_SECRET or not re.fullmatch(r"[!-~]+", secret):
        wanted = f"{SHORTEST_SECRET} to {LONGEST_SECRET} printable ASCII characters without spaces"
        raise InvalidWebhook("secret", f"The secret takes {wanted}.")
    if not is_readable(secret):
        raise InvalidWebhook("secret", f"A secret that begins with {SECRET_PREFIX} takes base64 of the key after that.")
    return secret


def _check_description(text: str) -> None:
    if len(text) > LONGEST_DESCRIPTION or not (text.isprintable() or not text):
        raise InvalidWebhook("description", f"The description takes {LONGEST_DESCRIPTION} printable characters.")
