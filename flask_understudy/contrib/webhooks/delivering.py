"""One attempt at a delivery: asked of the breaker, signed, posted, recorded.

No transaction is open while the receiver is waited for. What an attempt means is decided in one place, `_judge`:

- 2xx: delivered, and whatever had failed before is forgotten;
- 410: given up, and the endpoint is disabled; so it is after failing for three days;
- a destination that is not allowed: given up;
- an outage (no answer, 429, 5xx) counts for the breaker. While it is open, jobs are put off without a charge, and so is
  the probe that finds the receiver still away: time bounds them then, three days, and not the number of attempts;
- anything else, 3xx included: tried again while attempts are left.
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import Connection

from ...context import current_job
from ...errors import Snooze
from . import breaker, destinations, posting
from .breaker import Admission
from .destinations import Destination
from .errors import DeliveryFailed, DeliveryGivenUp, DestinationNotAllowed, InvalidWebhook, SecretUnreadable
from .posting import Answer
from .signing import headers
from .tables import DELIVERED, FAILED, FAILING, GONE, PENDING, WebhookAttempt, WebhookDelivery, WebhookEndpoint, now

if TYPE_CHECKING:
    from .sending import Webhooks

logger = logging.getLogger("flask_understudy")

#: How long a receiver may be away before its deliveries are given up and its endpoint is disabled.
PATIENCE = timedelta(days=3)
LONGEST_RETRY_AFTER_SECONDS = 86_400
_WITH_RETRY_AFTER = {429, 502, 503, 504}
#: What a probe that failed waits longer than the others, so that another delivery is the next probe.
_STEP_BACK_MS = breaker.SPREAD_MS

NOT_ALLOWED = "destination_not_allowed"
DISABLED, DELETED, UNREADABLE, AWAY = "endpoint_disabled", "endpoint_deleted", "secret_unreadable", "receiver_away"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be sent, read before the receiver is asked."""

    id: str
    tenant: str
    endpoint_id: str | None
    event: str
    body: bytes
    queued_at: datetime
    destination: Destination
    secrets: tuple[str, ...]

    @property
    def breaker(self) -> str:
        """The key of the receiver's breaker."""
        return self.endpoint_id or breaker.key_of(self.tenant, self.destination)

    @property
    def is_overdue(self) -> bool:
        """Whether a receiver that is away was waited for long enough."""
        return now() - self.queued_at > PATIENCE


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt means.

    Attributes:
        state: Of the delivery from now on.
        error: Why it failed; None = it did not.
        raised: What the actor raises; None = nothing.
        disable: Why the endpoint is disabled; None = it is not.
    """

    state: str
    error: str | None = None
    raised: Exception | None = None
    disable: str | None = None


def deliver(webhooks: Webhooks, delivery_id: str) -> dict[str, Any]:
    """Make one attempt; return what the job's result is.

    Raises:
        DeliveryFailed: It failed, and may succeed another time.
        DeliveryGivenUp, DestinationNotAllowed: It failed for good.
        Snooze: The receiver rests.
    """
    order = _read(webhooks, delivery_id)
    if order is None:
        return {"delivery": delivery_id, "skipped": True}
    admission = breaker.admit(_connection(webhooks), order.breaker)
    webhooks.session.commit()
    if admission.wait_ms is not None:
        if order.is_overdue:
            _give_up(webhooks, order.id, AWAY)
        raise Snooze(admission.wait_ms / 1000, "The receiver failed several times in a row and rests.")
    try:
        addresses = destinations.vet(order.destination, webhooks.rules)
    except DestinationNotAllowed:
        _settle(webhooks, order, None, admission, Verdict(FAILED, NOT_ALLOWED))
        raise
    answer = _post(webhooks, order, addresses)
    verdict = _settle(webhooks, order, answer, admission, None)
    if verdict.raised is not None:
        raise verdict.raised
    return {"delivery": order.id, "status": answer.status}


def _read(webhooks: Webhooks, delivery_id: str) -> Order | None:
    """Return what is to be sent; None when it was delivered, or deleted, meanwhile.

    Raises:
        DeliveryGivenUp: It cannot be sent any more, or the job is another tenant's.
    """
    session = webhooks.session
    delivery = session.get(WebhookDelivery, delivery_id, populate_existing=True)
    if delivery is None or delivery.state == DELIVERED:
        session.rollback()
        return None
    if delivery.tenant and current_job.tenant and delivery.tenant != current_job.tenant:
        session.rollback()
        raise DeliveryGivenUp(f"The tenant of the job has no delivery {delivery_id!r:.80}.")
    delivery.state, delivery.job_id = PENDING, current_job.id
    try:
        url, secrets = _whereto(webhooks, delivery)
        destination = destinations.read(url, webhooks.rules)
    except InvalidWebhook:
        _give_up(webhooks, delivery_id, NOT_ALLOWED)
    except SecretUnreadable as problem:
        logger.error("Webhook delivery %s: %s", delivery_id, problem)
        _give_up(webhooks, delivery_id, UNREADABLE)
    order = Order(
        id=delivery.id,
        tenant=delivery.tenant,
        endpoint_id=delivery.endpoint_id,
        event=delivery.event,
        body=delivery.body.encode(),
        queued_at=delivery.queued_at,
        destination=destination,
        secrets=tuple(secrets),
    )
    session.commit()
    return order


def _whereto(webhooks: Webhooks, delivery: WebhookDelivery) -> tuple[str, list[str]]:
    if delivery.endpoint_id is None:
        return delivery.url or "", [webhooks.seal.open(delivery.secret or "", delivery.owner)]
    endpoint = webhooks.session.get(WebhookEndpoint, delivery.endpoint_id, populate_existing=True)
    if endpoint is None or not endpoint.enabled:
        _give_up(webhooks, delivery.id, DELETED if endpoint is None else DISABLED)
    return endpoint.url, webhooks.endpoints.secrets(endpoint)


def _post(webhooks: Webhooks, order: Order, addresses: list[str]) -> Answer:
    signed = headers(order.secrets, id=order.id, event=order.event, timestamp=int(time.time()), body=order.body)
    sent = {"Content-Type": "application/json", "User-Agent": "flask-understudy", **signed}
    answer = posting.post(order.destination, addresses, order.body, sent, context=webhooks.context)
    logger.info("Webhook delivery %s to %s: %s", order.id, order.destination.origin, answer.status or "no answer")
    return answer


def _settle(
    webhooks: Webhooks, order: Order, answer: Answer | None, admission: Admission, verdict: Verdict | None
) -> Verdict:
    """Record an attempt and all that follows from it, in one transaction."""
    session, connection = webhooks.session, _connection(webhooks)
    delivery = session.get(WebhookDelivery, order.id, with_for_update=True, populate_existing=True)
    if verdict is None:
        assert answer is not None
        verdict = _judge(webhooks, connection, order, answer, admission)
    if delivery is not None:
        _record(webhooks, delivery, order, answer, verdict)
    if verdict.disable is not None and order.endpoint_id is not None:
        endpoint = session.get(WebhookEndpoint, order.endpoint_id, populate_existing=True)
        if endpoint is not None and endpoint.enabled:
            endpoint.enabled, endpoint.disabled_reason = False, verdict.disable
            logger.warning("Webhook endpoint %s was disabled: %s", endpoint.id, verdict.disable)
    session.commit()
    return verdict


def _record(
    webhooks: Webhooks, delivery: WebhookDelivery, order: Order, answer: Answer | None, verdict: Verdict
) -> None:
    response = answer.body if answer is not None else ""
    for secret in order.secrets:
        response = response.replace(secret, "***")
    status = answer.status if answer is not None else None
    delivery.attempts += 1
    delivery.state, delivery.status, delivery.error = verdict.state, status, verdict.error
    delivery.finished_at = None if verdict.state == PENDING else now()
    webhooks.session.add(
        WebhookAttempt(
            delivery_id=delivery.id,
            number=delivery.attempts,
            status=status,
            duration_ms=answer.duration_ms if answer is not None and status is not None else None,
            response=response,
            error=verdict.error,
        )
    )


def _judge(webhooks: Webhooks, connection: Connection, order: Order, answer: Answer, admission: Admission) -> Verdict:
    """Decide what an answer means, and tell the breaker."""
    if answer.is_success or not answer.is_outage:
        if admission.has_failed:
            breaker.close(connection, order.breaker)
        if answer.is_success:
            return Verdict(DELIVERED)
    error = posting.NO_ANSWER if answer.status is None else f"http_{answer.status}"
    if answer.status == 410:
        return Verdict(FAILED, error, DeliveryGivenUp("The receiver answered 410: it is gone."), GONE)
    disable = None
    if answer.is_outage:
        standing = breaker.failed(connection, order.breaker, admission)
        disable = FAILING if standing.failing_ms > PATIENCE.total_seconds() * 1000 else None
    wanted_ms = _retry_after_ms(answer)
    if disable is not None or (admission.is_probe and order.is_overdue):
        return Verdict(FAILED, error, DeliveryGivenUp(f"The receiver has been away for days: {error}."), disable)
    if admission.is_probe and answer.is_outage:
        wait_ms = max(admission.rest_ms + _STEP_BACK_MS, wanted_ms or 0)
        return Verdict(PENDING, error, Snooze(wait_ms / 1000, f"The receiver is still away: {error}."))
    if current_job.max_attempts is not None and current_job.attempt >= current_job.max_attempts:
        return Verdict(FAILED, error, DeliveryFailed(f"The receiver did not take it: {error}."))
    if wanted_ms is None:
        return Verdict(PENDING, error, DeliveryFailed(f"The receiver did not take it: {error}."))
    delay = max(wanted_ms, webhooks.wait_ms(current_job.attempt))
    return Verdict(PENDING, error, DeliveryFailed(f"The receiver asks to wait: {error}.", delay=delay))


def _retry_after_ms(answer: Answer) -> int | None:
    """Return what the receiver asks to wait for, bounded; None where it does not, or need not be listened to."""
    text = answer.retry_after.strip()
    if answer.status not in _WITH_RETRY_AFTER or not text:
        return None
    if re.fullmatch(r"[0-9]+", text):
        seconds = float(text[:10])
    else:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now()).total_seconds()
    return int(1000 * min(max(seconds, 0), LONGEST_RETRY_AFTER_SECONDS))


def _give_up(webhooks: Webhooks, delivery_id: str, error: str) -> NoReturn:
    """Mark a delivery as failed, commit, and end the job."""
    session = webhooks.session
    session.rollback()
    delivery = session.get(WebhookDelivery, delivery_id, populate_existing=True)
    if delivery is not None and delivery.state != DELIVERED:
        delivery.state, delivery.error, delivery.finished_at = FAILED, error, now()
    session.commit()
    raise DeliveryGivenUp(f"The delivery was given up: {error}.")


def _connection(webhooks: Webhooks) -> Connection:
    return webhooks.session.connection(bind_arguments={"mapper": WebhookDelivery})
