"""How the queues do (requirement M07)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from ..contrib.api import Body, Many, invalid
from ..ledger.rates import Sums
from ..ledger.tallies import KEEP_MINUTES_MS, MINUTE_MS
from ..operations import metrics as operations
from ..operations import queues as queue_operations
from .callers import Caller, caller, state
from .doors import door
from .shapes import Instant, Shape

TAG = "Metrics"

_UNTOLD = " null without the scope 'tenants': what happened is not counted by tenant."
_WINDOW = f" In the last {operations.WINDOW_MINUTES} minutes and the one that runs."


MOST_MINUTES = 30 * 1440
#: What happened before is kept by the hour.
FINE_MINUTES = KEEP_MINUTES_MS // MINUTE_MS
MOST_STEPS = 1440


class Span(Body):
    """How far back the series goes, and what it is about."""

    minutes: int = Field(default=60, ge=1, le=MOST_MINUTES, description="Minutes of the series, up to 30 days.")
    step: int = Field(
        default=1,
        ge=1,
        le=1440,
        description=(
            f"Minutes of the series that are told together; up to {MOST_STEPS} steps, and whole hours when the series"
            f" is longer than {FINE_MINUTES} minutes."
        ),
    )
    queue: Many = Field(default=[], description="Queues of the series; default: all.")
    types: bool = Field(default=False, description="Whether to tell what the jobs of each type did, too.")


class QueueMetrics(Shape):
    """How one queue does."""

    waiting: int = Field(description="Jobs that wait, those of a paused queue too.")
    processing: int = Field(description="Jobs that run.")
    completed: int = Field(description="Jobs that completed and are kept.")
    failed: int = Field(description="Jobs that failed and are kept.")
    oldest_waiting_ms: int | None = Field(description="How long the job that waits longest has been due.")
    processing_rate: float | None = Field(description="Attempts that ended, per minute." + _WINDOW + _UNTOLD)
    failure_rate: float | None = Field(
        description="Share of these attempts that failed; null when there were none." + _WINDOW + _UNTOLD
    )
    average_duration_ms: float | None = Field(
        description="How long attempts that completed ran; null when there were none." + _WINDOW + _UNTOLD
    )
    average_wait_ms: float | None = Field(
        description="How long they had been due before they ran; null when there were none." + _WINDOW + _UNTOLD
    )


class Happened(Shape):
    """What happened in some time."""

    completed: int
    failed: int = Field(description="Jobs that failed for good.")
    retried: int = Field(description="Attempts that failed and are followed by another.")
    cancelled: int
    average_duration_ms: float | None = Field(description="Of the attempts that completed.")
    average_wait_ms: float | None = Field(description="Of the attempts that completed.")


class StepMetrics(Happened):
    """What happened in one step of time."""

    minute: Instant = Field(description="Its beginning.")


class Metrics(Shape):
    """How the queues do."""

    queues: dict[str, QueueMetrics]
    series: list[StepMetrics] | None = Field(description="The last one is the step that runs." + _UNTOLD)
    types: dict[str, Happened] | None = Field(
        description="What jobs of each type did in these minutes; null unless asked for." + _UNTOLD
    )


def sees_everything(who: Caller) -> bool:
    """Whether a caller may know of what is not kept by tenant: with the scope for it, or where there are no tenants."""
    return who.may("tenants") or who.principal.tenant == ""


@door("/metrics", scope="read", tag=TAG, query=Span, answers={200: Metrics})
def show_metrics(query: Span) -> Metrics:
    """Show how each queue does, and what happened in each of the last minutes or longer steps."""
    who = caller()
    if query.minutes > FINE_MINUTES and query.step % 60:
        raise invalid("step", f"More than {FINE_MINUTES} minutes are told in whole hours; it takes 60, 120 and so on.")
    if query.minutes > query.step * MOST_STEPS:
        least = -(-query.minutes // MOST_STEPS)
        raise invalid(
            "step", f"{query.minutes} minutes are told in up to {MOST_STEPS} steps; it takes {least} or more."
        )
    for name in query.queue:
        if name not in queue_operations.names(state()):
            raise invalid("queue", f"No queue is named {name[:80]!r}.")
    told = sees_everything(who)
    queues = operations.of_queues(state(), who.scope, with_rates=told)
    series = operations.series(state(), query.minutes, query.queue, step=query.step) if told else None
    types = operations.of_types(state(), query.minutes, query.queue) if told and query.types else None
    return Metrics(
        queues={name: _queue(found) for name, found in queues.items()},
        series=None if series is None else [_step(one) for one in series],
        types=None if types is None else {name: Happened(**_sums(sums)) for name, sums in types.items()},
    )


def _queue(found: operations.QueueMetrics) -> QueueMetrics:
    recent = found.recent
    return QueueMetrics(
        waiting=found.waiting,
        processing=found.processing,
        completed=found.completed,
        failed=found.failed,
        oldest_waiting_ms=found.oldest_waiting_ms,
        processing_rate=None if recent is None else round(recent.attempts / found.minutes, 3),
        failure_rate=None if recent is None else _rounded(recent.failure_rate, 4),
        average_duration_ms=None if recent is None else _rounded(recent.average_busy_ms),
        average_wait_ms=None if recent is None else _rounded(recent.average_waited_ms),
    )


def _step(found: operations.Step) -> StepMetrics:
    return StepMetrics(minute=datetime.fromtimestamp(found.at_ms / 1000, UTC), **_sums(found.sums))


def _sums(sums: Sums) -> dict[str, Any]:
    return {
        "completed": sums.completed,
        "failed": sums.failed,
        "retried": sums.retried,
        "cancelled": sums.cancelled,
        "average_duration_ms": _rounded(sums.average_busy_ms),
        "average_wait_ms": _rounded(sums.average_waited_ms),
    }


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)
