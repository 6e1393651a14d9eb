"""The report on incidents: how many, how severe, when and where."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from app.models.incident import Incident
from app.models.station import Station
from app.services.reports.scope import (
    MOST_LISTED,
    Period,
    Scope,
    compared,
    day_of,
    how_many,
    listed,
    month_of,
    percent,
)
from flask_understudy.contrib.exports import Chart, Figure, Table

#: The least severe first.
SEVERITIES = ("low", "medium", "high", "critical")
SEVERE = ("high", "critical")
NOWHERE = "(no station)"


def figures(scope: Scope) -> tuple[Figure, ...]:
    """Return what counts."""
    now, before = _totals(scope, scope.period), _totals(scope, scope.period.before)
    share = percent(now.severe, now.total)
    return (
        Figure("Incidents", now.total, compared(before.total, scope.period)),
        Figure("Severe", now.severe, compared(before.severe, scope.period)),
        Figure("Share of severe ones in %", share, "high and critical"),
        Figure("Stations concerned", now.stations, compared(before.stations, scope.period)),
    )


def charts(scope: Scope) -> tuple[Chart, ...]:
    """Return the months, by severity."""
    month, months = month_of(day_of(Incident.created_at, scope.connection)), scope.period.months
    counted = scope.rows(
        sa.select(month.label("month"), Incident.severity, sa.func.count().label("n"))
        .where(*within(scope, scope.period))
        .group_by("month", Incident.severity)
    )
    found = {(row.severity, row.month): float(row.n) for row in counted}
    series = {severity: tuple(found.get((severity, month), 0.0) for month in months) for severity in SEVERITIES}
    return (Chart("Incidents by month", tuple(months.values()), series),)


def tables(scope: Scope) -> tuple[Table, ...]:
    """Return the counts by severity and by station, and the incidents themselves."""
    conditions = within(scope, scope.period)
    found = scope.rows(
        sa.select(Incident.severity, sa.func.count().label("n")).where(*conditions).group_by(Incident.severity)
    )
    counted = {row.severity: row.n for row in found}
    name = sa.func.coalesce(Station.name, NOWHERE).label("name")
    at_station = sa.and_(Station.id == Incident.station_id, Station.tenant_id == scope.tenant_id)
    by_station = scope.rows(
        sa.select(name, sa.func.count().label("n"), how_many(Incident.severity.in_(SEVERE)).label("severe"))
        .select_from(Incident)
        .outerjoin(Station, at_station)
        .where(*conditions)
        .group_by(Station.id, Station.name)
        .order_by(sa.desc("n"), "name")
    )
    incidents = scope.rows(
        sa.select(Incident.created_at, Incident.title, name, Incident.severity)
        .outerjoin(Station, at_station)
        .where(*conditions)
        .order_by(Incident.created_at.desc(), Incident.id)
        .limit(MOST_LISTED)
    )
    return (
        Table(
            "By severity",
            ("Severity", "Incidents"),
            [(severity, counted.get(severity, 0)) for severity in reversed(SEVERITIES)],
        ),
        Table("By station", ("Station", "Incidents", "Severe"), [tuple(row) for row in by_station]),
        Table(
            listed("Incidents", sum(counted.values())),
            ("At", "Incident", "Station", "Severity"),
            [tuple(row) for row in incidents],
        ),
    )


def within(scope: Scope, period: Period) -> list[sa.ColumnElement[bool]]:
    """Return the conditions on the incidents of a period."""
    conditions = [*scope.of_tenant(Incident), period.holds_moment(Incident.created_at)]
    if getattr(scope.filters, "severity", None) is not None:
        conditions.append(Incident.severity == scope.filters.severity)
    return conditions


def _totals(scope: Scope, period: Period) -> Any:
    return scope.one(
        sa.select(
            sa.func.count().label("total"),
            how_many(Incident.severity.in_(SEVERE)).label("severe"),
            sa.func.count(Incident.station_id.distinct()).label("stations"),
        ).where(*within(scope, period))
    )
