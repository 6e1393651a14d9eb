"""How the queues do (requirement M07)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ledger import queries, rates, spans
from ..ledger.scope import EVERYTHING, Scope
from ..ledger.tallies import MINUTE_MS
from ..state import State
from .queues import names

WINDOW_MINUTES = 5

#: How far back the jobs lie that percentiles are told of.
TIMES_MINUTES = 60


@dataclass(frozen=True, slots=True)
class QueueMetrics:
    """How one queue does; times in ms.

    Attributes:
        waiting: Jobs that wait, those of a paused queue too.
        processing: Jobs that run.
        completed: Jobs that completed and are kept.
        failed: Jobs that failed and are kept.
        oldest_waiting_ms: For how long the job that waits longest has been due; None when none waits.
        recent: What happened in the window; None = not told.
        minutes: How long the window is.
    """

    waiting: int
    processing: int
    completed: int
    failed: int
    oldest_waiting_ms: int | None
    recent: rates.Sums | None
    minutes: float


@dataclass(frozen=True, slots=True)
class Step:
    """What happened in one step of time, which began `at_ms` after the beginning of 1970."""

    at_ms: int
    sums: rates.Sums


def of_queues(state: State, scope: Scope = EVERYTHING, *, with_rates: bool = True) -> dict[str, QueueMetrics]:
    """Return how each queue does.

    Args:
        state: The application's side of the library.
        scope: Whose jobs are counted.
        with_rates: Whether to tell what happened lately, which is not known by tenant.
    """
    counts = queries.stats(state.database, sorted(names(state)), scope.tenant)
    oldest = queries.oldest_by_queue(state.database, scope.tenant)
    window = rates.since(state.database, WINDOW_MINUTES) if with_rates else None
    return {
        queue: QueueMetrics(
            waiting=numbers["waiting"] + numbers["paused"],
            processing=numbers["active"],
            completed=numbers["completed"],
            failed=numbers["failed"],
            oldest_waiting_ms=oldest.get(queue),
            recent=None if window is None else window.summed(row for row in window.rows if row.queue == queue),
            minutes=0.0 if window is None else window.minutes,
        )
        for queue, numbers in counts.items()
    }


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of some times in ms: half of them are as long at the most, 95 % and 99 % of them."""

    p50: int
    p95: int
    p99: int

    @classmethod
    def of(cls, times: Sequence[int]) -> Percentiles | None:
        """Return those of some times, each of which is one of them (nearest rank); None = there are none."""
        ordered = sorted(times)
        if not ordered:
            return None
        return cls(*(ordered[-(-percent * len(ordered) // 100) - 1] for percent in (50, 95, 99)))


@dataclass(frozen=True, slots=True)
class Times:
    """How long the latest completed jobs of a queue waited and ran; None = there are none.

    Attributes:
        jobs: How many were looked at.
        wait: How long they had been due.
        run: How long they then ran.
    """

    jobs: int
    wait: Percentiles | None
    run: Percentiles | None


def times(state: State, name: str, scope: Scope = EVERYTHING) -> Times:
    """Return how long the completed jobs of a queue waited and ran, the latest ones of the last hour."""
    found = spans.latest(state.database, name, scope.tenant, TIMES_MINUTES * MINUTE_MS)
    waited, ran = [one[0] for one in found], [one[1] for one in found]
    return Times(len(found), Percentiles.of(waited), Percentiles.of(ran))


def series(state: State, minutes: int, queues: Sequence[str] = (), *, step: int = 1) -> list[Step]:
    """Return what happened in the last minutes, step by step; the last one is the step that runs.

    Args:
        state: The application's side of the library.
        minutes: How far it goes back; rounded up to whole steps.
        queues: Of which queues; none = all.
        step: Minutes that are told together; steps begin at multiples of it since 1970.
    """
    n = -(-minutes // step)
    window = rates.since(state.database, n - 1, step)
    sums = {window.since_ms + i * step * MINUTE_MS: rates.Sums() for i in range(n)}
    for row in window.rows:
        if row.minute_ms in sums and (not queues or row.queue in queues):
            sums[row.minute_ms].add(row)
    return [Step(at, found) for at, found in sums.items()]


def of_types(state: State, minutes: int, queues: Sequence[str] = ()) -> dict[str, rates.Sums]:
    """Return what the jobs of each type did in the last minutes; of some queues or all."""
    found: dict[str, rates.Sums] = {}
    for row in rates.of_actors(state.database, minutes - 1):
        if not queues or row.queue in queues:
            found.setdefault(row.actor, rates.Sums()).add(row)
    return dict(sorted(found.items()))
