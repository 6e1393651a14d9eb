"""The steps of a run beside the time they took: bars that the server places, in a table that says the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ..rest.workflows import RunShape, StepShape

WIDTH = 1000
NARROWEST = 4


@dataclass(frozen=True, slots=True)
class Row:
    """A step and its bar, in units of a view box that is `WIDTH` wide.

    Attributes:
        step: The step.
        x: Where its bar begins.
        width: How long its bar is; 0 = it has none, as an earlier run did the step.
        seconds: From its first attempt to its end, or to now.
        depth: 1 for a branch of a parallel step, else 0.
    """

    step: StepShape
    x: float
    width: float
    seconds: float
    depth: int

    @property
    def is_taken_over(self) -> bool:
        """Whether an earlier run did it."""
        return self.width == 0


def waterfall(run: RunShape, now: datetime) -> list[Row]:
    """Return the steps of a run with their bars; the whole width is the time from its creation to its end, or to now.

    Args:
        run: The run.
        now: The time.
    """
    begin, end = run.created_at, run.finished_at or now
    whole = max((end - begin).total_seconds(), 0.001)

    def place(at: datetime) -> float:
        return min(1.0, max(0.0, (at - begin).total_seconds() / whole)) * WIDTH

    rows = []
    for step in run.steps:
        until = step.finished_at or end
        is_old = step.finished_at is not None and step.finished_at < begin
        x = min(place(step.started_at), WIDTH - NARROWEST)
        width = 0 if is_old else max(NARROWEST, place(until) - x)
        seconds = max(0.0, (until - step.started_at).total_seconds())
        rows.append(Row(step, round(x, 1), round(width, 1), seconds, int("/" in step.name)))
    return rows
