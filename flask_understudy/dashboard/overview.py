"""The first page: is it healthy, what is stuck, since when, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from flask import request

from ..operations.health import health
from ..rest import alerts, failures, metrics, queues, schedules
from ..rest.callers import caller, state
from ..rest.finding import PageOfTenant
from .alerts import NAMES
from .charts import Chart, Series
from .pages import page

#: Minutes that the charts can show, and minutes of each bar.
SPANS = {"1h": (60, 1), "6h": (360, 5), "24h": (1440, 20), "7d": (10_080, 120)}
FAILURES = 10


@page("/", "overview", title="Overview", place=1)
def show_overview() -> dict[str, Any]:
    """Show how everything is."""
    span = request.args.get("span", "1h")
    minutes, step = SPANS.get(span, SPANS["1h"])
    found = metrics.show_metrics(metrics.Span(minutes=minutes, step=step))
    every_queue = queues.list_queues().data
    planned = schedules.list_schedules(PageOfTenant(limit=200)).data
    here, sees_all = state(), metrics.sees_everything(caller())
    return {
        "health": health(here, None if sees_all else caller().scope.tenant),
        "mode": here.transport.name,
        "is_broker_up": here.transport.is_up,
        "metrics": found,
        "queues": every_queue,
        "held": [queue for queue in every_queue if queue.paused_at is not None and queue.counts.paused],
        "charts": charts_of(found.series or []),
        "span": span if span in SPANS else "1h",
        "spans": list(SPANS),
        "names": NAMES,
        "alerts": alerts.list_alerts().data if sees_all else [],
        "failures": failures.list_failures(failures.FailuresQuery(limit=FAILURES)).data,
        "failure_rate": _failure_rate(found),
        "overdue": sum(one.is_overdue for one in planned),
        "next": _next(planned),
    }


def charts_of(series: Sequence[metrics.StepMetrics]) -> list[Chart]:
    """Return what ended and how long it took, as charts; none for callers who may not know it."""
    if not series:
        return []
    is_long = series[-1].minute - series[0].minute > timedelta(days=1)
    labels = [f"{one.minute:%d %b %H:%M}" if is_long else f"{one.minute:%H:%M}" for one in series]
    ended = [
        Series("completed", [one.completed for one in series]),
        Series("retried", [one.retried for one in series]),
        Series("failed", [one.failed for one in series]),
    ]
    took = [
        Series("wait", [one.average_wait_ms for one in series]),
        Series("run", [one.average_duration_ms for one in series]),
    ]
    return [Chart("Attempts that ended", labels, ended), Chart("Average wait and run time", labels, took, "ms")]


def _failure_rate(found: metrics.Metrics) -> float | None:
    """Return the share of the latest attempts in all queues that failed; None = there were none, or it is not told."""
    known = [(one.processing_rate, one.failure_rate) for one in found.queues.values()]
    rates = [(rate, share) for rate, share in known if rate and share is not None]
    return sum(rate * share for rate, share in rates) / sum(rate for rate, _ in rates) if rates else None


def _next(planned: Sequence[Any], n: int = 5) -> list[Any]:
    due = [(one.next_run_at, one.name, one) for one in planned if one.enabled and one.next_run_at]
    return [one for _, _, one in sorted(due, key=lambda each: each[:2])[:n]]
