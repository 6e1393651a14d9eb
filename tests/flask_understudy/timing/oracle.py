"""An independent answer to when a cron expression is due: every minute of UTC is held against the zone's wall clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)


def numbers(text: str, low: int, high: int) -> set[int]:
    """The numbers that a field of digits means."""
    found: set[int] = set()
    for term in text.split(","):
        base, _, step = term.partition("/")
        first, dash, last = base.partition("-")
        begin = low if base == "*" else int(first)
        end = int(last) if dash else (high if base == "*" or step else begin)
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


class Oracle:
    """Knows when an expression is due, by looking at each minute."""

    def __init__(self, expression: str, zone: str) -> None:
        minute, hour, day, month, weekday = expression.split()
        self.zone = ZoneInfo(zone)
        self.minutes, self.hours = numbers(minute, 0, 59), numbers(hour, 0, 23)
        self.days, self.months = numbers(day, 1, 31), numbers(month, 1, 12)
        self.weekdays = {number % 7 for number in numbers(weekday, 0, 7)}
        self.either_day = not day.startswith("*") and not weekday.startswith("*")
        self._quarter, self._offset = -1, timedelta(0)
        self.is_time_of_day = not minute.startswith("*") and not hour.startswith("*")

    def matches(self, local: datetime) -> bool:
        """Whether a reading of the wall clock matches."""
        days = (local.day in self.days, local.isoweekday() % 7 in self.weekdays)
        return (
            local.minute in self.minutes
            and local.hour in self.hours
            and local.month in self.months
            and (any(days) if self.either_day else all(days))
        )

    def slots(self, begin: datetime, minutes: int) -> list[datetime]:
        """The slots of so many minutes of UTC."""
        found, seen = [], set()
        before = self._wall(begin - MINUTE)
        seen.update(self._wall(begin - n * MINUTE) for n in range(1, 300))
        for n in range(minutes):
            time = begin + n * MINUTE
            local = self._wall(time)
            if self.is_time_of_day:
                skipped = [before + k * MINUTE for k in range(1, (local - before) // MINUTE)]
                if any(map(self.matches, skipped)) or (local not in seen and self.matches(local)):
                    found.append(time)
                seen.add(local)
            elif self.matches(local):
                found.append(time)
            before = local
        return found

    def _wall(self, time: datetime) -> datetime:
        quarter = int(time.timestamp()) // 900  # clocks change at a quarter of an hour
        if quarter != self._quarter:
            offset = datetime.fromtimestamp(quarter * 900, UTC).astimezone(self.zone).utcoffset()
            assert offset is not None
            self._quarter, self._offset = quarter, offset
        return time.replace(tzinfo=None) + self._offset
