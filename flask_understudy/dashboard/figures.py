"""Metrics: how each queue does, and what happened in the last minutes or hours, beside the time before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import request

from ..rest import metrics
from ..rest.metrics import Happened
from .overview import SPANS, charts_of
from .pages import page


@dataclass(frozen=True, slots=True)
class Sums:
    """What happened in a stretch of time.

    Attributes:
        completed: Attempts that completed.
        retried: Attempts that failed and are followed by another.
        failed: Attempts that failed for good.
        wait_ms: How long those that completed had been due, on average; None = none did.
        run_ms: How long they ran.
    """

    completed: int
    retried: int
    failed: int
    wait_ms: float | None
    run_ms: float | None

    @property
    def failure_rate(self) -> float | None:
        """The share of attempts that failed; None = there were none."""
        attempts = self.completed + self.retried + self.failed
        return (self.retried + self.failed) / attempts if attempts else None


@page("/metrics-ui", "metrics", title="Metrics", place=12)
def show_metrics_page() -> dict[str, Any]:
    """Show how the queues do, all of them or one."""
    span, queue = request.args.get("span", "1h"), request.args.get("queue", "")
    minutes, step = SPANS.get(span, SPANS["1h"])
    of = [queue] if queue else []
    found = metrics.show_metrics(metrics.Span(minutes=2 * minutes, step=step, queue=of))
    types = metrics.show_metrics(metrics.Span(minutes=minutes, step=step, queue=of, types=True)).types
    series = found.series or []
    now, before = series[-(minutes // step) :], series[: -(minutes // step)]
    return {
        "queues": found.queues,
        "types": {name: sums_of([one]) for name, one in (types or {}).items()},
        "queue": queue,
        "span": span if span in SPANS else "1h",
        "spans": list(SPANS),
        "charts": charts_of(now),
        "sums": sums_of(now) if series else None,
        "before": sums_of(before) if before else None,
    }


def sums_of(series: Sequence[Happened]) -> Sums:
    """Return what happened in some minutes taken together."""

    def average(name: str) -> float | None:
        known = [(getattr(minute, name), minute.completed) for minute in series]
        weights = [(value, n) for value, n in known if value is not None and n]
        total = sum(n for _, n in weights)
        return sum(value * n for value, n in weights) / total if total else None

    return Sums(
        completed=sum(minute.completed for minute in series),
        retried=sum(minute.retried for minute in series),
        failed=sum(minute.failed for minute in series),
        wait_ms=average("average_wait_ms"),
        run_ms=average("average_duration_ms"),
    )
