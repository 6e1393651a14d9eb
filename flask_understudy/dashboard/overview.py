"""The first page: is it healthy, what is stuck, since when, and what to do."""

from __future__ import annotations

from typing import Any

from flask import request

from ..operations.health import health
from ..rest import alerts, failures, metrics, queues, schedules
from ..rest.callers import caller, state
from ..rest.finding import PageOfTenant
from .charts import Chart, Series
from .pages import page

#: Minutes that the charts can show, and into how many bars each is gathered.
SPANS = {"1h": (60, 60), "6h": (360, 72), "24h": (1440, 72)}
FAILURES = 10


@page("/", "overview", title="Overview", place=1)
def show_overview() -> dict[str, Any]:
    """Show how everything is."""
    span = request.args.get("span", "1h")
    minutes, bars = SPANS.get(span, SPANS["1h"])
    found = metrics.show_metrics(metrics.Span(minutes=minutes))
    here, sees_all = state(), metrics.sees_everything(caller())
    return {
        "health": health(here, None if sees_all else caller().scope.tenant),
        "mode": here.transport.name,
        "is_broker_up": here.transport.is_up,
        "metrics": found,
        "queues": queues.list_queues().data,
        "charts": charts_of(found, bars),
        "span": span if span in SPANS else "1h",
        "spans": list(SPANS),
        "alerts": alerts.list_alerts().data if sees_all else [],
        "failures": failures.list_failures(failures.FailuresQuery(limit=FAILURES)).data,
        "next": _next(),
    }


def charts_of(found: metrics.Metrics, bars: int) -> list[Chart]:
    """Return what ended and how long it took, as charts; none for callers who may not know it."""
    series = found.series or []
    if not series:
        return []
    size = max(1, len(series) // bars)
    groups = [series[n : n + size] for n in range(0, len(series), size)]
    labels = [f"{group[0].minute:%H:%M}" for group in groups]

    def summed(name: str) -> list[float]:
        return [float(sum(getattr(minute, name) for minute in group)) for group in groups]

    def averaged(name: str) -> list[float | None]:
        averages = []
        for group in groups:
            weights = [(getattr(m, name), m.completed) for m in group if getattr(m, name) is not None and m.completed]
            n = sum(weight for _, weight in weights)
            averages.append(round(sum(value * weight for value, weight in weights) / n, 1) if n else None)
        return averages

    ended = [Series(name, summed(name)) for name in ("completed", "retried", "failed")]
    took = [Series("wait", averaged("average_wait_ms")), Series("run", averaged("average_duration_ms"))]
    return [Chart("Attempts that ended", labels, ended), Chart("Average wait and run time", labels, took, "ms")]


def _next(n: int = 5) -> list[Any]:
    found = schedules.list_schedules(PageOfTenant(limit=200)).data
    due = [(one.next_run_at, one.name, one) for one in found if one.enabled and one.next_run_at]
    return [one for _, _, one in sorted(due, key=lambda each: each[:2])[:n]]
