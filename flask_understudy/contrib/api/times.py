"""Times as the API reads and writes them: RFC 3339, written in UTC."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, PlainSerializer
from pydantic_core import PydanticCustomError

_DATE_AND_TIME_AND_ZONE = re.compile(r"\d{4}-\d\d-\d\d[Tt ].*(?:[Zz]|[+-]\d\d:?\d\d)")


def instant(moment: datetime | None) -> str | None:
    """Return a time as the API writes it: RFC 3339 in UTC."""
    return None if moment is None else _text(moment)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _given(value: Any) -> Any:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str) and _DATE_AND_TIME_AND_ZONE.fullmatch(value):
        with suppress(ValueError):
            return datetime.fromisoformat(value.upper())
    hint = "; in a URL the + of a zone is written %2B" if isinstance(value, str) and " " in value[19:] else ""
    raise PydanticCustomError(
        "instant", "takes a text with date, time and time zone, such as 2026-01-31T09:30:00Z{hint}", {"hint": hint}
    )


def _in_range(moment: datetime) -> datetime:
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("instant", "is before the year 1 or after the year 9999 in UTC") from None
    return moment


#: A time: read from a text, as JSON has no times, into one that any database can compare with; written in UTC.
Instant = Annotated[
    AwareDatetime, BeforeValidator(_given), AfterValidator(_in_range), PlainSerializer(_text, return_type=str)
]
