"""Reading the expression of a schedule: cron of five fields, `every 30 minutes`, or a date.

The reading is bounded: whatever is given is accepted or refused after a look at each of its few characters, before any
library sees it. A refusal says which part is wrong and what it takes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..errors import InvalidSchedule

CRON, EVERY, ONCE = "cron", "every", "once"

LONGEST = 255
MOST_TERMS = 60
LONGEST_INTERVAL = timedelta(days=3660)
YEARS = range(1970, 2200)

NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

_EVERY = re.compile(r"every\s+(?:(\d{1,9})\s+)?(second|minute|hour|day|week)s?", re.IGNORECASE)
_DATE = re.compile(r"(?:at\s+)?(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(Z|[+-]\d\d:\d\d)?", re.IGNORECASE)
_TERM = re.compile(r"(?:(\*)|(\w{1,3})(?:-(\w{1,3}))?)(?:/(\d{1,3}))?", re.ASCII)
_NTH = re.compile(r"(\w{1,3})#(\d)", re.ASCII)
_LAST = re.compile(r"(\w{1,3})L", re.ASCII)

VALID = "five cron fields, `@daily` and the like, `every 30 minutes`, or a date such as 2026-12-24T09:00"


@dataclass(frozen=True, slots=True)
class Expression:
    """What an expression says.

    Attributes:
        kind: `CRON`, `EVERY` or `ONCE`.
        cron: The five fields in capitals; empty for the other kinds.
        interval: Between two slots; None for the other kinds.
        at: The date; without a zone it is a local time. None for the other kinds.
    """

    kind: str
    cron: str = ""
    interval: timedelta | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Field:
    """One of the five fields: its name, its numbers, its words, and the largest step within it."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()

    @property
    def takes(self) -> str:
        """What a value may be, in words."""
        names = f" or {self.words[0]} to {self.words[-1]}" if self.words else ""
        return f"{self.low} to {self.high}{names}"


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, MONTHS),
    _Field("day of week", 0, 7, DAYS),
)


def parse(expression: str) -> Expression:
    """Return what an expression says.

    Args:
        expression: Five cron fields, `@daily` and the like, `every [N] seconds|minutes|hours|days|weeks`, or a date as
            `2026-12-24T09:00`, with `Z` or an offset when it is no local time.

    Raises:
        InvalidSchedule: It makes no sense; says which part does not, and what would.
    """
    if not isinstance(expression, str) or len(expression) > LONGEST:
        shown = repr(expression if not isinstance(expression, str) else expression[:40] + "…")[:80]
        raise InvalidSchedule(f"{shown} is no schedule; it takes a text of {LONGEST} characters at the most: {VALID}.")
    text = expression.strip()
    if every := _EVERY.fullmatch(text):
        return _interval(expression, int(every[1] or 1), every[2].lower())
    if date := _DATE.fullmatch(text):
        return _date(expression, date)
    if text.startswith("@") and text.lower() not in NICKNAMES:
        raise InvalidSchedule(f"{expression!r} is no schedule; there are {', '.join(NICKNAMES)}.")
    fields = NICKNAMES.get(text.lower(), text).upper().split()
    if len(fields) != len(_FIELDS):
        raise InvalidSchedule(f"{expression!r} is no schedule; it takes {VALID}.")
    return Expression(
        CRON, " ".join(_field(expression, kind, text) for kind, text in zip(_FIELDS, fields, strict=True))
    )


def _interval(expression: str, number: int, unit: str) -> Expression:
    if number < 1:
        raise InvalidSchedule(f"{expression!r} never fires; it takes `every 1 second` or more.")
    interval = number * timedelta(**{unit + "s": 1}) if number <= LONGEST_INTERVAL.total_seconds() else None
    if interval is None or interval > LONGEST_INTERVAL:
        raise InvalidSchedule(f"{expression!r} is too rare; it takes up to {LONGEST_INTERVAL.days} days.")
    return Expression(EVERY, interval=interval)


def _date(expression: str, found: re.Match[str]) -> Expression:
    try:
        at = datetime.fromisoformat(f"{found[1]}T{found[2]}{(found[3] or '').upper()}")
    except ValueError as problem:
        raise InvalidSchedule(f"{expression!r} is no date: {problem}.") from None
    if at.year not in YEARS:
        raise InvalidSchedule(f"{expression!r} is no date that can be; it takes years {YEARS[0]} to {YEARS[-1]}.")
    return Expression(ONCE, at=at)


def _field(expression: str, kind: _Field, text: str) -> str:
    terms = text.split(",")
    if len(terms) > MOST_TERMS:
        raise _refusal(expression, kind, f"{text[:20]}…", f"up to {MOST_TERMS} values")
    return ",".join(_term(expression, kind, term) for term in terms)


def _term(expression: str, kind: _Field, term: str) -> str:
    if _is_special(expression, kind, term):
        return term
    found = _TERM.fullmatch(term)
    if found is None:
        raise _refusal(expression, kind, term, kind.takes)
    star, first, last, step = found.groups()
    if step is not None and not 1 <= int(step) <= kind.high:
        raise _refusal(expression, kind, term, f"steps from 1 to {kind.high}")
    if star:
        return term
    low = _value(expression, kind, first)
    if last is None:
        return term
    high = _value(expression, kind, last)
    if last == "SUN":  # at the end of a range it is the seventh day
        high, last = 7, "7"
    if high < low:
        raise _refusal(expression, kind, term, "ranges from the lower to the higher value")
    if high == low:  # with a step CronSim would take it for all from this value on
        return first
    return f"{first}-{last}" + (f"/{step}" if step else "")


def _is_special(expression: str, kind: _Field, term: str) -> bool:
    """Whether it is the last day, the last weekday, the last Friday or the second Tuesday of a month."""
    if kind.name == "day of month":
        return term in {"L", "LW"}
    if kind.name != "day of week":
        return False
    if nth := _NTH.fullmatch(term):
        _value(expression, kind, nth[1])
        if not 1 <= int(nth[2]) <= 5:
            raise _refusal(expression, kind, term, "the first to the fifth of a month, #1 to #5")
        return True
    if (last := _LAST.fullmatch(term)) and last[1].isdecimal():
        _value(expression, kind, last[1])
        return True
    return False


def _value(expression: str, kind: _Field, text: str) -> int:
    if text in kind.words:
        return kind.words.index(text) + (1 if kind.name == "month" else 0)
    if text.isdecimal() and kind.low <= int(text) <= kind.high:
        return int(text)
    raise _refusal(expression, kind, text, kind.takes)


def _refusal(expression: str, kind: _Field, given: str, takes: str) -> InvalidSchedule:
    return InvalidSchedule(f"{expression!r} is no cron expression: its {kind.name} is {given!r}; it takes {takes}.")
