"""Subscriptions to webhooks (K06).

A secret that is made here is shown in the answer that made it, this once; for an `Idempotency-Key` those answers are
kept sealed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ..contrib.api import Answer, Problem, not_found
from ..contrib.api.idempotency import Sealing
from .callers import caller
from .deliveries import NEEDS, TAG, checked, is_id, of_delivery, page, sender, shown_url
from .doors import door, note
from .paging import PageOf, cursor_of, place_of
from .webhook_shapes import (
    DeliveriesQuery,
    DeliveryPage,
    DeliveryShape,
    EndpointChange,
    EndpointList,
    EndpointShape,
    MadeEndpoint,
    NewEndpoint,
    Replayed,
    Rotation,
    Since,
)

if TYPE_CHECKING:
    from ..contrib.webhooks.tables import WebhookEndpoint

#: A test tells whether something listens; a tenant may ask no more often than a person needs to know.
MOST_TESTS = 10
TESTS_WITHIN = timedelta(hours=1)
TEST_EVENT = "webhook.test"


def _seal() -> Sealing:
    return sender().seal


@door("/webhooks/endpoints", scope="read", tag=TAG, query=PageOf, answers={200: EndpointList}, needs=NEEDS)
def list_endpoints(query: PageOf) -> EndpointList:
    """List the subscriptions, the oldest first."""
    found = sender().endpoints.page(caller().scope.tenant, query.limit + 1, place_of(query))
    shown = found[: query.limit]
    place = (shown[-1].created_at, shown[-1].id) if len(found) > query.limit else None
    return EndpointList(data=_shapes(shown), next_cursor=cursor_of(place, query))


@door(
    "/webhooks/endpoints",
    method="POST",
    scope="admin",
    tag=TAG,
    audit_as="webhook.create",
    body=NewEndpoint,
    answers={201: MadeEndpoint},
    errors=(409,),
    needs=NEEDS,
    seal=_seal,
)
def create_endpoint(body: NewEndpoint) -> tuple[MadeEndpoint, int]:
    """Subscribe to events. A secret that is made here is shown this once."""
    endpoint, secret = checked(
        lambda: sender().endpoints.create(
            caller().principal.tenant, body.url, body.events, secret=body.secret, description=body.description
        )
    )
    note(target=endpoint.id)
    return _made(endpoint, None if body.secret else secret), 201


@door("/webhooks/endpoints/<endpoint_id>", scope="read", tag=TAG, answers={200: EndpointShape}, needs=NEEDS)
def show_endpoint(endpoint_id: str) -> EndpointShape:
    """Describe a subscription."""
    return _shape(_own(endpoint_id))


@door(
    "/webhooks/endpoints/<endpoint_id>",
    method="PATCH",
    scope="admin",
    tag=TAG,
    audit_as="webhook.change",
    body=EndpointChange,
    answers={200: EndpointShape},
    needs=NEEDS,
)
def change_endpoint(endpoint_id: str, body: EndpointChange) -> EndpointShape:
    """Change a subscription. Enabling it forgets that it failed."""
    endpoint, values = _own(endpoint_id), body.model_dump(exclude_unset=True)
    note(tenant=endpoint.tenant, fields=sorted(values))
    checked(lambda: sender().endpoints.change(endpoint, **values))
    return _shape(endpoint)


@door(
    "/webhooks/endpoints/<endpoint_id>",
    method="DELETE",
    scope="admin",
    tag=TAG,
    audit_as="webhook.delete",
    answers={204: Answer(description="It is gone, with its deliveries.")},
    needs=NEEDS,
)
def delete_endpoint(endpoint_id: str) -> tuple[str, int]:
    """Delete a subscription with its deliveries."""
    endpoint = _own(endpoint_id)
    note(tenant=endpoint.tenant)
    sender().endpoints.delete(endpoint)
    return "", 204


@door(
    "/webhooks/endpoints/<endpoint_id>/rotate",
    method="POST",
    scope="admin",
    tag=TAG,
    audit_as="webhook.rotate",
    body=Rotation,
    body_is_optional=True,
    answers={200: MadeEndpoint},
    needs=NEEDS,
    seal=_seal,
)
def rotate_secret(endpoint_id: str, body: Rotation) -> MadeEndpoint:
    """Give a subscription a new secret; the old one signs as well for a while."""
    endpoint, overlap = _own(endpoint_id), timedelta(hours=body.overlap_hours)
    note(tenant=endpoint.tenant)
    secret, _ = checked(lambda: sender().endpoints.rotate(endpoint, secret=body.secret, overlap=overlap))
    return _made(endpoint, None if body.secret else secret)


@door(
    "/webhooks/endpoints/<endpoint_id>/test",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="webhook.test",
    answers={202: DeliveryShape},
    errors=(409, 429),
    needs=NEEDS,
)
def test_endpoint(endpoint_id: str) -> tuple[DeliveryShape, int]:
    """Send a subscription a `webhook.test`, ten times an hour at the most."""
    endpoint = _own(endpoint_id)
    note(tenant=endpoint.tenant)
    _check_tests(endpoint.tenant)
    return of_delivery(checked(lambda: sender().test(endpoint))), 202


@door(
    "/webhooks/endpoints/<endpoint_id>/replay",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="webhook.replay",
    body=Since,
    answers={202: Replayed},
    needs=NEEDS,
)
def replay_endpoint(endpoint_id: str, body: Since) -> tuple[Replayed, int]:
    """Deliver again what failed since a time, the oldest first."""
    endpoint, deliveries = _own(endpoint_id), sender().deliveries
    deliveries.settle(endpoint.tenant)
    n = deliveries.replay_failed(endpoint, body.since)
    note(tenant=endpoint.tenant, replayed=n)
    return Replayed(replayed=n), 202


@door(
    "/webhooks/endpoints/<endpoint_id>/deliveries",
    scope="read",
    tag=TAG,
    query=DeliveriesQuery,
    answers={200: DeliveryPage},
    needs=NEEDS,
)
def list_endpoint_deliveries(endpoint_id: str, query: DeliveriesQuery) -> DeliveryPage:
    """List what was sent to a subscription, the latest first."""
    return page(query.model_copy(update={"endpoint": _own(endpoint_id).id}))


def _own(endpoint_id: str) -> WebhookEndpoint:
    found = sender().endpoints.find(caller().scope.tenant, endpoint_id) if is_id(endpoint_id) else None
    if found is None:
        raise not_found()
    return found


def _check_tests(tenant: str) -> None:
    """Refuse one test more than a tenant may make in an hour.

    Raises:
        Problem: 429, with how long to wait.
    """
    now = datetime.now(UTC)
    made = sender().deliveries.made_at(tenant, TEST_EVENT, now - TESTS_WITHIN)
    if len(made) >= MOST_TESTS:
        left = math.ceil((made[-MOST_TESTS] + TESTS_WITHIN - now).total_seconds())
        detail = f"There were {MOST_TESTS} tests within the last hour, which is as many as there may be."
        raise Problem(429, detail=detail, headers={"Retry-After": str(max(1, left))})


def _made(endpoint: WebhookEndpoint, secret: str | None) -> MadeEndpoint:
    return MadeEndpoint(endpoint=_shape(endpoint), secret=secret)


def _shape(endpoint: WebhookEndpoint) -> EndpointShape:
    return _shapes([endpoint])[0]


def _shapes(endpoints: Sequence[WebhookEndpoint]) -> list[EndpointShape]:
    figures = sender().endpoints.figures(endpoints)
    return [
        EndpointShape(
            id=endpoint.id,
            tenant=endpoint.tenant,
            url=shown_url(endpoint.url),
            description=endpoint.description,
            events=endpoint.events,
            enabled=endpoint.enabled,
            disabled_reason=endpoint.disabled_reason,
            old_secret_until=endpoint.old_secret_until,
            created_at=endpoint.created_at,
            updated_at=endpoint.updated_at,
            deliveries=figures[endpoint.id].deliveries,
            failed=figures[endpoint.id].failed,
            failures=figures[endpoint.id].failures,
            resting_until=figures[endpoint.id].resting_until,
        )
        for endpoint in endpoints
    ]
