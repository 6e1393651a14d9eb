"""Incidents: reported by an organisation's members, told to those who subscribed (U03)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from flask import Blueprint, Response, url_for
from pydantic import Field, StringConstraints

from app import paging
from app.auth import current_principal, requires
from app.extensions import db, webhooks
from app.models.base import new_id, utcnow
from app.models.incident import Incident, Status
from app.services import audit, stations
from app.services.shapes import Shape
from flask_understudy.contrib.api import Body, Instant, instant, not_found, once, operation, read_body

bp = Blueprint("incidents", __name__, url_prefix="/api/incidents")

CREATED = "incident.created"
LIST = "incidents"
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


class Page(Body):
    """Which part of the list."""

    status: Status | None = Field(None, description="Those that are so far only.")
    limit: int = Field(50, ge=1, le=200)
    cursor: Annotated[str, StringConstraints(max_length=500)] | None = None


class IncidentShape(Shape):
    """An incident."""

    id: str
    title: str
    description: str
    severity: str = Field(description="low, medium, high or critical.")
    station_id: str | None
    status: str = Field(description="open, investigating, resolved or closed.")
    reported_by: str
    created_at: Instant


class IncidentPage(Shape):
    """A page of incidents, the latest first."""

    data: list[IncidentShape]
    next_cursor: str | None


@bp.get("")
@requires("read")
@operation(tag="Incidents", query=Page, answers={200: IncidentPage})
def list_incidents(query: Page) -> Any:
    """List the incidents of your organisation, the latest first."""
    found = sa.select(Incident).filter_by(tenant_id=current_principal().tenant)
    if query.status is not None:
        found = found.filter_by(status=query.status)
    if query.cursor:
        moment, id_ = paging.place(query.cursor, LIST)
        place = sa.tuple_(sa.literal(moment, Incident.created_at.type), sa.literal(id_))
        found = found.where(sa.tuple_(Incident.created_at, Incident.id) < place)
    latest = found.order_by(Incident.created_at.desc(), Incident.id.desc()).limit(query.limit + 1)
    page = list(db.session.scalars(latest))
    last = page[: query.limit][-1] if len(page) > query.limit else None
    return IncidentPage(
        data=[IncidentShape.model_validate(shown(incident)) for incident in page[: query.limit]],
        next_cursor=paging.cursor(last.created_at, last.id, LIST) if last is not None else None,
    )


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
