"""Outbound webhooks: subscriptions, deliveries and the actor that makes them (needs the extra `webhooks`).

    webhooks = Webhooks(jobs)                                   # beside `jobs = Understudy(db)`
    webhooks.publish("incident.created", {"event": …}, tenant)  # one job per endpoint that listens

What is published is written in the caller's transaction when that has uncommitted writes, as a send is, and rolled back
nobody hears of it; else it is committed at once. A delivery is an ordinary
job: it is tried again, found and cancelled as such. Importing this module adds the tables `understudy_webhook_*` to
`jobs.metadata`, for the application's migrations.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dramatiq
from sqlalchemy.orm import Session

from ...joining import has_uncommitted_writes
from ...limit import Limit
from ...policy import backoff_ms
from . import breaker, delivering, destinations
from .deliveries import Deliveries, body_of
from .destinations import Rules
from .endpoints import Endpoints, check_event, check_secret
from .errors import DeliveryGivenUp, DestinationNotAllowed, WebhookConflict
from .sealing import Seal
from .tables import WebhookDelivery, WebhookEndpoint, new_id

if TYPE_CHECKING:
    from ...extension import Understudy

#: Five tries after 10, 50, 250 and 1,250 s (D13), 30 s each.
RETRIES = 4
MIN_BACKOFF_MS = 10_000
BACKOFF_FACTOR = 5
MAX_BACKOFF_MS = 3_600_000
TIME_LIMIT_MS = 30_000
TEST_EVENT = "webhook.test"
#: Requests to one receiver at a time, by all workers together: a slow one takes no more of them than that (S12).
AT_A_TIME = 2


class Webhooks:
    """The outbound webhooks of an application.

    Args:
        jobs: The application's `Understudy`. The actor is declared on it at once.
        queue_name: The queue of the deliveries.
        actor_name: The actor's name.
        context: What checks receivers' certificates; default the system's authorities.
    """

    def __init__(
        self,
        jobs: Understudy,
        *,
        queue_name: str = "webhooks",
        actor_name: str = "webhook:send",
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.jobs = jobs
        self.context = context

        @jobs.actor(
            queue_name=queue_name,
            actor_name=actor_name,
            max_retries=RETRIES,
            min_backoff=MIN_BACKOFF_MS,
            backoff_factor=BACKOFF_FACTOR,
            max_backoff=MAX_BACKOFF_MS,
            time_limit=TIME_LIMIT_MS,
            fallback="hold",
            limit=Limit(concurrency=AT_A_TIME, key=_named_by_its_message),
            throws=(DeliveryGivenUp, DestinationNotAllowed),
        )
        def deliver_webhook(delivery_id: str) -> dict[str, Any]:
            """Send a webhook to its receiver."""
            return delivering.deliver(self, delivery_id)

        self.actor = deliver_webhook
        jobs.broker.companions["webhooks"] = self

    @property
    def session(self) -> Session:
        """The application's session, which everything here reads and writes through."""
        session: Session = self.jobs.state.db.session()
        return session

    @property
    def rules(self) -> Rules:
        """Where webhooks may go, by the application's settings."""
        return Rules.of(self.jobs.state.config)

    @property
    def seal(self) -> Seal:
        """What keeps the secrets."""
        return Seal(self.jobs.state.app)

    @property
    def endpoints(self) -> Endpoints:
        """The subscriptions."""
        return Endpoints(self.session, self.seal, self.rules)

    @property
    def deliveries(self) -> Deliveries:
        """The deliveries."""
        return Deliveries(self.session, self._message, self.jobs.send_many)

    def publish(self, event: str, payload: Any, tenant: str) -> list[WebhookDelivery]:
        """Tell every endpoint of a tenant that listens to an event (U03).

        It joins the caller's transaction when that has uncommitted writes, and else commits at once.

        Args:
            event: Its name, such as `incident.created`.
            payload: What is sent, as JSON.
            tenant: Whose endpoints.

        Returns:
            The deliveries, one per endpoint, each with its `job_id`.

        Raises:
            InvalidWebhook: The event is no name, or the payload no JSON.
        """
        check_event(event)
        body = body_of(payload)
        with self._joined():
            listening = self.endpoints.listening(tenant, event)
            return self.deliveries.add(tenant, event, body, listening) if listening else []

    def send(
        self,
        url: str,
        payload: Any,
        secret: str,
        event: str,
        tenant: str = "",
        *,
        max_retries: int | None = None,
        time_limit: int | None = None,
    ) -> WebhookDelivery:
        """Send to a URL that nobody subscribed with; joins the caller's transaction as `publish` does (A48).

        The secret is kept sealed beside the delivery; the job carries the delivery's id and nothing else (C33).

        Args:
            url: Where to.
            payload: What is sent, as JSON.
            secret: What signs.
            event: The event's name.
            tenant: Whose it is.
            max_retries: Retries after the first try; default 4 (D06, D13).
            time_limit: ms that a try may take; default 30,000.

        Returns:
            The delivery, with its `job_id`.

        Raises:
            InvalidWebhook: A value cannot be accepted; nothing was stored.
        """
        check_event(event)
        check_secret(secret)
        destinations.check(url, self.rules)
        delivery = WebhookDelivery(id=new_id(), tenant=tenant, url=url, event=event, body=body_of(payload))
        delivery.secret = self.seal.seal(secret, delivery.owner)
        given = {"max_retries": max_retries, "time_limit": time_limit}
        with self._joined():
            self.deliveries.store([delivery], **{name: value for name, value in given.items() if value is not None})
            return delivery

    def test(self, endpoint: WebhookEndpoint) -> WebhookDelivery:
        """Send an endpoint a `webhook.test`, whatever it listens to.

        Raises:
            WebhookConflict: It is disabled.
        """
        if not endpoint.enabled:
            raise WebhookConflict("The endpoint is disabled; enable it first.")
        payload = {"event": TEST_EVENT, "data": {"endpointId": endpoint.id}}
        return self.deliveries.add(endpoint.tenant, TEST_EVENT, body_of(payload), [endpoint])[0]

    def prune(self, age: timedelta | None = None) -> int:
        """Delete deliveries that ended long ago, 30 days by default; return how many. For a daily schedule."""
        return self.deliveries.prune() if age is None else self.deliveries.prune(age)

    def wait_ms(self, attempt: int) -> int:
        """Return the wait after an attempt, as the actor has it."""
        return backoff_ms(attempt, base=MIN_BACKOFF_MS, factor=BACKOFF_FACTOR, ceiling=MAX_BACKOFF_MS, jitter=0)

    @contextmanager
    def _joined(self) -> Iterator[None]:
        """Leave the commit to a caller with uncommitted writes; else commit, or undo what failed."""
        session = self.session
        if has_uncommitted_writes(session):
            yield
            return
        try:
            yield
            session.commit()
        except BaseException:
            session.rollback()
            raise

    def _message(
        self, delivery_id: str, tenant: str, endpoint_id: str | None, url: str | None, **options: Any
    ) -> dramatiq.Message[Any]:
        receiver = endpoint_id or breaker.key_of(tenant, destinations.read(url or "", destinations.ANYWHERE))
        if tenant:
            options["tenant"] = tenant
        message: dramatiq.Message[Any] = self.actor.message_with_options(
            args=(delivery_id,), transaction=True, concurrency_key=f"webhook:{receiver}", **options
        )
        return message


def _named_by_its_message(delivery_id: str) -> None:
    """Each message of a delivery says which receiver it is for; its id alone does not tell."""
