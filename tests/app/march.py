"""A month of two organisations that was counted by hand; `TODAY` is in the middle of the next one."""

from __future__ import annotations

import datetime as dt
from typing import Any

from app.extensions import db
from app.models.audit import Audit
from app.models.base import new_id
from app.models.contractor import Contractor
from app.models.incident import Incident
from app.models.station import Station
from app.models.tenant import Tenant
from app.models.work_permit import WorkPermit

TODAY = dt.date(2026, 4, 15)
MARCH = {"dateFrom": "2026-03-01", "dateTo": "2026-03-31"}

#: station, due, completed, status, score
AUDITS = (
    ("Harbour", "03-02", "03-01", "Completed", 80),
    ("Harbour", "03-10", "03-12", "Completed", 91),
    ("Harbour", "03-20", None, "In Progress", None),
    ("Quarry", "03-31", "03-31", "Completed", 60),
    ("Quarry", "03-05", None, "Cancelled", None),
    ("Quarry", "02-10", "02-09", "Completed", 70),
    ("Harbour", "02-28", None, "Planned", None),
    ("Harbour", "04-01", None, "Planned", None),
)
#: station, contractor, from, to, closed, status
PERMITS = (
    ("Harbour", "Spark", "03-01", "03-05", "03-05", "Closed"),
    ("Harbour", "Pumps", "03-03", "03-08", "03-09", "Closed"),
    ("Quarry", "Pumps", "03-20", "03-25", None, "Active"),
    ("Quarry", "Spark", "03-30", "04-20", None, "Active"),
    ("Quarry", "Spark", "03-12", "03-14", None, "Draft"),
    ("Harbour", "Spark", "02-01", "02-03", "02-03", "Closed"),
)
#: station, at, severity
INCIDENTS = (
    ("Harbour", "2026-03-01T00:00:00Z", "high"),
    ("Harbour", "2026-03-15T12:00:00Z", "low"),
    ("Quarry", "2026-03-31T23:59:59Z", "critical"),
    (None, "2026-03-10T08:00:00Z", "medium"),
    ("Harbour", "2026-02-28T23:59:59Z", "critical"),
    ("Quarry", "2026-04-01T00:00:00Z", "low"),
)
CONTRACTORS = {"Spark": "05-01", "Pumps": "04-01"}


def fill(tenant: Tenant) -> dict[str, str]:
    """Commit all rows for an organisation; return the ids of its stations and contractors by name."""
    common = {"tenant_id": tenant.id}
    ids = {name: new_id() for name in ("Harbour", "Quarry", *CONTRACTORS)}
    opened_on = dt.date(2020, 1, 1)
    for name in ("Harbour", "Quarry"):
        db.session.add(Station(id=ids[name], name=name, region="North", opened_on=opened_on, **common))
    for name, until in CONTRACTORS.items():
        firm: dict[str, Any] = {"name": name, "email": f"{name}@firm.example", "trade": "=1+1"}
        db.session.add(Contractor(id=ids[name], certified_until=day(until), **firm, **common))
    db.session.flush()
    for station, due, completed, status, score in AUDITS:
        audit: dict[str, Any] = {"due_on": day(due), "completed_on": day(completed), "status": status, "score": score}
        db.session.add(Audit(station_id=ids[station], title=f"Audit of {due}", **audit, **common))
    for number, (station, firm_name, first, last, closed, status) in enumerate(PERMITS, 1):
        days: dict[str, Any] = {"starts_on": day(first), "ends_on": day(last), "closed_on": day(closed)}
        permit: dict[str, Any] = {"number": f"WP-{number}", "work": "Hot work", "status": status, **days}
        db.session.add(WorkPermit(station_id=ids[station], contractor_id=ids[firm_name], **permit, **common))
    for place, at, severity in INCIDENTS:
        incident: dict[str, Any] = {"title": "Slip", "description": "…", "severity": severity, "reported_by": "ada"}
        at_station = ids[place] if place else None
        moment = dt.datetime.fromisoformat(at)
        db.session.add(Incident(station_id=at_station, created_at=moment, **incident, **common))
    db.session.commit()
    return ids


def day(text: str | None) -> dt.date | None:
    return None if text is None else dt.date.fromisoformat(f"2026-{text}")
