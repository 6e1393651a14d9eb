"""What a report is asked about: whose rows, of which days, and as of when."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app.services.reports.filters import Filters

#: Rows that a table lists at the most; the figures count all.
MOST_LISTED = 1_000


@dataclass(frozen=True, slots=True)
class Period:
    """Days, the last one among them."""

    first: dt.date
    last: dt.date

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.last - self.first).days + 1

    @property
    def before(self) -> Period:
        """As many days right before it."""
        return Period(self.first - dt.timedelta(days=self.days), self.first - dt.timedelta(days=1))

    @property
    def months(self) -> dict[int, str]:
        """The months it touches, by what `month_of` gives for them."""
        first, last = (day.year * 12 + day.month - 1 for day in (self.first, self.last))
        return {month: f"{month // 12}-{month % 12 + 1:02}" for month in range(first, last + 1)}

    def holds(self, column: Any) -> sa.ColumnElement[bool]:
        """Return whether a column of days is within it."""
        held: sa.ColumnElement[bool] = column.between(self.first, self.last)
        return held

    def holds_moment(self, column: Any) -> sa.ColumnElement[bool]:
        """Return whether a column of times is within it, in UTC."""
        start, end = (
            dt.datetime.combine(day, dt.time(), dt.UTC) for day in (self.first, self.last + dt.timedelta(days=1))
        )
        return sa.and_(column >= start, column < end)


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose rows a report counts, and how it reads them.

    Attributes:
        connection: Shows everything as of one moment.
        tenant_id: The organisation.
        filters: Those of the report's type.
        today: The day in UTC that decides what is overdue.
    """

    connection: sa.Connection
    tenant_id: str
    filters: Any
    today: dt.date

    @property
    def period(self) -> Period:
        """The days that are reported on."""
        filters: Filters = self.filters
        assert filters.date_from is not None and filters.date_to is not None  # they are stored
        return Period(filters.date_from, filters.date_to)

    def rows(self, query: sa.Select[*tuple[Any, ...]]) -> Sequence[sa.Row[*tuple[Any, ...]]]:
        """Return the rows of a query."""
        return self.connection.execute(query).all()

    def one(self, query: sa.Select[*tuple[Any, ...]]) -> Any:
        """Return the one row of a query."""
        return self.connection.execute(query).one()

    def of_tenant(self, model: Any) -> list[sa.ColumnElement[bool]]:
        """Return the conditions that every row of a model has to meet: the organisation, and the station if given."""
        conditions = [model.tenant_id == self.tenant_id]
        if self.filters.station_id is not None:
            conditions.append(model.station_id == self.filters.station_id)
        return conditions

    def stations(self, model: Any) -> list[sa.ColumnElement[bool]]:
        """Return the conditions on the stations themselves."""
        conditions = [model.tenant_id == self.tenant_id]
        if self.filters.station_id is not None:
            conditions.append(model.id == self.filters.station_id)
        return conditions


def month_of(day: Any) -> sa.ColumnElement[int]:
    """Return the month of a column of days as a number that `Period.months` knows."""
    year, month = (sa.cast(sa.extract(part, day), sa.Integer) for part in ("year", "month"))
    return year * 12 + month - 1


def day_of(moment: Any, connection: sa.Connection) -> sa.ColumnElement[Any]:
    """Return the day in UTC of a column of times, whatever the connection's own zone is."""
    return sa.func.timezone("UTC", moment) if connection.dialect.name == "postgresql" else moment


def how_many(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    """Return the number of rows that meet a condition, of those that a query counts."""
    return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)


def percent(part: Any, whole: Any) -> float | None:
    """Return a share in percent to one decimal; None of nothing."""
    return round(100 * float(part) / float(whole), 1) if whole else None


def rounded(value: Any) -> float | None:
    """Return an average to one decimal; None of nothing."""
    return None if value is None else round(float(value), 1)


def compared(value: object, period: Period) -> str:
    """Return the note that says what it was before."""
    days = "day" if period.days == 1 else f"{period.days} days"
    return f"{'none' if value is None else value} in the {days} before"


def listed(title: str, total: int) -> str:
    """Return the title of a table of so many rows."""
    return title if total <= MOST_LISTED else f"{title}, the first {MOST_LISTED:,} of {total:,}"
