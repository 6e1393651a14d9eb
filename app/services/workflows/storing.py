"""Workflows as they are kept: one name each in an organisation, secrets sealed. The caller commits."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from app.extensions import db, webhooks
from app.models.base import new_id
from app.models.workflow import Workflow
from app.models.workflow_execution import WorkflowExecution
from app.services.workflows.definitions import NewWorkflow, Step, WorkflowChange

MOST_WORKFLOWS = 200

#: Under this name a stored step has its sealed secret.
_SEALED = "sealed"

Stored = list[dict[str, Any]]


class WorkflowConflict(ValueError):
    """What stands there does not allow it; says why."""


class SecretMissing(ValueError):
    """A webhook to a URL has no secret.

    Args:
        position: Of the step, from 0.
    """

    def __init__(self, position: int) -> None:
        super().__init__("A webhook to a url takes a secret.")
        self.position = position


def find(tenant_id: str, workflow_id: str) -> Workflow | None:
    """Return a workflow of an organisation; None for anybody else's, and for none (P10)."""
    return db.session.scalar(sa.select(Workflow).filter_by(id=str(workflow_id), tenant_id=str(tenant_id)))


def of_tenant(tenant_id: str) -> list[Workflow]:
    """Return the workflows of an organisation by name."""
    return list(db.session.scalars(sa.select(Workflow).filter_by(tenant_id=tenant_id).order_by(Workflow.name)))


def create(tenant_id: str, wanted: NewWorkflow) -> Workflow:
    """Add a workflow.

    Raises:
        SecretMissing: A webhook to a URL has none.
        WorkflowConflict: The name is taken, or there are as many as there may be.
    """
    _check_name(tenant_id, wanted.name)
    count = sa.select(sa.func.count()).select_from(Workflow).filter_by(tenant_id=tenant_id)
    if (db.session.scalar(count) or 0) >= MOST_WORKFLOWS:
        raise WorkflowConflict(f"There are {MOST_WORKFLOWS} workflows, which is as many as there may be.")
    workflow = Workflow(id=new_id(), tenant_id=tenant_id, name=wanted.name, is_enabled=wanted.enabled)
    workflow.continue_on_error = wanted.continue_on_error
    workflow.steps = _stored(workflow.id, wanted.steps, [])
    db.session.add(workflow)
    _flush(wanted.name)
    return workflow


def change(workflow: Workflow, wanted: WorkflowChange) -> list[str]:
    """Change what is given; return the names of it.

    Raises:
        SecretMissing: A webhook to a URL has none, and had none under this name and URL.
        WorkflowConflict: The name is taken.
    """
    given = wanted.model_fields_set
    if "steps" in given:
        workflow.steps = _stored(workflow.id, wanted.steps, workflow.steps)
    if "name" in given and wanted.name != workflow.name:
        _check_name(workflow.tenant_id, wanted.name)
        workflow.name = wanted.name
    if "continue_on_error" in given:
        workflow.continue_on_error = wanted.continue_on_error
    if "enabled" in given:
        workflow.is_enabled = wanted.enabled
    _flush(wanted.name)
    return sorted(given)


def delete(workflow: Workflow) -> None:
    """Delete a workflow with what is known of its executions.

    Raises:
        WorkflowConflict: One of them is running.
    """
    mine = WorkflowExecution.workflow_id == workflow.id
    running = sa.select(WorkflowExecution.id).where(mine, WorkflowExecution.status == "running").limit(1)
    if db.session.scalar(running) is not None:
        raise WorkflowConflict(
            "An execution of the workflow is running; disable it, and delete it when that has ended."
        )
    db.session.execute(sa.delete(WorkflowExecution).where(mine))
    db.session.delete(workflow)
    db.session.flush()


def shown(steps: Stored, *, is_whole: bool) -> Stored:
    """Return steps as the API shows them: without secrets, and without a URL's query unless they are to be whole."""
    found = [{name: value for name, value in step.items() if name != _SEALED} for step in steps]
    for step in found:
        if not is_whole and "url" in step:
            step["url"] = step["url"].partition("?")[0]
    return found


def secret_of(workflow_id: str, step: dict[str, Any]) -> str:
    """Return what signs a webhook to a URL.

    Raises:
        SecretUnreadable: It was sealed with another key.
    """
    return webhooks.seal.open(step[_SEALED], _owner(workflow_id))


def _stored(workflow_id: str, steps: list[Step], before: Stored) -> Stored:
    kept = {(step["name"], step["url"]): step[_SEALED] for step in before if _SEALED in step}
    stored = []
    for position, step in enumerate(steps):
        fields = step.model_dump(mode="json", by_alias=True)
        secret = fields.pop("secret", None)
        entry = {name: value for name, value in fields.items() if value is not None}
        if secret is not None:
            entry[_SEALED] = webhooks.seal.seal(secret, _owner(workflow_id))
        elif "url" in entry:
            if (known := kept.get((entry["name"], entry["url"]))) is None:
                raise SecretMissing(position)
            entry[_SEALED] = known
        stored.append(entry)
    return stored


def _owner(workflow_id: str) -> str:
    return f"workflow.{workflow_id}"


def _check_name(tenant_id: str, name: str) -> None:
    if db.session.scalar(sa.select(Workflow.id).filter_by(tenant_id=tenant_id, name=name)) is not None:
        raise _taken(name)


def _flush(name: str) -> None:
    try:
        db.session.flush()
    except sa.exc.IntegrityError:  # somebody was faster
        raise _taken(name) from None


def _taken(name: str) -> WorkflowConflict:
    return WorkflowConflict(f"There is a workflow called {name!r}.")
