"""Subscriptions to webhooks over HTTP (K06).

A secret that is made here is shown in the answer that made it, this once. For an ``Idempotency-Key`` those answers are
kept sealed.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from flask import Blueprint, Response

from app.auth import current_principal, requires
from app.extensions import db, limiter, webhooks
from app.services.shapes import Shape
from app.services.webhooks.doors import checked, note, of_delivery, of_endpoint, once_as, own_endpoint, page
from app.services.webhooks.shapes import (
    Change,
    DeliveryPage,
    DeliveryShape,
    EndpointList,
    EndpointShape,
    MadeEndpoint,
    NewEndpoint,
    Page,
    Replayed,
    Rotation,
    Since,
)
from flask_understudy.contrib.api import Answer, operation

bp = Blueprint("webhook_endpoints", __name__, url_prefix="/api/jobs/webhooks/endpoints")

TAG = "Webhooks"
#: A test tells whether something listens; not more often than a person needs to know (S13).
TESTS = "10 per hour"


@bp.get("")
@requires("read")
@operation(tag=TAG, answers={200: EndpointList})
def list_endpoints() -> Any:
    """List the organisation's subscriptions."""
    return EndpointList(data=[of_endpoint(row) for row in webhooks.endpoints.of_tenant(current_principal().tenant)])


@bp.post("")
@requires("admin")
@operation(tag=TAG, body=NewEndpoint, answers={201: MadeEndpoint}, errors=(409,))
def create_endpoint(body: NewEndpoint) -> Response:
    """Subscribe to events. A secret that is made here is shown this once."""
    tenant = current_principal().tenant

    def create() -> tuple[Shape, int]:
        endpoint, secret = checked(
            lambda: webhooks.endpoints.create(
                tenant, body.url, body.events, secret=body.secret, description=body.description
            )
        )
        note("create", endpoint.id)
        return MadeEndpoint(endpoint=of_endpoint(endpoint), secret=None if body.secret else secret), 201

    return once_as(create, tells_secret=True)


@bp.get("/<endpoint_id>")
@requires("read")
@operation(tag=TAG, answers={200: EndpointShape})
def show_endpoint(endpoint_id: str) -> Any:
    """Describe a subscription."""
    return of_endpoint(own_endpoint(endpoint_id))


@bp.patch("/<endpoint_id>")
@requires("admin")
@operation(tag=TAG, body=Change, answers={200: EndpointShape})
def change_endpoint(endpoint_id: str, body: Change) -> Response:
    """Change a subscription. Enabling it forgets that it failed."""
    endpoint = own_endpoint(endpoint_id)
    values = body.model_dump(exclude_unset=True)

    def change() -> tuple[Shape, int]:
        checked(lambda: webhooks.endpoints.change(endpoint, **values))
        note("change", endpoint_id, fields=sorted(values))
        return of_endpoint(endpoint), 200

    return once_as(change)


@bp.delete("/<endpoint_id>")
@requires("admin")
@operation(tag=TAG, answers={204: Answer(description="It is gone, with its deliveries.")})
def delete_endpoint(endpoint_id: str) -> tuple[str, int]:
    """Delete a subscription with its deliveries."""
    webhooks.endpoints.delete(own_endpoint(endpoint_id))
    note("delete", endpoint_id)
    db.session.commit()
    return "", 204


@bp.post("/<endpoint_id>/rotate")
@requires("admin")
@operation(tag=TAG, body=Rotation, body_is_optional=True, answers={200: MadeEndpoint})
def rotate_secret(endpoint_id: str, body: Rotation) -> Response:
    """Give a subscription a new secret; the old one signs as well for a while."""
    endpoint, overlap = own_endpoint(endpoint_id), dt.timedelta(hours=body.overlap_hours)

    def rotate() -> tuple[Shape, int]:
        secret, _ = checked(lambda: webhooks.endpoints.rotate(endpoint, secret=body.secret, overlap=overlap))
        note("rotate", endpoint_id)
        return MadeEndpoint(endpoint=of_endpoint(endpoint), secret=None if body.secret else secret), 200

    return once_as(rotate, tells_secret=True)


@bp.post("/<endpoint_id>/test")
@requires("operate")
@limiter.limit(TESTS, key_func=lambda: current_principal().tenant)
@operation(tag=TAG, answers={202: DeliveryShape}, errors=(409, 429))
def test_endpoint(endpoint_id: str) -> Response:
    """Send a subscription a `webhook.test`."""
    endpoint = own_endpoint(endpoint_id)

    def test() -> tuple[Shape, int]:
        note("test", endpoint_id)
        return of_delivery(checked(lambda: webhooks.test(endpoint))), 202

    return once_as(test)


@bp.post("/<endpoint_id>/replay")
@requires("operate")
@operation(tag=TAG, body=Since, answers={202: Replayed})
def replay_endpoint(endpoint_id: str, body: Since) -> Response:
    """Deliver again what failed since a time, the oldest first."""
    endpoint = own_endpoint(endpoint_id)

    def replay() -> tuple[Shape, int]:
        note("replay", endpoint_id)
        webhooks.deliveries.settle(endpoint.tenant)
        return Replayed(replayed=webhooks.deliveries.replay_failed(endpoint, body.since)), 202

    return once_as(replay)


@bp.get("/<endpoint_id>/deliveries")
@requires("read")
@operation(tag=TAG, query=Page, answers={200: DeliveryPage})
def list_endpoint_deliveries(endpoint_id: str, query: Page) -> Any:
    """List what was sent to a subscription, the latest first."""
    return page(query.model_copy(update={"endpoint": own_endpoint(endpoint_id).id}))
