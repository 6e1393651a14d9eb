"""Workflows and their runs: every step with its times, what it waits for, and what can be done about it."""

from __future__ import annotations

import json
from typing import Any

import dramatiq
from pydantic import Field

from ..contrib.api import Body, not_found
from ..ledger import Job
from ..ledger.filter import Filter
from ..ledger.search import Search
from ..operations import jobs as job_operations
from ..operations import workflows as operations
from ..operations.bulk import known
from ..operations.workflows import Reached
from ..redaction import WITHHELD, redacted
from ..signatures import check_payload
from . import following
from .callers import Caller, caller, state
from .doors import door, note
from .finding import States, Word
from .jobs import Cancellation, Cancelled, JobPage
from .paging import PageOf, cursor_of, place_of
from .presenting import detail_of
from .sending import Word as Name
from .sending import sendable
from .shapes import Instant, JobDetail, JobSummary, Shape

TAG = "Workflows"


class WorkflowShape(Shape):
    """An actor that says `workflow=True`."""

    name: str
    description: str
    queue: str
    can_be_sent: bool = Field(description="Whether the API may start it.")


class Workflows(Shape):
    """All workflows."""

    data: list[WorkflowShape]


class Start(Body):
    """A run to be started."""

    payload: dict[str, Any] = Field(default={}, description="The actor's arguments by name.")
    correlation_id: Name | None = None


class WantedRuns(PageOf):
    """Which runs."""

    name: Word | None = Field(default=None, description="The workflow's name.")
    status: States = Field(default=[], description="States.")


class AwaitedEvent(Shape):
    """The event that a step waits or waited for."""

    event: str
    match: dict[str, Any] | None = Field(description="Fields and their values; null without permission.")
    event_id: str | None = Field(description="The event that came.")


class StepShape(Shape):
    """A step that a run has reached."""

    position: int
    name: str
    kind: str = Field(description="run, sleep, wait, approval, publish, parallel, or child of the latter.")
    state: str = Field(description="completed, failed, timed_out, retrying, sleeping or waiting.")
    attempts: int
    started_at: Instant
    finished_at: Instant | None
    wake_at: Instant | None = Field(description="When the run goes on at the latest.")
    waits_for: AwaitedEvent | None
    approval_id: str | None
    error: str | None
    result: Any = Field(description="Null without permission.")


class RunShape(JobDetail):
    """A run and the steps that it has reached, the first one first."""

    steps: list[StepShape]


class Rerun(Body):
    """Where to begin."""

    from_step: Name | None = Field(default=None, description="What lies before is taken as done; null = begin anew.")


class Signal(Body):
    """The event that a run waits for."""

    payload: dict[str, Any] = Field(default={}, description="Its fields; those that are compared may be left out.")
    step: Name | None = Field(default=None, description="The step that waits.")


@door("/workflows", scope="read", tag=TAG, answers={200: Workflows})
def list_workflows() -> Workflows:
    """List the workflows there are."""
    return Workflows(data=[_described(actor) for actor in operations.declared(state())])


@door(
    "/workflows/<path:type_name>/runs",
    method="POST",
    scope="enqueue",
    tag=TAG,
    audit_as="workflow.start",
    body=Start,
    answers={202: RunShape},
    errors=(503,),
)
def start_run(type_name: str, body: Start) -> tuple[RunShape, int, dict[str, str]]:
    """Start a workflow."""
    who, actor = caller(), _workflow(type_name)
    payload = check_payload(sendable(actor.actor_name), body.payload)
    options = {
        "tenant": who.principal.tenant,
        "owner": who.principal.subject,
        "correlation_id": body.correlation_id,
    }
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    sent = state().broker.enqueue(actor.message_with_options(kwargs=payload, **given))
    note(run=sent.message_id)
    job = operations.find(state(), sent.message_id, who.scope)
    return _run(who, job), 202, {"Location": following.location(job.id)}


@door("/workflows/runs", scope="read", tag=TAG, query=WantedRuns, answers={200: JobPage})
def list_runs(query: WantedRuns) -> JobPage:
    """List the runs of all workflows, or of one, the latest first."""
    names = [actor.actor_name for actor in operations.declared(state())]
    wanted = tuple(name for name in names if query.name in {None, name})
    if not wanted:
        return JobPage(data=[], next_cursor=None)
    filter_ = Filter(actors=wanted, states=tuple(query.status))
    page = Search(state().database, caller().scope, filter_, known(state())).page(query.limit, place_of(query))
    return JobPage(data=[JobSummary.of(job) for job in page.jobs], next_cursor=cursor_of(page.after, query))


@door("/workflows/runs/<job_id>", scope="read", tag=TAG, answers={200: RunShape})
def show_run(job_id: str) -> RunShape:
    """Describe a run and its steps; any job that has steps is one."""
    return _run(caller(), operations.find(state(), job_id, caller().scope))


@door(
    "/workflows/runs/<job_id>/cancel",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="workflow.cancel",
    body=Cancellation,
    body_is_optional=True,
    answers={200: Cancelled},
    errors=(409,),
)
def cancel_run(job_id: str, body: Cancellation) -> Cancelled:
    """Cancel a run."""
    note(reason=body.reason)
    outcome = job_operations.cancel(state(), job_id, body.reason, caller().scope)
    return Cancelled(id=job_id, outcome=outcome)


@door(
    "/workflows/runs/<job_id>/rerun",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="workflow.rerun",
    body=Rerun,
    body_is_optional=True,
    answers={202: RunShape},
    errors=(503,),
)
def rerun_run(job_id: str, body: Rerun) -> tuple[RunShape, int, dict[str, str]]:
    """Start a new run that takes the steps before one as done."""
    who = caller()
    new = operations.rerun(state(), job_id, body.from_step, who.scope)
    note(run=new, from_step=body.from_step)
    return _run(who, operations.find(state(), new, who.scope)), 202, {"Location": following.location(new)}


@door(
    "/workflows/runs/<job_id>/signal",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="workflow.signal",
    body=Signal,
    body_is_optional=True,
    answers={200: RunShape},
    errors=(409,),
)
def signal_run(job_id: str, body: Signal) -> RunShape:
    """Give a run the event that it waits for."""
    who = caller()
    operations.signal(state(), job_id, body.payload, step=body.step, by=who.principal.subject, scope=who.scope)
    return _run(who, operations.find(state(), job_id, who.scope))


def _workflow(name: str) -> dramatiq.Actor[Any, Any]:
    for actor in operations.declared(state()):
        if actor.actor_name.replace("/", ":") == name.replace("/", ":"):
            return actor
    raise not_found()


def _described(actor: dramatiq.Actor[Any, Any]) -> WorkflowShape:
    return WorkflowShape(
        name=actor.actor_name,
        description=actor.options.get("description") or "",
        queue=actor.queue_name,
        can_be_sent=bool(actor.options.get("api")),
    )


def _run(who: Caller, job: Job) -> RunShape:
    return RunShape(
        **dict(detail_of(state(), who, job)),
        steps=[step_shape(reached, withheld=_withheld(who, job)) for reached in operations.reached(state(), job)],
    )


def _withheld(who: Caller, job: Job) -> Any:
    """Return what stands for a result: False = it may be seen."""
    if not who.may("payload"):
        return None
    actor = state().broker.actors.get(job.actor)
    is_sensitive = job.sensitive or actor is None or actor.options.get("sensitive") is True
    return WITHHELD if is_sensitive else False


def step_shape(reached: Reached, *, withheld: Any) -> StepShape:
    """Return a step's shape.

    Args:
        reached: The step.
        withheld: What is shown instead of results; False = they are shown, but for secrets.
    """
    step, wait = reached.step, reached.wait
    awaited = None
    if wait is not None:
        match = redacted(json.loads(wait.wanted)) if withheld is False else None
        awaited = AwaitedEvent(event=wait.event, match=match, event_id=wait.event_id)
    result = None if step.result is None else redacted(json.loads(step.result)) if withheld is False else withheld
    return StepShape(
        position=step.position,
        name=step.name,
        kind=step.kind,
        state=step.state,
        attempts=step.attempts,
        started_at=step.started_at,
        finished_at=step.finished_at,
        wake_at=step.wake_at,
        waits_for=awaited,
        approval_id=reached.approval.id if reached.approval is not None else None,
        error=step.error,
        result=result,
    )
