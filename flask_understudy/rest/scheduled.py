"""Jobs that wait for their date (requirements F01, F02, K01)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ..contrib.api import Answer
from ..ledger import Job
from ..operations import payloads
from ..operations import scheduled as operations
from .callers import Caller, caller, state
from .doors import door
from .paging import PageOf, cursor_of, place_of
from .shapes import Instant, Shape

TAG = "Schedules"


class ScheduledShape(Shape):
    """A job for a date."""

    id: str
    type: str = Field(description="The actor's name.")
    payload: dict[str, Any] | None = Field(description="Arguments by name, secrets withheld; null without permission.")
    queue: str
    priority: int
    tenant: str
    scheduled_for: Instant
    status: str = Field(description="scheduled; the job itself says what became of it: see /{id}.")
    error: str | None
    created_at: Instant


class Scheduled(Shape):
    """A page of them, the first one first."""

    data: list[ScheduledShape]
    next_cursor: str | None


@door("/scheduled", scope="read", tag=TAG, query=PageOf, answers={200: Scheduled})
def list_scheduled(query: PageOf) -> Scheduled:
    """List the jobs that wait for their date; `POST /` with `scheduledFor` makes one."""
    who = caller()
    found = operations.listing(state(), who.scope, after=place_of(query), n=query.limit + 1)
    page = found[: query.limit]
    after = (page[-1].run_at, page[-1].id) if len(found) > query.limit else None
    return Scheduled(data=[_shape(who, job) for job in page], next_cursor=cursor_of(after, query))


@door(
    "/scheduled/<job_id>",
    method="DELETE",
    scope="operate",
    tag=TAG,
    audit_as="scheduled.cancel",
    answers={204: Answer(description="It is cancelled, and never starts.")},
    errors=(409,),
)
def cancel_scheduled(job_id: str) -> tuple[str, int]:
    """Cancel a job that has not started."""
    operations.cancel(state(), job_id, caller().scope)
    return "", 204


def _shape(who: Caller, job: Job) -> ScheduledShape:
    return ScheduledShape(
        id=job.id,
        type=job.actor,
        payload=payloads.shown(state().broker.actors.get(job.actor), job) if who.may("payload") else None,
        queue=job.queue,
        priority=job.priority,
        tenant=job.tenant,
        scheduled_for=job.run_at,
        status=operations.status_of(job),
        error=job.error,
        created_at=job.created_at,
    )
