"""Webhooks: who is told of what, how each receiver does, and what was sent.

A secret that is made here stands in the answer to the form that made it: in no address, no cookie and no later page.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Response, redirect, request, url_for

from ..contrib.api.bodies import validated
from ..contrib.api.problems import problem_of
from ..rest import deliveries, webhooks
from ..rest.callers import require
from ..rest.deliveries import NEEDS
from ..rest.doors import DOORS, act, check_askable, check_there
from ..rest.paging import PageOf
from ..rest.webhook_shapes import DeliveriesQuery, EndpointChange, EndpointShape, NewEndpoint, Rotation
from . import browser
from .acting import said, shape_of
from .pages import bp, page, rendered

ROWS = 50
STATES = ("pending", "delivered", "failed")

#: Why an endpoint is disabled.
REASONS = {
    "by_hand": "disabled by hand",
    "gone": "disabled: it answered 410",
    "failing": "disabled: it failed for days",
}


@page("/webhooks", "webhooks", title="Webhooks", place=9, needs=NEEDS)
def show_webhooks() -> dict[str, Any]:
    """Show all endpoints, and what was sent lately."""
    after = request.args.get("endpoints")
    found = webhooks.list_endpoints(validated(PageOf, {"limit": ROWS, **({"cursor": after} if after else {})}))
    return {**_sent(), "endpoints": found.data, "next_endpoints": found.next_cursor, "standing": standing}


@page("/webhooks/new", "webhook_form", scope="admin", needs=NEEDS)
def new_endpoint() -> dict[str, Any]:
    """Ask what a new endpoint shall be."""
    return {"known": None, "values": {"events": "*"}}


@page("/webhooks/<endpoint_id>", "webhook", needs=NEEDS)
def show_endpoint_page(endpoint_id: str) -> dict[str, Any]:
    """Show one endpoint: how it does, what was sent to it, and what can be done."""
    since = datetime.now(UTC) - timedelta(days=1)
    return {
        **_sent(endpoint_id),
        "endpoint": webhooks.show_endpoint(endpoint_id),
        "standing": standing,
        "since": since.strftime("%Y-%m-%dT%H:%M"),
    }


@page("/webhooks/<endpoint_id>/edit", "webhook_form", scope="admin", needs=NEEDS)
def edit_endpoint(endpoint_id: str) -> dict[str, Any]:
    """Ask what shall be otherwise."""
    known = webhooks.show_endpoint(endpoint_id)
    values = {"url": known.url, "events": ", ".join(known.events), "description": known.description}
    return {"known": known, "values": values}


@page("/deliveries/<delivery_id>", "delivery", needs=NEEDS)
def show_delivery_page(delivery_id: str) -> dict[str, Any]:
    """Show one delivery: what is sent, and each attempt with its answer."""
    shown = deliveries.show_delivery(delivery_id)
    return {"shown": shown, "delivery": shown.delivery, "body": _read(shown.body)}


@bp.post("/webhooks/save")
def save_endpoint() -> Response:
    """Make an endpoint, and show its secret, or change one; what is wrong is said beside what was typed."""
    _check("admin")
    id = request.form.get("known")
    known = None if id is None else webhooks.show_endpoint(id)
    given = {name: request.form.get(name, "").strip() for name in ("url", "events", "description", "secret")}
    events = [name for name in given["events"].replace(",", " ").split() if name]
    order = {"url": given["url"], "events": events, "description": given["description"]}
    try:
        if known is None:
            secret = {"secret": given["secret"]} if given["secret"] else {}
            made = shape_of(act(DOORS["create_endpoint"], {}, validated(NewEndpoint, {**order, **secret})))
            return rendered("webhook_secret", endpoint=made.endpoint, secret=made.secret, is_new=True)
        act(DOORS["change_endpoint"], {"endpoint_id": known.id}, validated(EndpointChange, order))
    except Exception as error:
        problem = problem_of(error)
        if problem.status in {401, 403, 500}:
            raise problem from error
        shown = {**given, "secret": ""}
        return rendered("webhook_form", problem.status, known=known, values=shown, problem=said(problem))
    return _back(known.id, "It is changed.")


@bp.post("/webhooks/<endpoint_id>/rotate")
def rotate_endpoint(endpoint_id: str) -> Response:
    """Give an endpoint a new secret, and show it."""
    _check("admin")
    check_askable({"endpoint_id": endpoint_id})
    try:
        order = validated(Rotation, {"overlapHours": request.form.get("overlap", "").strip() or "24"})
        made = shape_of(act(DOORS["rotate_secret"], {"endpoint_id": endpoint_id}, order))
    except Exception as error:
        problem = problem_of(error)
        if problem.status != 422:
            raise problem from error
        return _back(endpoint_id, said(problem), is_problem=True)
    return rendered("webhook_secret", endpoint=made.endpoint, secret=made.secret, is_new=False)


def standing(endpoint: EndpointShape) -> tuple[str, str]:
    """Return how an endpoint stands: the colour's name and words."""
    if not endpoint.enabled:
        return "cancelled", REASONS.get(endpoint.disabled_reason or "", "disabled")
    if endpoint.resting_until is not None:
        is_over = endpoint.resting_until <= datetime.now(UTC)
        return "failed", "is tried again by the next delivery" if is_over else "rests"
    if endpoint.failures:
        return "delayed", f"failed {endpoint.failures} {'time' if endpoint.failures == 1 else 'times'} in a row"
    return "completed", "works"


def _sent(endpoint_id: str | None = None) -> dict[str, Any]:
    """Return a page of what was sent, to one endpoint or to anybody."""
    state, cursor = request.args.get("state", ""), request.args.get("cursor")
    state = state if state in STATES else ""
    asked = {"limit": ROWS, **({"state": state} if state else {}), **({"cursor": cursor} if cursor else {})}
    query = validated(DeliveriesQuery, asked)
    if endpoint_id is None:
        found = deliveries.list_deliveries(query)
    else:
        found = webhooks.list_endpoint_deliveries(endpoint_id, query)
    return {"deliveries": found.data, "next_cursor": found.next_cursor, "state": state, "states": STATES}


def _check(scope: str) -> None:
    require(scope)
    check_there(NEEDS)
    browser.check_form()


def _read(body: str | None) -> Any:
    return None if body is None else json.loads(body)


def _back(endpoint_id: str, text: str, *, is_problem: bool = False) -> Response:
    response = redirect(url_for(f"{bp.name}.show_endpoint_page", endpoint_id=endpoint_id), 303)
    browser.tell(response, text, is_problem=is_problem)  # type: ignore[arg-type]
    return response  # type: ignore[return-value]
