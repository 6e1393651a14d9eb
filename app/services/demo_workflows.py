"""Two automated workflows and an incident for them in the demo organisations."""

from __future__ import annotations

from app.extensions import db
from app.models.base import new_id
from app.models.incident import Incident
from app.services.workflows import storing
from app.services.workflows.definitions import NewWorkflow

_WORKFLOWS = (
    {
        "name": "Close an incident",
        "steps": [
            {"kind": "status", "name": "resolve", "incident": "{{ payload.incident }}", "status": "resolved"},
            {
                "kind": "notification",
                "name": "tell",
                "to": "{{ payload.to }}",
                "title": "An incident is resolved",
                "message": "The incident {{ payload.incident }} is resolved.",
            },
            {"kind": "webhook", "name": "publish", "eventType": "incident.resolved"},
        ],
    },
    {
        "name": "Greet somebody new",
        "continueOnError": True,
        "steps": [
            {"kind": "email", "to": "{{ payload.email }}", "type": "welcome", "data": {"name": "{{ payload.name }}"}},
            {
                "kind": "email",
                "to": "{{ payload.email }}",
                "subject": "Your first day, {{ payload.name }}",
                "text": "Somebody will meet you at the door at nine.",
            },
        ],
    },
)


def add(tenant_id: str, reported_by: str) -> None:
    """Add them to the caller's transaction."""
    for wanted in _WORKFLOWS:
        storing.create(tenant_id, NewWorkflow.model_validate(wanted))
    db.session.add(
        Incident(
            id=new_id(),
            tenant_id=tenant_id,
            reported_by=reported_by,
            title="The coffee machine is out of order",
            description="It says so itself.",
            severity="low",
        )
    )
