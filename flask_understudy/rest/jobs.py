"""Jobs: find them, see one, act on one."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from flask import Response, request
from pydantic import Field, StringConstraints

from ..contrib.api import Answer, Body, Instant, Problem, invalid, not_found
from ..ledger import Job, queries
from ..operations import jobs as operations
from ..operations.waiting import wait_in_turn
from . import following
from .callers import caller, state
from .doors import TokenQuery, door, note
from .finding import JobsQuery, Word, search_of
from .paging import cursor_of, place_of
from .presenting import detail_of, may_be_sent
from .shapes import JobDetail, JobSummary, Shape

TAG = "Jobs"

KEPT = "Changing them takes a type that the API may send; what is withheld is kept only while none changes."

Reason = Annotated[str, StringConstraints(max_length=500)]


class JobPage(Shape):
    """A page of jobs."""

    data: list[JobSummary]
    next_cursor: str | None = Field(description="Leads on; null = there is no more.")
    total: int | None = Field(default=None, description="When it was asked for.")
    total_is_exact: bool | None = Field(default=None, description="False = there are at least that many.")


class JobQuery(TokenQuery):
    """Whether to wait."""

    wait: float = Field(
        0, ge=0, le=30, description="s to wait for the job's end; not at all when too many requests wait."
    )


class Cancellation(Body):
    """Why."""

    reason: Reason = "cancelled"


class Cancelled(Shape):
    """What became of the wish."""

    id: str
    outcome: str = Field(description="cancelled, or requested when the job runs and was asked to stop.")


class Replay(Body):
    """What the new job does differently."""

    payload: dict[str, Any] | None = Field(
        default=None, description=f"Arguments by name; default those of the job. {KEPT}"
    )


class Amendment(Body):
    """What shall change."""

    priority: int | None = Field(default=None, ge=-1000, le=1000)
    queue: Word | None = None
    run_at: Instant | None = None
    payload: dict[str, Any] | None = Field(default=None, description=f"All arguments by name. {KEPT}")


class Force(Body):
    """Whether to stop a job that runs."""

    force: Annotated[str, StringConstraints(pattern="^cancel$")] | None = None


@door("", scope="read", tag=TAG, query=JobsQuery, answers={200: JobPage})
def find_jobs(query: JobsQuery) -> JobPage:
    """Search jobs over all queues.

    A page may hold fewer jobs than asked for, or none, and still lead on: a search that no index answers reads a
    limited number of jobs at a time.
    """
    search = search_of(state(), caller(), query, newest_first=query.is_newest_first)
    page = search.page(query.limit, place_of(query))
    total, is_exact = search.count() if query.count else (None, None)
    return JobPage(
        data=[JobSummary.of(job) for job in page.jobs],
        next_cursor=cursor_of(page.after, query),
        total=total,
        total_is_exact=is_exact,
    )


@door(
    "/<job_id>",
    also={"show_queue_job": "/<queue_name>/jobs/<job_id>"},
    scope="read",
    tag=TAG,
    query=JobQuery,
    opens_to_token=True,
    answers={200: JobDetail, 304: Answer(description="It is as the If-None-Match says.")},
)
def show_job(job_id: str, query: JobQuery, queue_name: str | None = None) -> Any:
    """Describe a job; wait for its end with `wait`, ask whether it changed with `If-None-Match`."""
    who = caller()
    _check_queue(job_id, queue_name)
    job = wait_in_turn(state(), who.key, job_id, query.wait, who.scope)
    body = detail_of(state(), who, existing(job)).model_dump_json(by_alias=True)
    response = Response(body, content_type="application/json")
    response.set_etag(hashlib.sha256(body.encode()).hexdigest()[:32])
    response.headers["Cache-Control"] = "private, no-cache"
    return response.make_conditional(request)


@door(
    "/<job_id>",
    method="PATCH",
    scope="operate",
    tag=TAG,
    audit_as="job.amend",
    body=Amendment,
    answers={200: JobDetail},
    errors=(409,),
)
def amend_job(job_id: str, body: Amendment) -> JobDetail:
    """Change a job that waits: its priority, queue, time or arguments."""
    who = caller()
    if not body.model_dump(exclude_none=True):
        raise invalid("", "Say what shall change: priority, queue, runAt or payload.")
    note(changes=sorted(body.model_fields_set))
    if body.payload is not None:
        _check_change(job_id, body.payload)
    operations.amend(
        state(), job_id, who.scope, priority=body.priority, queue=body.queue, run_at=body.run_at, payload=body.payload
    )
    return _shown(job_id)


@door(
    "/<job_id>",
    method="DELETE",
    also={"delete_queue_job": "/<queue_name>/jobs/<job_id>"},
    scope="operate",
    tag=TAG,
    audit_as="job.delete",
    query=Force,
    answers={204: Answer(description="It is gone."), 202: Cancelled},
    errors=(409,),
)
def delete_job(job_id: str, query: Force, queue_name: str | None = None) -> Any:
    """Remove a job; one that runs is only asked to stop, and that with `force=cancel`."""
    _check_queue(job_id, queue_name)
    outcome = operations.delete(state(), job_id, caller().scope, stop=query.force == "cancel")
    note(outcome=outcome)
    return ("", 204) if outcome == "deleted" else (Cancelled(id=job_id, outcome=outcome), 202)


@door(
    "/<job_id>/retry",
    method="POST",
    also={"retry_queue_job": "/<queue_name>/jobs/<job_id>/retry"},
    scope="operate",
    tag=TAG,
    audit_as="job.retry",
    answers={200: JobDetail},
    errors=(409,),
)
def retry_job(job_id: str, queue_name: str | None = None) -> JobDetail:
    """Reopen a failed or cancelled job, the same one, with attempts as at first."""
    _check_queue(job_id, queue_name)
    operations.retry(state(), job_id, caller().scope)
    return _shown(job_id)


@door(
    "/<job_id>/replay",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="job.replay",
    body=Replay,
    body_is_optional=True,
    answers={202: JobDetail},
    errors=(409,),
)
def replay_job(job_id: str, body: Replay) -> tuple[JobDetail, int, dict[str, str]]:
    """Send a new job that does what this one did."""
    who = caller()
    if body.payload is not None:
        _check_change(job_id, body.payload)
    new = operations.replay(state(), job_id, who.scope, payload=body.payload)
    note(replayed_as=new)
    return _shown(new), 202, {"Location": following.location(new)}


@door(
    "/<job_id>/cancel",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="job.cancel",
    body=Cancellation,
    body_is_optional=True,
    answers={200: Cancelled, 202: Answer(Cancelled, "It runs and was asked to stop.")},
    errors=(409,),
)
def cancel_job(job_id: str, body: Cancellation) -> tuple[Cancelled, int]:
    """Cancel a job; one that runs is asked to stop."""
    outcome = operations.cancel(state(), job_id, body.reason, caller().scope)
    note(outcome=outcome)
    return Cancelled(id=job_id, outcome=outcome), 200 if outcome == "cancelled" else 202


@door(
    "/<job_id>/run-now",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="job.run_now",
    answers={200: JobDetail},
    errors=(409,),
)
def run_job_now(job_id: str) -> JobDetail:
    """Let a delayed job run now, and a step of it that sleeps wake up.

    A job that awaits a decision or an event is refused, and told what to do instead.
    """
    operations.run_now(state(), job_id, caller().scope)
    return _shown(job_id)


def existing(job: Job | None) -> Job:
    """Return the job.

    Raises:
        Problem: 404, there is none as far as the caller may know.
    """
    if job is None:
        raise not_found()
    return job


def _check_queue(job_id: str, name: str | None) -> None:
    """Refuse a job of another queue than the path names, when it names one.

    Raises:
        Problem: 404.
    """
    if name is not None and existing(queries.find(state().database, job_id, scope=caller().scope)).queue != name:
        raise not_found()


def _check_change(job_id: str, payload: dict[str, Any]) -> None:
    """Let a payload pass that the caller may give a job, and note the names of the arguments that it changes.

    Raises:
        Problem: 403, without the scope `payload`, or when it changes what the API may not send.
    """
    who = caller()
    who.need("payload")
    changed = operations.changed(state(), job_id, payload, who.scope)
    type = operations.existing(state(), job_id, who.scope).actor
    if changed and not may_be_sent(state(), type):
        raise Problem(
            403,
            detail=f"{type!r} cannot be sent through the API; its arguments stay as they are: {', '.join(changed)}.",
        )
    note(arguments=changed)


def _shown(job_id: str) -> JobDetail:
    """Return a job as the transaction of this request sees it."""
    return detail_of(state(), caller(), operations.existing(state(), job_id, caller().scope))
