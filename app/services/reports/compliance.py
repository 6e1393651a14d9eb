"""The report on compliance: what had to be done by a day, and whether it was.

Two things have to be done by a day: an audit by the day it is due, unless it was cancelled, and the closing of a permit
by its last day. Each counts when its day is over, or once it is done. The rate is the share that was done in time.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from app.models.audit import Audit, AuditStatus
from app.models.contractor import Contractor
from app.models.incident import Incident
from app.models.station import Station
from app.models.work_permit import PermitStatus, WorkPermit
from app.services.reports import audits, incidents
from app.services.reports.scope import MOST_LISTED, Period, Scope, compared, how_many, month_of, percent
from flask_understudy.contrib.exports import Chart, Figure, Table

AUDIT, PERMIT = "audit", "permit"


def figures(scope: Scope) -> tuple[Figure, ...]:
    """Return what counts."""
    now, before = (_counts(scope, period) for period in (scope.period, scope.period.before))
    rate, earlier = (percent(one.met, one.due) for one in (now, before))
    uncertified = scope.one(sa.select(sa.func.count()).where(*_uncertified(scope)))[0]
    return (
        Figure("Compliance rate in %", rate, compared(earlier, scope.period)),
        Figure("Audits in time", now.audits_met, f"of {now.audits}"),
        Figure("Permits closed in time", now.permits_met, f"of {now.permits}"),
        Figure(
            "Severe incidents",
            _severe(scope, scope.period),
            compared(_severe(scope, scope.period.before), scope.period),
        ),
        Figure("No valid certificate", uncertified, f"contractors on {scope.today}"),
    )


def charts(scope: Scope) -> tuple[Chart, ...]:
    """Return the rate by station, and by month."""
    duties, months = _duties(scope, scope.period), scope.period.months
    month = month_of(duties.c.due)
    found = scope.rows(
        sa.select(month.label("month"), sa.func.count().label("due"), sa.func.sum(duties.c.met).label("met"))
        .group_by("month")
        .order_by("month")
    )
    judged = [row for row in _by_station(scope) if row.due]
    return (
        Chart(
            "Compliance rate by station",
            tuple(row.name for row in judged),
            {"%": tuple(_rate(row) for row in judged)},
        ),
        Chart(
            "Compliance rate by month",
            tuple(months[row.month] for row in found),
            {"%": tuple(_rate(row) for row in found)},
            "line",
        ),
    )


def tables(scope: Scope) -> tuple[Table, ...]:
    """Return the rate of each station, what is open, and the contractors without a certificate."""
    contractors = scope.rows(
        sa.select(Contractor.name, Contractor.trade, Contractor.certified_until)
        .where(*_uncertified(scope))
        .order_by(Contractor.name)
        .limit(MOST_LISTED)
    )
    return (
        Table(
            "By station",
            ("Station", "Due", "In time", "Rate in %", "Severe incidents"),
            [
                *(
                    (row.name, row.due, row.met or 0, percent(row.met or 0, row.due), row.severe)
                    for row in _by_station(scope)
                ),
                *_nowhere(scope),
            ],
        ),
        Table("Overdue", ("Due", "What", "Title", "Station"), [tuple(row) for row in _overdue(scope)]),
        Table(
            "Contractors without a valid certificate",
            ("Contractor", "Trade", "Certified until"),
            [tuple(row) for row in contractors],
        ),
    )


def _duties(scope: Scope, period: Period) -> Any:
    audit = sa.select(
        sa.literal(AUDIT).label("kind"),
        Audit.station_id.label("station_id"),
        Audit.due_on.label("due"),
        sa.case((Audit.completed_on <= Audit.due_on, 1), else_=0).label("met"),
    ).where(
        *scope.of_tenant(Audit),
        period.holds(Audit.due_on),
        Audit.status != AuditStatus.CANCELLED,
        sa.or_(Audit.due_on < scope.today, Audit.completed_on.is_not(None)),
    )
    permit = sa.select(
        sa.literal(PERMIT),
        WorkPermit.station_id,
        WorkPermit.ends_on,
        sa.case((WorkPermit.closed_on <= WorkPermit.ends_on, 1), else_=0),
    ).where(
        *scope.of_tenant(WorkPermit),
        period.holds(WorkPermit.ends_on),
        WorkPermit.status.in_((PermitStatus.ACTIVE, PermitStatus.CLOSED)),
        sa.or_(WorkPermit.ends_on < scope.today, WorkPermit.closed_on.is_not(None)),
    )
    return sa.union_all(audit, permit).subquery("duties")


def _counts(scope: Scope, period: Period) -> Any:
    duties = _duties(scope, period)
    is_audit, is_met = duties.c.kind == AUDIT, duties.c.met == 1
    return scope.one(
        sa.select(
            sa.func.count().label("due"),
            how_many(is_met).label("met"),
            how_many(is_audit).label("audits"),
            how_many(sa.and_(is_audit, is_met)).label("audits_met"),
            how_many(~is_audit).label("permits"),
            how_many(sa.and_(~is_audit, is_met)).label("permits_met"),
        ).select_from(duties)
    )


def _by_station(scope: Scope) -> Any:
    duties = _duties(scope, scope.period)
    counted = (
        sa.select(duties.c.station_id, sa.func.count().label("due"), sa.func.sum(duties.c.met).label("met"))
        .group_by(duties.c.station_id)
        .subquery("counted")
    )
    severe = (
        sa.select(sa.func.count())
        .where(
            *incidents.within(scope, scope.period),
            Incident.station_id == Station.id,
            Incident.severity.in_(incidents.SEVERE),
        )
        .correlate(Station)
        .scalar_subquery()
    )
    return scope.rows(
        sa.select(
            Station.name,
            sa.func.coalesce(counted.c.due, 0).label("due"),
            counted.c.met,
            severe.label("severe"),
        )
        .outerjoin(counted, counted.c.station_id == Station.id)
        .where(*scope.stations(Station))
        .order_by(Station.name)
    )


def _nowhere(scope: Scope) -> list[tuple[object, ...]]:
    """Return the line of the severe incidents at no station, if there are any: nothing is due there."""
    severe = _severe(scope, scope.period, Incident.station_id.is_(None))
    return [(incidents.NOWHERE, 0, 0, None, severe)] if severe else []


def _overdue(scope: Scope) -> Any:
    audit = (
        sa.select(
            Audit.due_on.label("due"), sa.literal("Audit").label("what"), Audit.title.label("title"), Station.name
        )
        .join(Station, Station.id == Audit.station_id)
        .where(*scope.of_tenant(Audit), Audit.status.in_(audits.OPEN), Audit.due_on < scope.today)
    )
    permit = (
        sa.select(WorkPermit.ends_on, sa.literal("Permit"), WorkPermit.number, Station.name)
        .join(Station, Station.id == WorkPermit.station_id)
        .where(*scope.of_tenant(WorkPermit), WorkPermit.status == PermitStatus.ACTIVE, WorkPermit.ends_on < scope.today)
    )
    both = sa.union_all(audit, permit).subquery("overdue")
    return scope.rows(sa.select(both).order_by(both.c.due, both.c.title).limit(MOST_LISTED))


def _uncertified(scope: Scope) -> list[sa.ColumnElement[bool]]:
    is_over = sa.or_(Contractor.certified_until.is_(None), Contractor.certified_until < scope.today)
    return [Contractor.tenant_id == scope.tenant_id, is_over]


def _severe(scope: Scope, period: Period, *more: sa.ColumnElement[bool]) -> int:
    conditions = [*incidents.within(scope, period), Incident.severity.in_(incidents.SEVERE), *more]
    return int(scope.one(sa.select(sa.func.count()).where(*conditions))[0])


def _rate(row: Any) -> float:
    return percent(row.met, row.due) or 0.0
