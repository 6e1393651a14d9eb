"""Alerts: what is wrong now, what was, what is allowed, and telling nobody for a while."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import request

from ..contrib.api.bodies import validated
from ..rest import alerts
from ..rest.alerts import AlertShape
from ..rest.paging import PageOf
from .pages import page
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

#: The settings of those that can be changed.
SETTINGS = {
    "depth": "UNDERSTUDY_ALERT_DEPTH",
    "failure-rate": "UNDERSTUDY_ALERT_FAILURE_RATE",
    "stalled": "UNDERSTUDY_ALERT_STALLED_SECONDS",
    "growing": "UNDERSTUDY_ALERT_DEPTH",
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
        "thresholds": opened.thresholds,
        "past": past.data,
        "next_cursor": past.next_cursor,
        "names": NAMES,
        "settings": SETTINGS,
        "mutings": MUTINGS,
        "figure": figure,
    }


def figure(rule: str, value: float) -> str:
    """Return a rule's figure in its unit."""
    if rule == "failure-rate":
        return percent(value)
    return span(value) if rule == "stalled" else number(value)
