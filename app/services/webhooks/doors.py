"""What all doors of webhooks do: find what is the caller's, act once, show it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from flask import Response

from app import paging
from app.auth import current_principal
from app.extensions import db, webhooks
from app.services import audit
from app.services.shapes import Shape
from app.services.webhooks.shapes import AttemptShape, DeliveryPage, DeliveryShape, EndpointShape, Page
from flask_understudy.contrib.api import Problem, invalid, not_found, once
from flask_understudy.contrib.webhooks.errors import InvalidWebhook, WebhookConflict
from flask_understudy.contrib.webhooks.tables import WebhookAttempt, WebhookDelivery, WebhookEndpoint

LIST = "deliveries"

_ID = re.compile(r"[0-9a-f-]{36}")

T = TypeVar("T")


def page(query: Page) -> DeliveryPage:
    """Return a page of the caller's deliveries."""
    settle()
    after = paging.place(query.cursor, LIST) if query.cursor else None
    found = webhooks.deliveries.page(
        current_principal().tenant, query.limit + 1, endpoint=query.endpoint, state=query.state, after=after
    )
    shown = found[: query.limit]
    more = paging.cursor(shown[-1].created_at, shown[-1].id, LIST) if len(found) > query.limit else None
    return DeliveryPage(data=[of_delivery(delivery) for delivery in shown], next_cursor=more)


def settle() -> None:
    """Mark what no job delivers any more, so that it is shown as failed."""
    webhooks.deliveries.settle(current_principal().tenant)
    db.session.commit()


def once_as(act: Callable[[], tuple[Shape, int]], *, tells_secret: bool = False) -> Response:
    """Do something once, in one transaction, and answer with a shape; one that tells a secret is kept sealed."""
    caller = current_principal()

    def answer() -> tuple[dict[str, Any], int]:
        shape, status = act()
        return shape.model_dump(mode="json", by_alias=True), status

    return once(db.session, caller.tenant, caller.subject, answer, seal=webhooks.seal if tells_secret else None)


def checked(act: Callable[[], T]) -> T:
    """Do it, or say as a problem what cannot be accepted."""
    try:
        return act()
    except InvalidWebhook as problem:
        db.session.rollback()
        raise invalid("eventType" if problem.field == "event" else problem.field, str(problem)) from None
    except WebhookConflict as problem:
        db.session.rollback()
        raise Problem(409, detail=str(problem)) from None


def note(verb: str, target: str, **details: Any) -> None:
    """Write down what is done, in the same transaction."""
    caller = current_principal()
    audit.record(f"webhook.{verb}", tenant_id=caller.tenant, subject=caller.subject, target=target, **details)


def own_endpoint(endpoint_id: str) -> WebhookEndpoint:
    """Return a subscription of the caller's organisation.

    Raises:
        Problem: 404, of anybody else's and of none.
    """
    found = webhooks.endpoints.find(current_principal().tenant, endpoint_id) if _ID.fullmatch(endpoint_id) else None
    if found is None:
        raise not_found()
    return found


def own_delivery(delivery_id: str) -> WebhookDelivery:
    """Return a delivery of the caller's organisation.

    Raises:
        Problem: 404, of anybody else's and of none.
    """
    found = webhooks.deliveries.find(current_principal().tenant, delivery_id) if _ID.fullmatch(delivery_id) else None
    if found is None:
        raise not_found()
    return found


def of_endpoint(endpoint: WebhookEndpoint) -> EndpointShape:
    """Return a subscription as the API shows it."""
    is_admin = "admin" in current_principal().scopes
    return EndpointShape(
        id=endpoint.id,
        url=endpoint.url if is_admin else endpoint.url.partition("?")[0],
        description=endpoint.description,
        events=endpoint.events,
        enabled=endpoint.enabled,
        disabled_reason=endpoint.disabled_reason,
        old_secret_until=endpoint.old_secret_until,
        created_at=endpoint.created_at,
        updated_at=endpoint.updated_at,
    )


def of_delivery(delivery: WebhookDelivery) -> DeliveryShape:
    """Return a delivery as the API shows it."""
    names = DeliveryShape.model_fields
    return DeliveryShape(**{name: getattr(delivery, name) for name in names})


def of_attempt(attempt: WebhookAttempt, shows_payload: bool) -> AttemptShape:
    """Return an attempt as the API shows it."""
    return AttemptShape(
        number=attempt.number,
        at=attempt.at,
        status=attempt.status,
        duration_ms=attempt.duration_ms,
        response=attempt.response if shows_payload else None,
        error=attempt.error,
    )
