"""Automated workflows over HTTP: what they do, starting one, and what came of it (requirements A18 to A21).

Secrets of webhooks are taken and never shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

import sqlalchemy as sa
from flask import Blueprint, Response
from pydantic import Field, StringConstraints

from app import paging
from app.actors.workflows import queue_workflow_execution
from app.auth import current_principal, requires
from app.extensions import db
from app.models.workflow import Workflow
from app.models.workflow_execution import WorkflowExecution
from app.services import audit
from app.services.shapes import Shape
from app.services.workflows import executions, storing
from app.services.workflows.definitions import NewWorkflow, WorkflowChange
from flask_understudy.contrib.api import Answer, Body, Instant, Problem, invalid, not_found, once, operation

bp = Blueprint("workflows", __name__, url_prefix="/api/workflows")

TAG = "Automated workflows"
LIST = "workflow-executions"
_ID = re.compile(r"[0-9a-f-]{36}")
_FIELDS = {"trigger_id": "triggerId", "payload": "payload"}


class WorkflowShape(Shape):
    """A workflow."""

    id: str
    name: str
    steps: list[dict[str, Any]] = Field(description="As they were given, without secrets.")
    continue_on_error: bool
    enabled: bool
    created_at: Instant


class WorkflowList(Shape):
    """All workflows by name."""

    data: list[WorkflowShape]


class Start(Body):
    """What starts a workflow."""

    trigger_id: Annotated[str, StringConstraints(max_length=200)] = Field(
        description="By a name of yours, such as the id of an event; the same one starts a workflow once."
    )
    payload: dict[str, Any] = Field(default={}, description="What the steps may use, up to 65,536 bytes.")


class Page(Body):
    """Which part of the list."""

    limit: int = Field(50, ge=1, le=200)
    cursor: Annotated[str, StringConstraints(max_length=500)] | None = None


class Outcome(Shape):
    """What became of a step."""

    kind: str
    name: str
    status: str = Field(description="done, failed or skipped.")
    error: str | None
    result: dict[str, Any] | None = Field(description="The job or the deliveries that it queued, or what it changed.")


class ExecutionShape(Shape):
    """An execution."""

    id: str
    workflow_id: str
    trigger_id: str | None
    job_id: str | None
    status: str = Field(description="running, completed or failed; completed though a step failed that others follow.")
    outcomes: list[Outcome] = Field(description="Of the steps so far, in order.")
    error: str | None
    created_at: Instant
    finished_at: Instant | None


class ExecutionDetail(ExecutionShape):
    """An execution with what its steps may use."""

    payload: dict[str, Any] | None = Field(description="null without the scope `payload`.")


class ExecutionPage(Shape):
    """A page of executions, the latest first."""

    data: list[ExecutionShape]
    next_cursor: str | None


@bp.post("")
@requires("admin")
@operation(tag=TAG, body=NewWorkflow, answers={201: WorkflowShape}, errors=(409,))
def create(body: NewWorkflow) -> Response:
    """Add a workflow: up to 50 steps, done one after the other."""

    def act() -> tuple[Shape, int]:
        workflow = storing.create(current_principal().tenant, body)
        _note("create", workflow.id)
        return _shape(workflow), 201

    return _once(act)


@bp.get("")
@requires("read")
@operation(tag=TAG, answers={200: WorkflowList})
def list_workflows() -> Any:
    """List the organisation's workflows."""
    return WorkflowList(data=[_shape(workflow) for workflow in storing.of_tenant(current_principal().tenant)])


@bp.get("/<workflow_id>")
@requires("read")
@operation(tag=TAG, answers={200: WorkflowShape})
def show_workflow(workflow_id: str) -> Any:
    """Describe a workflow."""
    return _shape(_own(workflow_id))


@bp.patch("/<workflow_id>")
@requires("admin")
@operation(tag=TAG, body=WorkflowChange, answers={200: WorkflowShape}, errors=(409,))
def change(workflow_id: str, body: WorkflowChange) -> Response:
    """Change a workflow. Executions that were started keep their steps."""
    workflow = _own(workflow_id)

    def act() -> tuple[Shape, int]:
        _note("change", workflow_id, fields=storing.change(workflow, body))
        return _shape(workflow), 200

    return _once(act)


@bp.delete("/<workflow_id>")
@requires("admin")
@operation(tag=TAG, answers={204: Answer(description="It is gone, with its executions.")}, errors=(409,))
def delete(workflow_id: str) -> tuple[str, int]:
    """Delete a workflow with what is known of its executions."""
    workflow = _own(workflow_id)
    _settle(workflow_id)
    try:
        storing.delete(workflow)
    except storing.WorkflowConflict as problem:
        raise Problem(409, detail=str(problem)) from None
    _note("delete", workflow_id)
    db.session.commit()
    return "", 204


@bp.post("/<workflow_id>/executions")
@requires("enqueue")
@operation(tag=TAG, body=Start, answers={202: ExecutionShape}, errors=(409,))
def start(workflow_id: str, body: Start) -> Response:
    """Queue an execution. What the same trigger started before is answered again, and starts nothing."""
    workflow, tenant = _own(workflow_id), current_principal().tenant

    def act() -> tuple[Shape, int]:
        _note("execute", workflow.id, trigger=body.trigger_id)
        execution = queue_workflow_execution(workflow.id, body.trigger_id, body.payload, tenant)
        return _of_execution(execution), 202

    return _once(act)


@bp.get("/<workflow_id>/executions")
@requires("read")
@operation(tag=TAG, query=Page, answers={200: ExecutionPage})
def list_executions(workflow_id: str, query: Page) -> Any:
    """List the executions of a workflow, the latest first."""
    after = paging.place(query.cursor, LIST) if query.cursor else None
    found = sa.select(WorkflowExecution).filter_by(workflow_id=_own(workflow_id).id)
    place = sa.tuple_(WorkflowExecution.created_at, WorkflowExecution.id)
    if after is not None:
        moment = sa.literal(after[0], WorkflowExecution.created_at.type)
        found = found.where(place < sa.tuple_(moment, sa.literal(after[1])))
    latest = found.order_by(WorkflowExecution.created_at.desc(), WorkflowExecution.id.desc())
    page = list(db.session.scalars(latest.limit(query.limit + 1)))
    for execution in page:
        executions.settle(execution)
    last = page[: query.limit][-1] if len(page) > query.limit else None
    return ExecutionPage(
        data=[_of_execution(execution) for execution in page[: query.limit]],
        next_cursor=paging.cursor(last.created_at, last.id, LIST) if last is not None else None,
    )


@bp.get("/<workflow_id>/executions/<execution_id>")
@requires("read")
@operation(tag=TAG, answers={200: ExecutionDetail})
def show_execution(workflow_id: str, execution_id: str) -> Any:
    """Describe an execution."""
    workflow, known = _own(workflow_id), bool(_ID.fullmatch(execution_id))
    mine = sa.select(WorkflowExecution).filter_by(id=execution_id, workflow_id=workflow.id)
    execution = db.session.scalar(mine) if known else None
    if execution is None:
        raise not_found()
    executions.settle(execution)
    shows_payload = "payload" in current_principal().scopes
    fields = _of_execution(execution).model_dump()
    return ExecutionDetail(**fields, payload=execution.payload if shows_payload else None)


def _once(act: Callable[[], tuple[Shape, int]]) -> Response:
    """Do something once, in one transaction, or say as a problem why it cannot be done."""
    caller = current_principal()

    def answer() -> tuple[dict[str, Any], int]:
        shape, status = act()
        return shape.answer(), status

    try:
        return once(db.session, caller.tenant, caller.subject, answer)
    except storing.SecretMissing as problem:
        raise invalid(f"steps/{problem.position}/secret", str(problem)) from None
    except storing.WorkflowConflict as problem:
        raise Problem(409, detail=str(problem)) from None
    except executions.WorkflowRefused as problem:
        if problem.field in _FIELDS:
            raise invalid(_FIELDS[problem.field], str(problem)) from None
        raise Problem(409, detail=str(problem)) from None


def _note(verb: str, target: str, **details: Any) -> None:
    caller = current_principal()
    audit.record(f"workflow.{verb}", tenant_id=caller.tenant, subject=caller.subject, target=target, **details)


def _own(workflow_id: str) -> Workflow:
    found = storing.find(current_principal().tenant, workflow_id) if _ID.fullmatch(workflow_id) else None
    if found is None:
        raise not_found()
    return found


def _settle(workflow_id: str) -> None:
    for execution in db.session.scalars(
        sa.select(WorkflowExecution).filter_by(workflow_id=workflow_id, status=executions.RUNNING)
    ).all():
        executions.settle(execution)


def _shape(workflow: Workflow) -> WorkflowShape:
    is_admin = "admin" in current_principal().scopes
    return WorkflowShape(
        id=workflow.id,
        name=workflow.name,
        steps=storing.shown(workflow.steps, is_whole=is_admin),
        continue_on_error=workflow.continue_on_error,
        enabled=workflow.is_enabled,
        created_at=workflow.created_at,
    )


def _of_execution(execution: WorkflowExecution) -> ExecutionShape:
    outcomes = [Outcome(**outcome) for outcome in execution.outcomes]
    fields = {name: getattr(execution, name) for name in ExecutionShape.model_fields if name != "outcomes"}
    return ExecutionShape(**fields, outcomes=outcomes)
