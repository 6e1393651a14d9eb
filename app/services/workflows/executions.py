"""The life of an execution: started once per trigger, then a step at a time, completed or failed (A18, A19, A21)."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from app.extensions import db, jobs
from app.models.base import new_id, utcnow
from app.models.workflow_execution import WorkflowExecution
from app.services.ownership import check_own
from app.services.workflows.storing import find

#: Of a payload, as JSON in bytes.
MOST_BYTES = 65_536
LONGEST_TRIGGER = 200
LONGEST_ERROR = 2_000
LONG = dt.timedelta(days=1)

RUNNING, COMPLETED, FAILED = "running", "completed", "failed"


class WorkflowRefused(ValueError):
    """A workflow cannot be started like this; says why. Nothing was stored.

    Args:
        field: What is wrong: ``workflow_id``, ``is_enabled``, ``trigger_id`` or ``payload``.
        problem: What it is, and what would do.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field = field


def start(
    workflow_id: str, trigger_id: str, payload: Any, company_id: str, queue: Callable[[str], tuple[str, Any]]
) -> WorkflowExecution:
    """Add an execution and its job to the transaction, or return the one that this trigger started before.

    Args:
        workflow_id: The workflow.
        trigger_id: What starts it.
        payload: What its steps may use.
        company_id: Whose workflow it is.
        queue: Makes the job of an execution's id; returns the job's id, and what sends it.

    Raises:
        WorkflowRefused: As `queue_workflow_execution` says.
    """
    values, trigger_id = _checked(payload), _checked_trigger(trigger_id)
    workflow = find(company_id, workflow_id)
    if workflow is None:
        raise WorkflowRefused(
            "workflow_id", f"There is no workflow {workflow_id!r:.80} in the company {company_id!r:.80}."
        )
    known = sa.select(WorkflowExecution).filter_by(workflow_id=workflow.id, trigger_id=trigger_id)
    if (found := db.session.scalar(known)) is not None:
        return found
    if not workflow.is_enabled:
        raise WorkflowRefused("is_enabled", f"The workflow {workflow.name!r} is disabled.")
    id_ = new_id()
    job_id, send = queue(id_)
    insert = postgresql.insert if db.engine.dialect.name == "postgresql" else sqlite.insert
    added = db.session.scalar(
        insert(WorkflowExecution)
        .values(
            id=id_,
            tenant_id=workflow.tenant_id,
            workflow_id=workflow.id,
            trigger_id=trigger_id,
            payload=values,
            steps=[{"continueOnError": workflow.continue_on_error} | step for step in workflow.steps],
            outcomes=[],
            job_id=job_id,
            status=RUNNING,
            created_at=utcnow(),
        )
        .on_conflict_do_nothing(index_elements=["workflow_id", "trigger_id"])
        .returning(WorkflowExecution.id)
    )
    if added is not None:  # else another request was faster
        send()
    return db.session.scalars(known).one()


def begin(execution_id: str, job_id: str) -> WorkflowExecution | None:
    """Mark an execution as running that this job is to do, and commit; None when it is another job's, or gone.

    Raises:
        NotOwn: It is not of the running job's organisation; `fail` does so too.
    """
    execution = _one_of_ours(execution_id)
    if execution is None or execution.job_id != job_id:
        db.session.rollback()
        return None
    if execution.status == FAILED:  # somebody tries the job again
        execution.status, execution.error, execution.finished_at = RUNNING, None, None
    db.session.commit()
    return execution


def note(execution_id: str, position: int, outcome: str, **more: Any) -> None:
    """Write down in the caller's transaction what became of a step; what was known of later ones is dropped.

    What is written down already stays, with the later ones: a job that goes on comes by its failed steps again.
    """
    execution = db.session.get_one(WorkflowExecution, execution_id, populate_existing=True)
    entry = _entry(execution.steps[position], outcome, **more)
    if entry not in execution.outcomes[position : position + 1]:
        execution.outcomes = [*execution.outcomes[:position], entry]
    db.session.flush()


def complete(execution_id: str) -> None:
    """Mark an execution as completed, and commit."""
    _end(execution_id, COMPLETED, None)


def fail(execution_id: str, error: str) -> None:
    """Mark an execution as failed that is running, the steps that were not reached as skipped, and commit."""
    execution = _one_of_ours(execution_id)
    if execution is None or execution.status != RUNNING:
        db.session.rollback()
        return
    left = execution.steps[len(execution.outcomes) :]
    execution.outcomes = [*execution.outcomes, *(_entry(step, "skipped") for step in left)]
    db.session.flush()
    _end(execution_id, FAILED, error[:LONGEST_ERROR])


def settle(execution: WorkflowExecution) -> None:
    """Mark an execution as failed, and commit, when its job has come to an end without it.

    That is so when the job was cancelled before it began, or its last attempt's process was killed.
    """
    if execution.status != RUNNING or execution.job_id is None:
        return
    job = jobs.get(execution.job_id)
    if job is None or job.state in {"failed", "cancelled"}:
        reason = "Its job is gone." if job is None else job.error or job.reason or f"The job was {job.state}."
        fail(execution.id, str(reason))


def settle_old() -> None:
    """Do so for all executions that were started more than a day ago."""
    running = sa.select(WorkflowExecution).filter_by(status=RUNNING)
    for execution in db.session.scalars(running.where(WorkflowExecution.created_at < utcnow() - LONG)).all():
        settle(execution)


def _one_of_ours(execution_id: str) -> WorkflowExecution | None:
    execution = db.session.get(WorkflowExecution, execution_id, populate_existing=True)
    if execution is not None:
        check_own(execution.tenant_id, f"execution {execution_id!r:.80}")
    return execution


def _end(execution_id: str, status: str, error: str | None) -> None:
    db.session.execute(
        sa.update(WorkflowExecution)
        .where(WorkflowExecution.id == execution_id, WorkflowExecution.status != COMPLETED)
        .values(status=status, error=error, finished_at=utcnow())
    )
    db.session.commit()


def _entry(step: Mapping[str, Any], status: str, **more: Any) -> dict[str, Any]:
    return {"kind": step["kind"], "name": step["name"], "status": status, "error": None, "result": None} | more


def _checked(payload: Any) -> dict[str, Any]:
    if not isinstance(payload, dict):
        raise WorkflowRefused("payload", f"The payload is {payload!r:.80}; it takes an object.")
    try:
        text = json.dumps(payload, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as problem:
        raise WorkflowRefused("payload", f"The payload is no JSON: {problem}") from None
    if size > MOST_BYTES:
        raise WorkflowRefused("payload", f"The payload has {size} bytes; it takes up to {MOST_BYTES}.")
    values: dict[str, Any] = json.loads(text)
    return values


def _checked_trigger(trigger_id: Any) -> str:
    if not isinstance(trigger_id, str) or not 1 <= len(trigger_id) <= LONGEST_TRIGGER or not trigger_id.isprintable():
        wanted = f"a text of 1 to {LONGEST_TRIGGER} printable characters"
        raise WorkflowRefused("trigger_id", f"The trigger id is {trigger_id!r:.80}; it takes {wanted}.")
    return trigger_id
