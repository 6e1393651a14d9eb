"""A year of the demo organisations' stations: audits, permits, contractors and incidents."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import sqlalchemy as sa

from app.extensions import db
from app.models.audit import Audit, AuditStatus
from app.models.base import new_id, utcnow
from app.models.contractor import Contractor
from app.models.incident import Incident
from app.models.station import Station
from app.models.work_permit import PermitStatus, WorkPermit

AUDITS, PERMITS, INCIDENTS = 180, 150, 90

_DAYS = 365
_STATIONS = (
    ("Harbour", "North"),
    ("Mill Lane", "North"),
    ("Old Town", "South"),
    ("Riverside", "South"),
    ("Airport", "West"),
    ("Quarry", "West"),
)
_CONTRACTORS = (
    ("Brightline Electric", "Electrical"),
    ("Keystone Masonry", "Building"),
    ("Northwind Crane Hire", "Lifting"),
    ("Safe Spark Welding", "Welding"),
    ("Tidewater Pumps", "Plumbing"),
)
_AUDITS = ("Fire safety", "First aid", "Machine guards", "Storage of chemicals", "Escape routes")
_WORK = ("Hot work", "Work at height", "Confined space", "Excavation", "Electrical isolation")
_INCIDENTS = ("Slip on a wet floor", "Leak at a valve", "Blocked escape route", "Burn", "Near miss with a forklift")


def add(tenant_id: str, people: list[str], chance: random.Random) -> None:
    """Add stations and what happened there to the caller's transaction.

    Args:
        tenant_id: Whose.
        people: Ids of its members, who report incidents.
        chance: Decides what is what, the same way each time.
    """
    today = utcnow().date()
    stations = [_station(tenant_id, name, region, today, chance) for name, region in _STATIONS]
    contractors = [_contractor(tenant_id, name, trade, today, chance) for name, trade in _CONTRACTORS]
    ids, firms = [station["id"] for station in stations], [firm["id"] for firm in contractors]
    many: tuple[tuple[type[Any], list[dict[str, Any]]], ...] = (
        (Station, stations),
        (Contractor, contractors),
        (Audit, [_audit(tenant_id, chance.choice(ids), today, chance) for _ in range(AUDITS)]),
        (WorkPermit, [_permit(tenant_id, n, chance.choice(ids), today, firms, chance) for n in range(PERMITS)]),
        (Incident, [_incident(tenant_id, chance.choice(ids), people, chance) for _ in range(INCIDENTS)]),
    )
    for model, rows in many:
        db.session.execute(sa.insert(model), rows)


def _station(tenant_id: str, name: str, region: str, today: dt.date, chance: random.Random) -> dict[str, Any]:
    opened_on = today - dt.timedelta(days=chance.randrange(800, 5_000))
    return {"id": new_id(), "tenant_id": tenant_id, "name": name, "region": region, "opened_on": opened_on}


def _contractor(tenant_id: str, name: str, trade: str, today: dt.date, chance: random.Random) -> dict[str, Any]:
    return {
        "id": new_id(),
        "tenant_id": tenant_id,
        "name": name,
        "email": f"office@{name.split()[0].lower()}.example",
        "trade": trade,
        "certified_until": today + dt.timedelta(days=chance.randrange(-60, 600)),
    }


def _audit(tenant_id: str, station_id: str, today: dt.date, chance: random.Random) -> dict[str, Any]:
    due_on = today + dt.timedelta(days=chance.randrange(-_DAYS, 45))
    is_done = due_on < today and chance.random() < 0.9
    late = chance.choice((-6, -4, -2, -1, 0, 0, 3, 8))
    open_status = chance.choice((AuditStatus.PLANNED, AuditStatus.PLANNED, AuditStatus.IN_PROGRESS))
    return {
        "tenant_id": tenant_id,
        "station_id": station_id,
        "title": chance.choice(_AUDITS),
        "status": AuditStatus.COMPLETED if is_done else open_status,
        "due_on": due_on,
        "completed_on": min(today, due_on + dt.timedelta(days=late)) if is_done else None,
        "score": chance.randrange(55, 101) if is_done else None,
    }


def _permit(
    tenant_id: str, number: int, station_id: str, today: dt.date, firms: list[str], chance: random.Random
) -> dict[str, Any]:
    starts_on = today + dt.timedelta(days=chance.randrange(-_DAYS, 20))
    ends_on = starts_on + dt.timedelta(days=chance.randrange(1, 14))
    is_closed = ends_on < today and chance.random() < 0.92
    status = PermitStatus.ACTIVE if starts_on <= today else PermitStatus.DRAFT
    return {
        "tenant_id": tenant_id,
        "station_id": station_id,
        "contractor_id": chance.choice(firms),
        "number": f"WP-{number + 1:04}",
        "work": chance.choice(_WORK),
        "status": PermitStatus.CLOSED if is_closed else status,
        "starts_on": starts_on,
        "ends_on": ends_on,
        "closed_on": min(today, ends_on + dt.timedelta(days=chance.choice((-1, 0, 0, 0, 2)))) if is_closed else None,
    }


def _incident(tenant_id: str, station_id: str, people: list[str], chance: random.Random) -> dict[str, Any]:
    title = chance.choice(_INCIDENTS)
    return {
        "tenant_id": tenant_id,
        "station_id": station_id,
        "reported_by": chance.choice(people),
        "title": title,
        "description": f"{title}, noticed at the start of a shift.",
        "severity": chance.choice(("low", "low", "low", "medium", "medium", "high", "critical")),
        "created_at": utcnow() - dt.timedelta(minutes=chance.randrange(_DAYS * 24 * 60)),
    }
