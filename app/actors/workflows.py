"""Automated workflows in the background (requirements A18 to A22, D04)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from app.actors.email import queue_email, send_notification_email
from app.actors.webhooks import queue_webhook
from app.extensions import db, jobs, webhooks
from app.models.incident import Incident
from app.models.user import User
from app.models.workflow_execution import WorkflowExecution
from app.services.ownership import NotOwn
from app.services.workflows import executions
from app.services.workflows.placeholders import Filling, StepRefused
from app.services.workflows.storing import secret_of
from flask_understudy import current_job, step
from flask_understudy.contrib.mail import InvalidMail
from flask_understudy.contrib.webhooks.errors import InvalidWebhook
from flask_understudy.errors import JobCancelled, StepFailed

#: How often a step is tried when the ones after it follow its failure (D04).
TRIES = 3

Result = dict[str, Any]


@jobs.actor(actor_name="workflow:failed", queue_name="workflows", time_limit=30_000, throws=(NotOwn,))
def give_up(message: dict[str, Any], limits: dict[str, Any]) -> None:
    """Mark an execution as failed when the last attempt at it has."""
    executions.fail(message["kwargs"]["execution_id"], f"It failed {limits['max_retries'] + 1} times.")


@jobs.actor(
    queue_name="workflows",
    actor_name="workflow:execute",
    workflow=True,
    max_retries=2,
    time_limit=300_000,
    fallback="hold",
    throws=(StepRefused, InvalidMail, InvalidWebhook, NotOwn),
    on_retry_exhausted="workflow:failed",
)
def execute_workflow(execution_id: str) -> Result:
    """Do the steps of an automated workflow, one after the other, each once.

    Three tries. A step that failed for good ends it, unless the workflow or the step says to go on.
    """
    execution = executions.begin(execution_id, current_job.id)
    if execution is None:
        return {"execution": execution_id, "skipped": True}
    steps, failed = execution.steps, 0
    db.session.rollback()
    try:
        for position, wanted in enumerate(steps):
            current_job.check_cancelled()
            failed += not _is_done(execution_id, position, wanted)
            current_job.progress(100 * (position + 1) / len(steps), f"{position + 1} of {len(steps)} steps")
    except JobCancelled:
        executions.fail(execution_id, "It was cancelled.")
        raise
    except StepFailed as problem:
        executions.fail(execution_id, str(problem))
        raise
    executions.complete(execution_id)
    return {"execution": execution_id, "steps": len(steps), "failed": failed, "skipped": False}


def queue_workflow_execution(workflow_id: str, trigger_id: str, payload: Any, company_id: str) -> WorkflowExecution:
    """Queue an execution of a workflow; what this trigger started before is returned (A18).

    It joins the caller's transaction when that has uncommitted writes, and else is committed at once.

    Args:
        workflow_id: The workflow.
        trigger_id: What starts it, by the caller's own name for it, such as the id of an event: up to 200 characters.
        payload: What its steps may use, a JSON object of up to 65,536 bytes.
        company_id: The organisation that it and the job belong to (P10).

    Returns:
        The execution, with the ``job_id`` that does it.

    Raises:
        WorkflowRefused: There is no such workflow in the company, it is disabled, or a value cannot be accepted;
            nothing was stored.
    """

    def queue(execution_id: str) -> tuple[str, Callable[[], Any]]:
        message = execute_workflow.message_with_options(
            kwargs={"execution_id": execution_id}, tenant=company_id, transaction=True
        )
        return message.message_id, lambda: jobs.send_many([message])

    with jobs.transaction():
        return executions.start(workflow_id, trigger_id, payload, company_id, queue)


def _is_done(execution_id: str, position: int, wanted: Mapping[str, Any]) -> bool:
    """Do a step, and return whether it worked; one that failed for good ends the rest unless they follow it."""
    goes_on = wanted["continueOnError"]
    tries = TRIES if goes_on else None
    try:
        step.run(wanted["name"], _do, execution_id, position, attempts=tries, transaction=True)
    except StepFailed as problem:
        executions.note(execution_id, position, "failed", error=problem.error)
        db.session.commit()
        if not goes_on:
            raise
        return False
    return True


def _do(execution_id: str, position: int) -> None:
    """Do what a step says, and write down that it is done, in one transaction."""
    execution = db.session.get_one(WorkflowExecution, execution_id)
    wanted = execution.steps[position]
    result = _KINDS[wanted["kind"]](execution, wanted, Filling(execution.payload))
    executions.note(execution_id, position, "done", result=result)


def _mail(execution: WorkflowExecution, wanted: Mapping[str, Any], fill: Filling) -> Result:
    to = wanted["to"]
    if "type" in wanted:
        return {"jobId": queue_email(wanted["type"], fill.text(to), fill.value(wanted["data"])).message_id}
    message = queue_email(
        to=fill.text(to) if isinstance(to, str) else [fill.text(address) for address in to],
        subject=fill.text(wanted["subject"]),
        text=fill.text(wanted["text"]) if "text" in wanted else None,
        html=fill.text(wanted["html"], is_html=True) if "html" in wanted else None,
    )
    return {"jobId": message.message_id}


def _notify(execution: WorkflowExecution, wanted: Mapping[str, Any], fill: Filling) -> Result:
    address = fill.text(wanted["to"])
    person = db.session.scalar(sa.select(User).filter_by(tenant_id=execution.tenant_id, email=address))
    if person is None:
        raise LookupError(f"Nobody in the organisation has the address {address!r:.100}.")
    fields = [fill.text(wanted[name]) for name in ("title", "message", "link")]
    return {"jobId": send_notification_email(person.email, person.name, *fields).message_id}


def _set_status(execution: WorkflowExecution, wanted: Mapping[str, Any], fill: Filling) -> Result:
    incident_id = fill.text(wanted["incident"])
    mine = sa.select(Incident).filter_by(id=incident_id, tenant_id=execution.tenant_id)
    incident = db.session.scalar(mine.with_for_update())
    if incident is None:
        raise LookupError(f"There is no incident {incident_id!r:.80} in the organisation.")
    incident.status = wanted["status"]
    return {"incident": incident.id, "status": incident.status}


def _call(execution: WorkflowExecution, wanted: Mapping[str, Any], fill: Filling) -> Result:
    event = wanted["eventType"]
    has_own = wanted.get("payload") is not None
    payload = fill.value(wanted["payload"]) if has_own else {"event": event, "data": execution.payload}
    if "url" not in wanted:
        return {"deliveries": [sent.id for sent in webhooks.publish(event, payload, execution.tenant_id)]}
    sent = queue_webhook(
        url=wanted["url"],
        payload=payload,
        secret=secret_of(execution.workflow_id, dict(wanted)),
        event_type=event,
        organization_id=execution.tenant_id,
    )
    return {"deliveries": [sent.id]}


_KINDS: Mapping[str, Callable[[WorkflowExecution, Mapping[str, Any], Filling], Result]] = {
    "email": _mail,
    "notification": _notify,
    "status": _set_status,
    "webhook": _call,
}
