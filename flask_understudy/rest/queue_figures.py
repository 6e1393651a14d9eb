"""One queue more closely: how long its jobs wait and run, and the keys that they hold."""

from __future__ import annotations

from pydantic import Field

from ..operations import limits, metrics
from .callers import caller, state
from .doors import door
from .limits import LimitShape
from .queues import TAG, known
from .shapes import Instant, Shape


class PercentilesShape(Shape):
    """Of times in ms: as long were half of them at the most, 95 % and 99 % of them."""

    p50: int
    p95: int
    p99: int


class Times(Shape):
    """How long the latest completed jobs of a queue waited and ran."""

    minutes: int = Field(description="How long ago they ended at the most.")
    jobs: int = Field(description="How many were looked at, the latest ones.")
    wait_ms: PercentilesShape | None = Field(description="How long they had been due; null = there are none.")
    run_ms: PercentilesShape | None = Field(description="How long they then ran.")


class Holder(Shape):
    """A job that runs under a key."""

    id: str
    type: str
    queue: str
    started_at: Instant | None


class HeldKey(LimitShape):
    """A key, and the jobs that run under it."""

    holders: list[Holder] = Field(description="The longest first.")


class HeldKeys(Shape):
    """Keys."""

    data: list[HeldKey]


@door("/queues/<queue_name>/times", scope="read", tag=TAG, answers={200: Times})
def show_queue_times(queue_name: str) -> Times:
    """Tell how long the completed jobs of a queue waited and ran: percentiles of the latest ones."""
    found = metrics.times(state(), known(queue_name), caller().scope)
    return Times(
        minutes=metrics.TIMES_MINUTES, jobs=found.jobs, wait_ms=_percentiles(found.wait), run_ms=_percentiles(found.run)
    )


@door("/queues/<queue_name>/keys", scope="read", tag=TAG, answers={200: HeldKeys})
def list_queue_keys(queue_name: str) -> HeldKeys:
    """List the keys that running jobs of a queue hold, and who else holds them; /limits has all keys."""
    found = limits.held(state(), known(queue_name), caller().scope)
    return HeldKeys(
        data=[
            HeldKey(
                **LimitShape.of(standing).model_dump(),
                holders=[
                    Holder(id=job.id, type=job.actor, queue=job.queue, started_at=job.started_at) for job in holders
                ],
            )
            for standing, holders in found
        ]
    )


def _percentiles(found: metrics.Percentiles | None) -> PercentilesShape | None:
    return None if found is None else PercentilesShape(p50=found.p50, p95=found.p95, p99=found.p99)
