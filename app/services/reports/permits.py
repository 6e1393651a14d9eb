"""The report on work permits: how many, which are active, and which should have been closed."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from app.models.contractor import Contractor
from app.models.station import Station
from app.models.work_permit import PermitStatus, WorkPermit
from app.services.reports.scope import MOST_LISTED, Period, Scope, compared, how_many, listed, month_of
from flask_understudy.contrib.exports import Chart, Figure, Table


def figures(scope: Scope) -> tuple[Figure, ...]:
    """Return what counts."""
    now, before = _totals(scope, scope.period), _totals(scope, scope.period.before)
    return (
        Figure("Permits", now.total, compared(before.total, scope.period)),
        Figure("Active", now.active, f"on {scope.today}"),
        Figure("Overdue", now.overdue, "active after their last day"),
        Figure("Closed late", now.late, compared(before.late, scope.period)),
    )


def charts(scope: Scope) -> tuple[Chart, ...]:
    """Return the months in which permits began, by status."""
    month, months = month_of(WorkPermit.starts_on), scope.period.months
    counted = scope.rows(
        sa.select(month.label("month"), WorkPermit.status, sa.func.count().label("n"))
        .where(*_within(scope, scope.period))
        .group_by("month", WorkPermit.status)
    )
    found = {(row.status, row.month): float(row.n) for row in counted}
    series = {status.value: tuple(found.get((status, month), 0.0) for month in months) for status in PermitStatus}
    return (Chart("Permits by month", tuple(months.values()), series),)


def tables(scope: Scope) -> tuple[Table, ...]:
    """Return the counts by status, contractor and station, and the permits themselves."""
    within = _within(scope, scope.period)
    by_status = scope.rows(
        sa.select(WorkPermit.status, sa.func.count().label("n"))
        .where(*within)
        .group_by(WorkPermit.status)
        .order_by(WorkPermit.status)
    )
    counts = (
        sa.func.count().label("n"),
        how_many(WorkPermit.status == PermitStatus.ACTIVE).label("active"),
        how_many(_is_overdue(scope)).label("overdue"),
        how_many(_is_late()).label("late"),
    )
    groups = []
    for model, key in ((Contractor, WorkPermit.contractor_id), (Station, WorkPermit.station_id)):
        query = sa.select(model.name, *counts).join(WorkPermit, model.id == key).where(*within)
        groups.append(scope.rows(query.group_by(model.id, model.name).order_by(model.name)))
    permits = scope.rows(
        sa.select(
            WorkPermit.number,
            WorkPermit.work,
            Station.name,
            Contractor.name,
            WorkPermit.status,
            WorkPermit.starts_on,
            WorkPermit.ends_on,
            WorkPermit.closed_on,
        )
        .join(Station, Station.id == WorkPermit.station_id)
        .join(Contractor, Contractor.id == WorkPermit.contractor_id)
        .where(*within)
        .order_by(WorkPermit.starts_on.desc(), WorkPermit.number)
        .limit(MOST_LISTED)
    )
    counted = ("Permits", "Active", "Overdue", "Closed late")
    return (
        Table("By status", ("Status", "Permits"), [tuple(row) for row in by_status]),
        Table("By contractor", ("Contractor", *counted), [tuple(row) for row in groups[0]]),
        Table("By station", ("Station", *counted), [tuple(row) for row in groups[1]]),
        Table(
            listed("Permits", sum(row.n for row in by_status)),
            ("Number", "Work", "Station", "Contractor", "Status", "From", "To", "Closed"),
            [tuple(row) for row in permits],
        ),
    )


def _within(scope: Scope, period: Period) -> list[sa.ColumnElement[bool]]:
    conditions = [*scope.of_tenant(WorkPermit), period.holds(WorkPermit.starts_on)]
    if scope.filters.status is not None:
        conditions.append(WorkPermit.status == scope.filters.status)
    if scope.filters.contractor_id is not None:
        conditions.append(WorkPermit.contractor_id == scope.filters.contractor_id)
    return conditions


def _is_overdue(scope: Scope) -> sa.ColumnElement[bool]:
    return sa.and_(WorkPermit.status == PermitStatus.ACTIVE, WorkPermit.ends_on < scope.today)


def _is_late() -> sa.ColumnElement[bool]:
    return sa.and_(WorkPermit.closed_on.is_not(None), WorkPermit.closed_on > WorkPermit.ends_on)


def _totals(scope: Scope, period: Period) -> Any:
    return scope.one(
        sa.select(
            sa.func.count().label("total"),
            how_many(WorkPermit.status == PermitStatus.ACTIVE).label("active"),
            how_many(_is_overdue(scope)).label("overdue"),
            how_many(_is_late()).label("late"),
        ).where(*_within(scope, period))
    )
