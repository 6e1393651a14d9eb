"""Incidents: reported by an organisation's members, told to those who subscribed (U03)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from flask import Blueprint, Response, url_for
from pydantic import StringConstraints

from app.auth import current_principal, requires
from app.extensions import db, webhooks
from app.models.base import new_id, utcnow
from app.models.incident import Incident, Status
from app.services import audit, stations
from flask_understudy.contrib.api import Body, instant, not_found, once, read_body

bp = Blueprint("incidents", __name__, url_prefix="/api/incidents")

CREATED = "incident.created"
_ID = re.compile(r"[0-9a-f-]{36}")


class Report(Body):
    """What went wrong. Whose incident it is says the token, and nothing else."""

    title: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    description: Annotated[str, StringConstraints(max_length=10_000)] = ""
    severity: Literal["low", "medium", "high", "critical"] = "medium"
    station_id: Annotated[str, StringConstraints(min_length=1, max_length=36)] | None = None


class Change(Body):
    """How far an incident is."""

    status: Status


@bp.post("")
@requires("enqueue")
def report() -> Response:
    """Store an incident, and one webhook job per subscription of that organisation; all or nothing."""
    caller = current_principal()
    return once(db.session, caller.tenant, caller.subject, _report)


def _report() -> tuple[dict[str, Any], int, dict[str, str]]:
    body, caller = read_body(Report), current_principal()
    if body.station_id is not None and stations.find(caller.tenant, body.station_id) is None:
        raise stations.unknown("/stationId", body.station_id)
    incident = Incident(
        id=new_id(),
        tenant_id=caller.tenant,
        reported_by=caller.subject,
        title=body.title,
        description=body.description,
        severity=body.severity,
        station_id=body.station_id,
        status="open",
        created_at=utcnow(),
    )
    db.session.add(incident)
    db.session.flush()
    webhooks.publish(CREATED, {"event": CREATED, "data": shown(incident)}, caller.tenant)
    return shown(incident), 201, {"Location": url_for("incidents.detail", incident_id=incident.id)}


@bp.get("/<incident_id>")
@requires("read")
def detail(incident_id: str) -> dict[str, Any]:
    """Describe an incident of the caller's organisation."""
    return shown(_own(incident_id))


@bp.patch("/<incident_id>")
@requires("operate")
def change(incident_id: str) -> Response:
    """Say how far an incident is; nobody is told."""
    caller, incident, body = current_principal(), _own(incident_id), read_body(Change)

    def act() -> dict[str, Any]:
        incident.status = body.status
        who = {"tenant_id": caller.tenant, "subject": caller.subject}
        audit.record("incident.change", **who, target=incident.id, status=body.status)
        return shown(incident)

    return once(db.session, caller.tenant, caller.subject, act)


def _own(incident_id: str) -> Incident:
    incident = db.session.get(Incident, incident_id) if _ID.fullmatch(incident_id) else None
    if incident is None or incident.tenant_id != current_principal().tenant:
        raise not_found()
    return incident


def shown(incident: Incident) -> dict[str, Any]:
    """Return an incident as the API shows it."""
    return {
        "id": incident.id,
        "title": incident.title,
        "description": incident.description,
        "severity": incident.severity,
        "stationId": incident.station_id,
        "status": incident.status,
        "reportedBy": incident.reported_by,
        "createdAt": instant(incident.created_at),
    }
