"""The slots of a schedule: the points in time at which it is due, computed forwards and backwards.

Cron means what crontab(5) says: Sunday is 0 and 7, and when both day fields are restricted either is enough.
APScheduler's own `from_crontab` counts Monday as 0 and wants both. CronSim finds the local times that match; the zone
is applied here, so that clocks that change by half an hour, as on Lord Howe Island, are right too.

At a change of clocks there are two rules, as in Debian's cron. An expression with a fixed minute and hour (neither
begins with `*`) means a time of the day: one that is skipped is due once, at the end of what was skipped, and one that
comes twice is due the first time alone. Any other means every minute that matches: none in what is skipped, and all of
them in an hour that comes twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from cronsim import CronSim, CronSimError

from ..errors import InvalidSchedule
from .expressions import CRON, EVERY, LONGEST, parse

BEGINNING = datetime(2020, 1, 6)  # noqa: DTZ001 - local; a Monday, so that weeks begin on one
_TICK = timedelta(microseconds=1)
_MINUTE = timedelta(minutes=1)
#: More than any clock is changed by at once, and less than lies between two changes.
_CHANGE = timedelta(hours=4)
_QUIET = timedelta(days=7)


class Trigger(Protocol):
    """What APScheduler calls a trigger, that also knows the way back."""

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """Return the first slot from `now` on."""

    def get_latest_fire_time(self, now: datetime) -> datetime | None:
        """Return the latest slot up to `now`."""


class CronTrigger(BaseTrigger):  # type: ignore[misc]
    """A cron expression of five fields in a time zone.

    Args:
        cron: As `expressions.parse` returns it.
        timezone: The zone of its local times.
    """

    def __init__(self, cron: str, timezone: ZoneInfo) -> None:
        self.cron = cron
        self.timezone = timezone
        minute, hour = cron.split()[:2]
        self._is_time_of_day = not minute.startswith("*") and not hour.startswith("*")

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """Return the first match from `now` on, or after the previous one."""
        after = (previous_fire_time or now - _TICK).astimezone(UTC)
        local, offset = self._local(after)
        if self._is_time_of_day:
            found = (self._instants(match)[0] for match in self._matches(local))
            return next((instant for instant in found if instant > after), None)
        match = next(self._matches(local), None)
        if match is not None and self._is_quiet(match, local, offset):
            return _utc(match, offset)
        return self._first_after(after, local)

    def get_latest_fire_time(self, now: datetime) -> datetime | None:
        """Return the latest match up to `now`."""
        upto = now.astimezone(UTC)
        local, offset = self._local(upto)
        if not self._is_time_of_day:
            match = next(self._matches(local + _TICK, back=True), None)
            if match is not None and self._is_quiet(match, local, offset):
                return _utc(match, offset)
        elif self._local(upto - _CHANGE)[1] == offset:
            found = (self._instants(match)[0] for match in self._matches(local + _TICK, back=True))
            return next((instant for instant in found if instant <= upto), None)
        return self._latest_upto(upto, local)

    def _first_after(self, after: datetime, local: datetime) -> datetime | None:
        """Return the first match after a time near which the clocks change."""
        best: datetime | None = None
        for match in self._matches(local - _CHANGE):
            if best is not None and match - _CHANGE > self._local(best)[0]:
                break
            for instant in self._instants(match):
                if instant > after and (best is None or instant < best):
                    best = instant
        return best

    def _latest_upto(self, upto: datetime, local: datetime) -> datetime | None:
        best: datetime | None = None
        for match in self._matches(local + _CHANGE, back=True):
            if best is not None and match + _CHANGE < self._local(best)[0]:
                break
            for instant in self._instants(match):
                if instant <= upto and (best is None or instant > best):
                    best = instant
        return best

    def _matches(self, local: datetime, *, back: bool = False) -> Iterator[datetime]:
        """Yield the local times that match, after or before another."""
        return iter(CronSim(self.cron, local, reverse=back))

    def _local(self, instant: datetime) -> tuple[datetime, timedelta]:
        """Return the local time of a point in time, and its distance from UTC."""
        local = instant.astimezone(self.timezone)
        return local.replace(tzinfo=None, fold=0), local.utcoffset() or timedelta(0)

    def _is_quiet(self, match: datetime, local: datetime, offset: timedelta) -> bool:
        """Whether no clock is changed between a local time and a match near it."""
        return abs(match - local) < _QUIET and self._local(_utc(match, offset))[1] == offset

    def _instants(self, match: datetime) -> list[datetime]:
        """Return the points in time at which a local time is due: one, two when it comes twice, none when it never is.

        A time of the day is always due once.
        """
        first, second = (_utc(match, self._offset(match, fold)) for fold in (0, 1))
        is_real = self._local(first)[0] == match
        if self._is_time_of_day:
            return [first if is_real else self._end_of_gap(match)]
        if not is_real:
            return []
        return [first] if first == second else [first, second]

    def _offset(self, match: datetime, fold: int) -> timedelta:
        return match.replace(tzinfo=self.timezone, fold=fold).utcoffset() or timedelta(0)

    def _end_of_gap(self, match: datetime) -> datetime:
        """Return the first minute after the local times that were skipped, of which this is one."""
        while True:
            match += _MINUTE
            instant = _utc(match, self._offset(match, 0))
            if self._local(instant)[0] == match:
                return instant


class EveryTrigger(IntervalTrigger):  # type: ignore[misc]
    """An interval, counted from one Monday in UTC, so that all processes agree and none drifts."""

    def __init__(self, interval: timedelta) -> None:
        super().__init__(seconds=int(interval.total_seconds()), start_date=BEGINNING.replace(tzinfo=UTC), timezone=UTC)

    def get_latest_fire_time(self, now: datetime) -> datetime | None:
        """Return the latest slot up to `now`."""
        found: datetime | None = self.get_next_fire_time(None, now - self.interval + _TICK)
        return found


class OnceTrigger(DateTrigger):  # type: ignore[misc]
    """One date."""

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """Return the date unless it has passed."""
        return self.run_date if self.run_date >= now else None

    def get_latest_fire_time(self, now: datetime) -> datetime | None:
        """Return the date when it has come."""
        return self.run_date if self.run_date <= now else None


def trigger_of(expression: str, timezone: str) -> Trigger:
    """Return the trigger of an expression.

    Args:
        expression: See `expressions.parse`.
        timezone: IANA name.

    Raises:
        InvalidSchedule: The expression or the zone makes no sense, or it never fires; says what would.
    """
    if not isinstance(expression, str) or len(expression) > LONGEST:
        parse(expression)  # which refuses it
    zone_of(timezone)
    return _trigger_of(expression, timezone)


@lru_cache(maxsize=1024)
def _trigger_of(expression: str, timezone: str) -> Trigger:
    found, zone = parse(expression), zone_of(timezone)
    if found.kind == EVERY:
        assert found.interval is not None
        return EveryTrigger(found.interval)
    if found.kind == CRON:
        _check_dates(expression, found.cron)
        return CronTrigger(found.cron, zone)
    assert found.at is not None
    if found.at.tzinfo is not None:
        return OnceTrigger(found.at.astimezone(UTC), UTC)
    minute = found.at.replace(second=0)
    once = CronTrigger("0 0 * * *", zone)
    return OnceTrigger(once._instants(minute)[0] + (found.at - minute), UTC)


#: Files beside the zones that say how the machine is set up.
LOCAL_ZONES = frozenset({"localtime", "posixrules", "Factory"})


def zone_of(timezone: str) -> ZoneInfo:
    """Return a time zone by its IANA name; a name that means something else on each machine is none.

    Raises:
        InvalidSchedule: There is none of that name.
    """
    try:
        zone = ZoneInfo(timezone if isinstance(timezone, str) else "")
        if zone.key in LOCAL_ZONES or zone.key.startswith(("posix/", "right/")):
            raise KeyError(zone.key)
        return zone
    except (KeyError, ValueError, OSError):
        shown = repr(timezone)[:80]
        raise InvalidSchedule(f"{shown} is no time zone; it takes an IANA name such as Europe/Berlin.") from None


def next_slot(trigger: Trigger, after: datetime) -> datetime | None:
    """Return the first slot strictly after a time, in UTC."""
    found = trigger.get_next_fire_time(None, after + _TICK)
    return None if found is None else found.astimezone(UTC)


def latest_slot(trigger: Trigger, upto: datetime) -> datetime | None:
    """Return the latest slot up to and including a time, in UTC."""
    found = trigger.get_latest_fire_time(upto)
    return None if found is None else found.astimezone(UTC)


def _check_dates(expression: str, cron: str) -> None:
    try:
        never: Any = next(CronSim(cron, BEGINNING), None) is None
    except CronSimError:
        never = True
    if never:
        raise InvalidSchedule(f"{expression!r} never fires: there is no such date.")


def _utc(local: datetime, offset: timedelta) -> datetime:
    return (local - offset).replace(tzinfo=UTC)
