"""Webhooks over HTTP: a single one (I17), and what became of deliveries. Their secrets are never shown."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from app.actors.webhooks import queue_webhook
from app.auth import current_principal, requires
from app.extensions import webhooks
from app.services.shapes import Shape
from app.services.webhooks.doors import checked, note, of_attempt, of_delivery, once_as, own_delivery, page, settle
from app.services.webhooks.shapes import DeliveryDetail, DeliveryPage, DeliveryShape, Page, Single
from flask_understudy.contrib.api import operation
from flask_understudy.contrib.webhooks.tables import WebhookDelivery

bp = Blueprint("webhooks", __name__, url_prefix="/api/jobs/webhooks")

TAG = "Webhooks"


@bp.post("")
@requires("enqueue")
@operation(tag=TAG, body=Single, answers={202: DeliveryShape})
def send(body: Single) -> Response:
    """Send one webhook to a URL (I17)."""
    return once_as(lambda: (of_delivery(_single(body)), 202))


@bp.get("/deliveries")
@requires("read")
@operation(tag=TAG, query=Page, answers={200: DeliveryPage})
def list_deliveries(query: Page) -> Any:
    """List the organisation's deliveries, the latest first."""
    return page(query)


@bp.get("/deliveries/<delivery_id>")
@requires("read")
@operation(tag=TAG, answers={200: DeliveryDetail})
def show_delivery(delivery_id: str) -> Any:
    """Describe a delivery with its attempts."""
    settle()
    delivery = own_delivery(delivery_id)
    shows_payload = "payload" in current_principal().scopes
    return DeliveryDetail(
        delivery=of_delivery(delivery),
        body=delivery.body if shows_payload else None,
        tries=[of_attempt(attempt, shows_payload) for attempt in webhooks.deliveries.attempts(delivery)],
    )


@bp.post("/deliveries/<delivery_id>/replay")
@requires("operate")
@operation(tag=TAG, answers={202: DeliveryShape}, errors=(409,))
def replay_delivery(delivery_id: str) -> Response:
    """Deliver again what has ended, under the same id."""
    settle()
    delivery = own_delivery(delivery_id)

    def replay() -> tuple[Shape, int]:
        note("replay", delivery_id)
        checked(lambda: webhooks.deliveries.replay(delivery))
        return of_delivery(delivery), 202

    return once_as(replay)


def _single(body: Single) -> WebhookDelivery:
    tenant = current_principal().tenant
    return checked(
        lambda: queue_webhook(
            url=body.url,
            payload=body.payload,
            secret=body.secret,
            event_type=body.event_type,
            organization_id=tenant,
        )
    )
