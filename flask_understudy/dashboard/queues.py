"""Queues: how each does, and what can be done to it."""

from __future__ import annotations

from typing import Any

from ..rest import metrics, queue_figures, queues
from ..rest.callers import state
from .overview import charts_of
from .pages import page

#: Jobs that are named beside a key.
MOST_SHOWN = 5


@page("/queues", "queues", title="Queues", place=3)
def show_queues() -> dict[str, Any]:
    """Show all queues."""
    found = metrics.show_metrics(metrics.Span(minutes=1))
    return {"queues": queues.list_queues().data, "metrics": found.queues}


@page("/queues/<queue_name>", "queue")
def show_queue_page(queue_name: str) -> dict[str, Any]:
    """Show one queue: its figures, its limit, the keys that its jobs hold, what holds for its jobs."""
    queue = queues.show_queue(queue_name)
    found = metrics.show_metrics(metrics.Span(minutes=60, queue=[queue_name]))
    types = sorted(name for name, actor in state().broker.actors.items() if actor.queue_name == queue_name)
    return {
        "queue": queue,
        "figures": found.queues[queue_name],
        "charts": charts_of(found.series or []),
        "types": types,
        "times": queue_figures.show_queue_times(queue_name),
        "keys": queue_figures.list_queue_keys(queue_name).data,
        "most_shown": MOST_SHOWN,
    }
