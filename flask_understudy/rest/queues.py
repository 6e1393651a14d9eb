"""Queues: the seeds' endpoints (S4), and what operators do to a whole queue."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, RootModel

from ..contrib.api import Body, not_found
from ..operations import queues as operations
from ..operations.reopening import retry_failed
from .callers import caller, state
from .doors import door, note, settle
from .finding import States, Wanted, search_of
from .paging import PageOf, cursor_of, place_of
from .shapes import Instant, JobSummary, Shape

TAG = "Queues"


class Counts(Shape):
    """How many jobs of a queue stand in each state."""

    waiting: int
    active: int
    completed: int
    failed: int
    delayed: int
    paused: int = Field(description="Those that wait in a paused queue, which `waiting` does not count.")
    total: int


class Stats(RootModel[dict[str, Counts]]):
    """The counts of each queue."""


class QueueQuery(PageOf):
    """Which jobs of the queue."""

    status: States = Field(default=[], description="States.")
    count: bool = Field(default=False, description="Whether to count the jobs as well.")


class QueueJobs(Shape):
    """A page of a queue's jobs."""

    jobs: list[JobSummary]
    total: int | None = None
    next_cursor: str | None


class Cleaning(Body):
    """Which jobs to delete."""

    grace: int | None = Field(default=None, ge=0, description="ms since the end; default: what the queue keeps.")
    status: Literal["completed", "failed", "cancelled"] = "completed"


class Cleaned(Shape):
    """How many jobs were deleted."""

    removed: int
    count: int = Field(description="The same number.")


class QueueShape(Shape):
    """A queue."""

    name: str
    paused_at: Instant | None
    concurrency: int | None = Field(description="Jobs that run at a time in all processes; null = no limit.")
    counts: Counts
    policy: dict[str, Any] = Field(description="What holds for its jobs; times in milliseconds.")


class Queues(Shape):
    """All queues."""

    data: list[QueueShape]


class Limits(Body):
    """What shall hold for the queue."""

    concurrency: int | None = Field(ge=1, le=100_000, description="null = no limit.")


class Draining(Body):
    """What to cancel."""

    delayed: bool = Field(default=False, description="Delayed jobs too.")


class Drained(Shape):
    """How many jobs were cancelled."""

    cancelled: int


class Retried(Shape):
    """How many jobs were reopened."""

    retried: int


@door("/stats", scope="read", tag=TAG, answers={200: Stats})
def show_stats() -> Stats:
    """Count the jobs of each queue."""
    counts = operations.stats(state(), caller().scope)
    return Stats({name: Counts(**numbers) for name, numbers in counts.items()})


@door("/<queue_name>/jobs", scope="read", tag=TAG, query=QueueQuery, answers={200: QueueJobs})
def list_queue_jobs(queue_name: str, query: QueueQuery) -> QueueJobs:
    """List a queue's jobs, the latest first."""
    name = known(queue_name)
    search = search_of(state(), caller(), Wanted(queue=[name], status=query.status))
    page = search.page(query.limit, place_of(query))
    return QueueJobs(
        jobs=[JobSummary.of(job) for job in page.jobs],
        total=search.count()[0] if query.count else None,
        next_cursor=cursor_of(page.after, query),
    )


@door(
    "/<queue_name>/clean",
    method="POST",
    also={"clean_named_queue": "/queues/<queue_name>/clean"},
    scope="operate",
    tag=TAG,
    audit_as="queue.clean",
    body=Cleaning,
    body_is_optional=True,
    answers={200: Cleaned},
)
def clean_queue(queue_name: str, body: Cleaning) -> Cleaned:
    """Delete a queue's ended jobs that are older than the grace."""
    removed = operations.clean(state(), known(queue_name), body.status, body.grace, caller().scope)
    note(removed=removed, status=body.status)
    return Cleaned(removed=removed, count=removed)


@door("/queues", scope="read", tag=TAG, answers={200: Queues})
def list_queues() -> Queues:
    """List all queues with their counts and policies."""
    return Queues(data=_queues())


@door("/queues/<queue_name>", scope="read", tag=TAG, answers={200: QueueShape})
def show_queue(queue_name: str) -> QueueShape:
    """Describe a queue."""
    return _queue(known(queue_name))


@door(
    "/queues/<queue_name>",
    method="PATCH",
    scope="tenants",
    tag=TAG,
    audit_as="queue.limit",
    body=Limits,
    answers={200: QueueShape},
)
def limit_queue(queue_name: str, body: Limits) -> QueueShape:
    """Limit how many jobs of a queue run at a time, in all processes."""
    name = known(queue_name)
    note(concurrency=body.concurrency)
    operations.limit(state(), name, body.concurrency)
    settle()
    return _queue(name)


@door(
    "/queues/<queue_name>/pause",
    method="POST",
    scope="tenants",
    tag=TAG,
    audit_as="queue.pause",
    answers={200: QueueShape},
)
def pause_queue(queue_name: str) -> QueueShape:
    """Start no job of a queue any more; what runs goes on."""
    name = known(queue_name)
    operations.pause(state(), name)
    settle()
    return _queue(name)


@door(
    "/queues/<queue_name>/resume",
    method="POST",
    scope="tenants",
    tag=TAG,
    audit_as="queue.resume",
    answers={200: QueueShape},
)
def resume_queue(queue_name: str) -> QueueShape:
    """Start jobs of a paused queue again."""
    name = known(queue_name)
    operations.resume(state(), name)
    settle()
    return _queue(name)


@door(
    "/queues/<queue_name>/drain",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="queue.drain",
    body=Draining,
    body_is_optional=True,
    answers={200: Drained},
)
def drain_queue(queue_name: str, body: Draining) -> Drained:
    """Cancel what waits in a queue; what runs goes on."""
    n = operations.drain(state(), known(queue_name), caller().scope, delayed=body.delayed)
    note(cancelled=n)
    return Drained(cancelled=n)


@door(
    "/queues/<queue_name>/retry-failed",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="queue.retry_failed",
    answers={200: Retried},
)
def retry_failed_of_queue(queue_name: str) -> Retried:
    """Reopen the failed jobs of a queue."""
    n = retry_failed(state(), known(queue_name), caller().scope)
    note(retried=n)
    return Retried(retried=n)


def known(name: str) -> str:
    """Return the name of a queue that there is.

    Raises:
        Problem: 404.
    """
    if name not in operations.names(state()):
        raise not_found()
    return name


def _queues() -> list[QueueShape]:
    counts = operations.stats(state(), caller().scope)
    rows = operations.rows(state())
    return [
        QueueShape(
            name=name,
            paused_at=rows[name].paused_at if name in rows else None,
            concurrency=rows[name].concurrency if name in rows else None,
            counts=Counts(**numbers),
            policy=operations.policy(state(), name),
        )
        for name, numbers in counts.items()
    ]


def _queue(name: str) -> QueueShape:
    return next(queue for queue in _queues() if queue.name == name)
