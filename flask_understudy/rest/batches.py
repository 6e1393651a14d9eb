"""Batches: sending many jobs as one, and acting on all of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from ..contrib.api import Body, invalid
from ..operations import batches as operations
from ..operations.batches import Progress
from .callers import caller, state
from .doors import door, note
from .paging import PageOf, cursor_of, place_of
from .sending import SendOrder, message_of
from .shapes import Instant, Shape

TAG = "Batches"


class NewBatch(Body):
    """Jobs that belong together."""

    name: Annotated[str, StringConstraints(max_length=200)] = Field(default="", description="For people.")
    concurrency: int | None = Field(
        default=None, ge=1, le=100_000, description="Its jobs that run at a time in all processes; null = no limit."
    )
    jobs: list[SendOrder] = Field(max_length=10_000, description="All of them are accepted, or none.")
    on_complete: SendOrder | None = Field(default=None, description="Sent when all of them have ended.")
    on_success: SendOrder | None = Field(default=None, description="Sent then if every one completed.")
    on_failure: SendOrder | None = Field(default=None, description="Sent then if any failed or was cancelled.")


class BatchShape(Shape):
    """A batch and how far it is; its failures are `GET /batches/{id}/failures`."""

    id: str
    tenant: str
    owner: str
    name: str
    state: str = Field(description="running, cancelling, completed, failed or cancelled.")
    total: int
    concurrency: int | None = Field(description="Its jobs that run at a time; null = no limit.")
    delayed: int
    waiting: int
    active: int
    completed: int
    failed: int
    cancelled: int
    percent: int = Field(description="How many have ended, 0 to 100.")
    error: str | None = Field(description="Why what was to follow its end could not be sent.")
    created_at: Instant
    cancelled_at: Instant | None
    finished_at: Instant | None

    @classmethod
    def of(cls, found: Progress) -> BatchShape:
        """Return a batch's shape."""
        return cls(**{name: getattr(found, name) for name in Progress.__slots__})


class Batches(Shape):
    """A page of batches, the newest first."""

    data: list[BatchShape]
    next_cursor: str | None


class Failure(Shape):
    """A job of a batch that failed."""

    id: str
    type: str
    error: str | None
    attempts_made: int


class Failures(Shape):
    """The failed jobs of a batch, up to a thousand."""

    data: list[Failure]


class Retried(Shape):
    """What came of a retry."""

    retried: int
    batch: BatchShape


class Cancelled(Shape):
    """What came of a cancellation."""

    cancelled: int = Field(description="Jobs that will not start any more.")
    requested: int = Field(description="Jobs that run and were asked to stop.")
    batch: BatchShape


@door(
    "/batches",
    method="POST",
    scope="enqueue",
    tag=TAG,
    audit_as="batch.send",
    body=NewBatch,
    answers={202: BatchShape},
    errors=(503,),
)
def send_batch(body: NewBatch) -> tuple[BatchShape, int]:
    """Send many jobs as one: all or none."""
    here = state()
    follows = {name: getattr(body, name) for name in operations.CALLBACKS}
    for order in [*body.jobs, *follows.values()]:
        if order is not None and order.delay is not None:
            raise invalid("jobs", "The jobs of a batch take scheduledFor, and no delay.")
    id = operations.create(
        here,
        [message_of(order) for order in body.jobs],
        name=body.name,
        concurrency=body.concurrency,
        callbacks={name: message_of(order, {"batch_id": ""}) for name, order in follows.items() if order is not None},
    )
    note(target=id, jobs=len(body.jobs))
    return BatchShape.of(operations.find(here, id)), 202


@door("/batches", scope="read", tag=TAG, query=PageOf, answers={200: Batches})
def list_batches(query: PageOf) -> Batches:
    """List batches, the newest first."""
    found, after = operations.listing(state(), caller().scope, after=place_of(query), n=query.limit)
    return Batches(data=[BatchShape.of(batch) for batch in found], next_cursor=cursor_of(after, query))


@door("/batches/<batch_id>", scope="read", tag=TAG, answers={200: BatchShape})
def show_batch(batch_id: str) -> BatchShape:
    """Say how far a batch is."""
    return BatchShape.of(operations.find(state(), batch_id, caller().scope))


@door("/batches/<batch_id>/failures", scope="read", tag=TAG, answers={200: Failures})
def list_batch_failures(batch_id: str) -> Failures:
    """List the jobs of a batch that failed, with their errors."""
    batch = operations.find(state(), batch_id, caller().scope)
    failed = operations.failures(state(), batch.id)
    return Failures(
        data=[Failure(id=job.id, type=job.actor, error=job.error, attempts_made=job.attempt) for job in failed]
    )


@door(
    "/batches/<batch_id>/retry-failed",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="batch.retry",
    answers={200: Retried},
    errors=(409,),
)
def retry_batch(batch_id: str) -> Retried:
    """Reopen the failed jobs of a batch, which is open again then and has its end anew."""
    n = operations.retry_failed(state(), batch_id, caller().scope)
    note(retried=n)
    return Retried(retried=n, batch=show_batch(batch_id))


@door(
    "/batches/<batch_id>/cancel",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="batch.cancel",
    answers={200: Cancelled},
    errors=(409,),
)
def cancel_batch(batch_id: str) -> Cancelled:
    """Cancel what is left of a batch."""
    cancelled, requested = operations.cancel(state(), batch_id, caller().scope)
    note(cancelled=cancelled, requested=requested)
    return Cancelled(cancelled=cancelled, requested=requested, batch=show_batch(batch_id))
