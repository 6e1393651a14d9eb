"""The report on audits: how many were due, how they went, and which are open."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from app.models.audit import Audit, AuditStatus
from app.models.station import Station
from app.services.reports.scope import (
    MOST_LISTED,
    Period,
    Scope,
    compared,
    how_many,
    listed,
    month_of,
    percent,
    rounded,
)
from flask_understudy.contrib.exports import Chart, Figure, Table

OPEN = (AuditStatus.PLANNED, AuditStatus.IN_PROGRESS)


def figures(scope: Scope) -> tuple[Figure, ...]:
    """Return what counts."""
    now, before = _totals(scope, scope.period), _totals(scope, scope.period.before)
    share = percent(now.completed, now.total)
    return (
        Figure("Audits", now.total, compared(before.total, scope.period)),
        Figure("Completed", now.completed, f"{share} %" if share is not None else ""),
        Figure("Average score", rounded(now.score), compared(rounded(before.score), scope.period)),
        Figure("Overdue", now.overdue, f"on {scope.today}"),
    )


def charts(scope: Scope) -> tuple[Chart, ...]:
    """Return the months, by status and by score."""
    month, months = month_of(Audit.due_on), scope.period.months
    counted = scope.rows(
        sa.select(month.label("month"), Audit.status, sa.func.count().label("n"))
        .where(*_within(scope, scope.period))
        .group_by("month", Audit.status)
    )
    by_status = {(row.status, row.month): float(row.n) for row in counted}
    scores = scope.rows(
        sa.select(month.label("month"), sa.func.avg(Audit.score).label("score"))
        .where(*_within(scope, scope.period), Audit.score.is_not(None))
        .group_by("month")
        .order_by("month")
    )
    return (
        Chart(
            "Audits by month",
            tuple(months.values()),
            {status.value: tuple(by_status.get((status, month), 0.0) for month in months) for status in AuditStatus},
        ),
        Chart(
            "Average score by month",
            tuple(months[row.month] for row in scores),
            {"Score": tuple(round(float(row.score), 1) for row in scores)},
            "line",
        ),
    )


def tables(scope: Scope) -> tuple[Table, ...]:
    """Return the counts by status and by station, and the audits themselves."""
    within = _within(scope, scope.period)
    by_status = scope.rows(
        sa.select(Audit.status, sa.func.count().label("n"), sa.func.avg(Audit.score).label("score"))
        .where(*within)
        .group_by(Audit.status)
        .order_by(Audit.status)
    )
    by_station = scope.rows(
        sa.select(
            Station.name,
            sa.func.count(Audit.id).label("n"),
            how_many(Audit.status == AuditStatus.COMPLETED).label("completed"),
            how_many(_is_overdue(scope)).label("overdue"),
            sa.func.avg(Audit.score).label("score"),
        )
        .outerjoin(Audit, sa.and_(Audit.station_id == Station.id, *within))
        .where(*scope.stations(Station))
        .group_by(Station.id, Station.name)
        .order_by(Station.name)
    )
    audits = scope.rows(
        sa.select(Audit.due_on, Audit.title, Station.name, Audit.status, Audit.completed_on, Audit.score)
        .join(Station, Station.id == Audit.station_id)
        .where(*within)
        .order_by(Audit.due_on.desc(), Audit.id)
        .limit(MOST_LISTED)
    )
    total = sum(row.n for row in by_status)
    return (
        Table(
            "By status",
            ("Status", "Audits", "Average score"),
            [(row.status, row.n, rounded(row.score)) for row in by_status],
        ),
        Table(
            "By station",
            ("Station", "Audits", "Completed", "Overdue", "Average score"),
            [(row.name, row.n, row.completed, row.overdue, rounded(row.score)) for row in by_station],
        ),
        Table(
            listed("Audits", total),
            ("Due", "Audit", "Station", "Status", "Completed", "Score"),
            [tuple(row) for row in audits],
        ),
    )


def _within(scope: Scope, period: Period) -> list[sa.ColumnElement[bool]]:
    conditions = [*scope.of_tenant(Audit), period.holds(Audit.due_on)]
    if scope.filters.status is not None:
        conditions.append(Audit.status == scope.filters.status)
    return conditions


def _is_overdue(scope: Scope) -> sa.ColumnElement[bool]:
    return sa.and_(Audit.status.in_(OPEN), Audit.due_on < scope.today)


def _totals(scope: Scope, period: Period) -> Any:
    return scope.one(
        sa.select(
            sa.func.count().label("total"),
            how_many(Audit.status == AuditStatus.COMPLETED).label("completed"),
            how_many(_is_overdue(scope)).label("overdue"),
            sa.func.avg(Audit.score).label("score"),
        ).where(*_within(scope, period))
    )
