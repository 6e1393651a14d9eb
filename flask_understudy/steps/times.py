"""How long a step may sleep or wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from ..errors import InvalidStep

LONGEST = timedelta(days=3660)
UNITS = ("weeks", "days", "hours", "minutes", "seconds", "milliseconds")


def milliseconds(what: str, duration: Any, units: dict[str, Any]) -> int:
    """Return a duration, given as a timedelta or by its units, in ms.

    Raises:
        InvalidStep: It is neither, or out of range; names what was given and what is valid.
    """
    if unknown := sorted(set(units) - set(UNITS)):
        raise InvalidStep(f"{what}: {unknown[0]!r} is no unit; there are {', '.join(UNITS)}.")
    if (duration is None) == (not units):
        raise InvalidStep(f"{what} takes a timedelta or units such as hours=1, one of the two.")
    try:
        length = timedelta(**units) if duration is None else duration
    except (TypeError, OverflowError, ValueError) as problem:
        raise InvalidStep(f"{what}: {units!r} is no duration ({problem}).") from None
    if not isinstance(length, timedelta) or not timedelta(0) <= length <= LONGEST:
        raise InvalidStep(f"{what} is {length!r}; it takes a timedelta from 0 to {LONGEST.days} days.")
    return int(length / timedelta(milliseconds=1))


def checked(what: str, when: Any) -> datetime:
    """Return a time to sleep until.

    Raises:
        InvalidStep: It has no time zone, or lies too far ahead.
    """
    if not isinstance(when, datetime) or when.tzinfo is None:
        raise InvalidStep(f"{what} is {when!r}; it takes a datetime with a time zone.")
    if when - datetime.now(UTC) > LONGEST:
        raise InvalidStep(f"{what} is {when.isoformat()}; it takes a time within {LONGEST.days} days.")
    return when


__all__ = ["checked", "milliseconds"]
