"""What webhooks delivered: a single one, and what became of all. Their secrets are never shown.

Here and in `webhooks` the application's `Webhooks` is found as a companion of its broker, so that nothing of what
sends, with its tables and the extra that it needs, is imported for applications without.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, cast

from ..contrib.api import Problem, invalid, not_found
from ..contrib.webhooks.errors import InvalidWebhook, WebhookConflict
from .callers import caller, state
from .doors import door, note, settle
from .paging import cursor_of, place_of
from .webhook_shapes import DeliveriesQuery, DeliveryDetail, DeliveryPage, DeliveryShape, Single, WebhookAttemptShape

if TYPE_CHECKING:
    from ..contrib.webhooks.sending import Webhooks
    from ..contrib.webhooks.tables import WebhookAttempt, WebhookDelivery

TAG = "Webhooks"
NEEDS = "webhooks"

_ID = re.compile(r"[0-9a-f-]{36}")

T = TypeVar("T")


@door(
    "/webhooks",
    method="POST",
    scope="enqueue",
    tag=TAG,
    audit_as="webhook.send",
    body=Single,
    answers={202: DeliveryShape},
    needs=NEEDS,
)
def send_webhook(body: Single) -> tuple[DeliveryShape, int]:
    """Send one webhook to a URL (I17)."""
    tenant = caller().principal.tenant
    sent = checked(lambda: sender().send(body.url, body.payload, body.secret, body.event_type, tenant))
    note(target=sent.id, event=body.event_type)
    return of_delivery(sent), 202


@door("/webhooks/deliveries", scope="read", tag=TAG, query=DeliveriesQuery, answers={200: DeliveryPage}, needs=NEEDS)
def list_deliveries(query: DeliveriesQuery) -> DeliveryPage:
    """List the deliveries, the latest first."""
    return page(query)


@door("/webhooks/deliveries/<delivery_id>", scope="read", tag=TAG, answers={200: DeliveryDetail}, needs=NEEDS)
def show_delivery(delivery_id: str) -> DeliveryDetail:
    """Describe a delivery with its attempts."""
    _settled()
    delivery, shows_payload = _own(delivery_id), caller().may("payload")
    return DeliveryDetail(
        delivery=of_delivery(delivery),
        url=shown_url(_url_of(delivery)),
        body=delivery.body if shows_payload else None,
        tries=[_of_attempt(attempt, shows_payload) for attempt in sender().deliveries.attempts(delivery)],
    )


@door(
    "/webhooks/deliveries/<delivery_id>/replay",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="webhook.replay",
    answers={202: DeliveryShape},
    errors=(409,),
    needs=NEEDS,
)
def replay_delivery(delivery_id: str) -> tuple[DeliveryShape, int]:
    """Deliver again what has ended, under the same id."""
    deliveries = sender().deliveries
    deliveries.settle(caller().scope.tenant)
    delivery = _own(delivery_id)
    note(tenant=delivery.tenant)
    checked(lambda: deliveries.replay(delivery))
    return of_delivery(delivery), 202


def sender() -> Webhooks:
    """Return the application's webhooks; the doors that need them have seen that there are some."""
    return cast("Webhooks", state().broker.companions[NEEDS])


def is_id(text: str) -> bool:
    """Whether an endpoint or a delivery could be called that."""
    return _ID.fullmatch(text) is not None


def page(query: DeliveriesQuery) -> DeliveryPage:
    """Return a page of the deliveries that the caller may know of."""
    after = place_of(query)
    _settled()
    found = sender().deliveries.page(
        caller().scope.tenant, query.limit + 1, endpoint=query.endpoint, state=query.state, after=after
    )
    shown = found[: query.limit]
    place = (shown[-1].created_at, shown[-1].id) if len(found) > query.limit else None
    return DeliveryPage(data=[of_delivery(one) for one in shown], next_cursor=cursor_of(place, query))


def checked(act: Callable[[], T]) -> T:
    """Do it, or say as a problem what cannot be accepted.

    Raises:
        Problem: 422, naming the field; 409.
    """
    try:
        return act()
    except InvalidWebhook as problem:
        raise invalid("eventType" if problem.field == "event" else problem.field, str(problem)) from None
    except WebhookConflict as problem:
        raise Problem(409, detail=str(problem)) from None


def shown_url(url: str) -> str:
    """Return a URL as the caller may see it: its query, where receivers keep keys, is for those who may change it."""
    return url if caller().may("admin") else url.partition("?")[0]


def of_delivery(delivery: WebhookDelivery) -> DeliveryShape:
    """Return a delivery as the API shows it."""
    return DeliveryShape(**{name: getattr(delivery, name) for name in DeliveryShape.model_fields})


def _own(delivery_id: str) -> WebhookDelivery:
    found = sender().deliveries.find(caller().scope.tenant, delivery_id) if is_id(delivery_id) else None
    if found is None:
        raise not_found()
    return found


def _url_of(delivery: WebhookDelivery) -> str:
    if delivery.endpoint_id is None:
        return delivery.url or ""
    endpoint = sender().endpoints.find(delivery.tenant, delivery.endpoint_id)
    return "" if endpoint is None else endpoint.url


def _settled() -> None:
    """Mark what no job delivers any more, so that it is shown as failed."""
    sender().deliveries.settle(caller().scope.tenant)
    settle()


def _of_attempt(attempt: WebhookAttempt, shows_payload: bool) -> WebhookAttemptShape:
    return WebhookAttemptShape(
        number=attempt.number,
        at=attempt.at,
        status=attempt.status,
        duration_ms=attempt.duration_ms,
        response=attempt.response if shows_payload else None,
        error=attempt.error,
    )
