"""The filters of each report, checked when it is asked for."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator
from pydantic_core import PydanticCustomError

from flask_understudy.contrib.api import Body

_DAY = re.compile(r"\d{4}-\d\d-\d\d")

#: Days that a report covers when nobody says how many, and at the most.
DEFAULT_DAYS, MOST_DAYS = 365, 3_660


def _day(value: Any) -> Any:
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    if isinstance(value, str) and _DAY.fullmatch(value):
        try:
            day = dt.date.fromisoformat(value)
        except ValueError:
            pass
        else:
            if 1900 <= day.year < 3000:  # as many days before and after have to be days, too
                return day
    raise PydanticCustomError("day", "takes a day from 1900 to 2999, such as 2026-01-31")


Day = Annotated[dt.date, BeforeValidator(_day), PlainSerializer(dt.date.isoformat, when_used="json")]
Id = Annotated[str, Field(min_length=1, max_length=36)]


class Filters(Body):
    """Filters that every report has: the days from ``dateFrom`` to ``dateTo``, both among them, and one station."""

    date_from: Day | None = None
    date_to: Day | None = None
    station_id: Id | None = None

    @model_validator(mode="after")
    def _is_a_period(self) -> Filters:
        if self.date_from and self.date_to and not 0 <= (self.date_to - self.date_from).days < MOST_DAYS:
            raise PydanticCustomError("period", "dateTo is a day from dateFrom on, within ten years")
        return self

    def bounded(self, today: dt.date) -> Filters:
        """Return the filters with both days: up to today, and a year, where nothing else is said."""
        last = self.date_to or max(today, self.date_from or today)
        first = self.date_from or last - dt.timedelta(days=DEFAULT_DAYS - 1)
        return self.model_validate(self.model_dump() | {"date_from": first, "date_to": last})


class AuditFilters(Filters):
    """Filters of audits."""

    status: Literal["Planned", "In Progress", "Completed", "Cancelled"] | None = None


class IncidentFilters(Filters):
    """Filters of incidents."""

    severity: Literal["low", "medium", "high", "critical"] | None = None


class PermitFilters(Filters):
    """Filters of work permits."""

    status: Literal["Draft", "Active", "Closed", "Revoked"] | None = None
    contractor_id: Id | None = None


class ComplianceFilters(Filters):
    """Filters of compliance: those that every report has."""
