"""Alerts: what is wrong now, what was, what is allowed, who is told, and telling nobody for a while."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import Response, request

from ..contrib.api.bodies import validated
from ..operations.thresholds import MOST
from ..rest import alerts
from ..rest.alerts import AlertShape
from ..rest.callers import require
from ..rest.doors import DOORS, act
from ..rest.paging import PageOf
from . import browser
from .pages import bp, page, rendered
from .words import number, percent, span

#: What the rules are called.
NAMES = {
    "depth": "many jobs wait",
    "failure-rate": "many attempts fail",
    "stalled": "a worker is silent",
    "broker": "the broker is away",
    "growing": "a queue grows",
    "repeated-failures": "jobs fail alike",
}

#: What those that allow something take: the unit, the smallest step of a field for it, and the most.
UNITS = {
    "depth": ("jobs", "1", MOST),
    "failure-rate": ("of 1, so 0.1 is 10 %", "any", 1),
    "stalled": ("s", "any", MOST),
    "growing": ("jobs", "1", MOST),
    "repeated-failures": ("jobs", "1", MOST),
}

#: Minutes for which nobody can be told.
MUTINGS = {60: "1 hour", 240: "4 hours", 1440: "1 day", 10_080: "1 week"}


class Alert(AlertShape):
    """An alert, and whether it is muted now."""

    is_muted: bool


@page("/alerts", "alerts", title="Alerts", place=13, of_all=True)
def show_alerts() -> dict[str, Any]:
    """Show what is wrong now, what each rule allows, and what was, a page at a time."""
    opened = alerts.list_alerts()
    cursor = request.args.get("cursor")
    past = alerts.list_past_alerts(validated(PageOf, {"limit": 50, **({"cursor": cursor} if cursor else {})}))
    now = datetime.now(UTC)
    return {
        "alerts": [Alert(**dict(a), is_muted=a.muted_until is not None and a.muted_until > now) for a in opened.data],
        "rules": alerts.list_alert_rules().data,
        "past": past.data,
        "next_cursor": past.next_cursor,
        "names": NAMES,
        "units": UNITS,
        "mutings": MUTINGS,
        "figure": figure,
        "plain": lambda value: f"{value:.10g}",
    }


@bp.post("/alerts")
def try_channels() -> Response:
    """Send a test to everybody who is told of alerts, and show beside the alerts who could be reached."""
    require("tenants")
    browser.check_form()
    tested = act(DOORS["test_alerts"], {})
    return rendered("alerts", **show_alerts(), tested=tested.data)


def figure(rule: str, value: float) -> str:
    """Return a rule's figure in its unit."""
    if rule == "failure-rate":
        return percent(value)
    return span(value) if rule == "stalled" else number(value)
