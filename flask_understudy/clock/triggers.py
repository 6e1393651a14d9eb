"""When a schedule fires: cron as crontab(5) means it, and `every N minutes`.

APScheduler's own `from_crontab` counts Monday as 0 and wants both day fields to match; here Sunday is 0 and 7, and
either day field is enough. At a change of clocks a job that was skipped runs once after it, and none runs twice.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger
from cronsim import CronSim, CronSimError

from ..errors import ConfigError

_EVERY = re.compile(r"every\s+(?:(\d{1,6})\s+)?(second|minute|hour|day|week)s?", re.IGNORECASE)
_NAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_EPOCH = datetime(2020, 1, 6, tzinfo=UTC)  # a Monday, so that weeks begin on one
LONGEST = 120


class CronTrigger(BaseTrigger):  # type: ignore[misc]
    """A cron expression of five fields in a time zone, as an APScheduler trigger."""

    def __init__(self, expression: str, timezone: ZoneInfo) -> None:
        self.expression = expression
        self.timezone = timezone

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """Return the first match after the previous one, or after `now`."""
        after = (previous_fire_time or now).astimezone(self.timezone)
        found: datetime | None = next(CronSim(self.expression, after), None)
        return found


def trigger_of(expression: str, timezone: str) -> Any:
    """Return the trigger of an expression.

    Args:
        expression: Five cron fields, `@daily` and the like, or `every [N] seconds|minutes|hours|days|weeks`.
        timezone: IANA name.

    Raises:
        ConfigError: The expression, the zone, or the two together make no sense; says what would.
    """
    try:
        zone = ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        raise ConfigError(f"{timezone!r} is no time zone; it takes an IANA name such as Europe/Berlin.") from None
    text = expression.strip()
    every = _EVERY.fullmatch(text)
    if every:
        number = int(every[1] or 1)
        if number < 1:
            raise ConfigError(
                f"{expression!r} never fires; it takes `every 1 second` or more, such as `every 30 seconds`."
            )
        return IntervalTrigger(**{every[2].lower() + "s": number}, start_date=_EPOCH, timezone=zone)
    text = _NAMES.get(text.lower(), text)
    if len(text) > LONGEST or len(text.split()) != 5:
        raise ConfigError(f"{expression[:LONGEST]!r} is no schedule; it takes five cron fields or `every 30 minutes`.")
    try:
        trigger = CronTrigger(text, zone)
        if trigger.get_next_fire_time(None, datetime.now(UTC)) is None:
            raise ConfigError(f"{expression!r} never fires: there is no such date.")
    except (CronSimError, StopIteration) as problem:
        raise ConfigError(f"{expression!r} is no cron expression: {problem}.") from None
    return trigger


def next_slot(trigger: Any, after: datetime) -> datetime | None:
    """Return the first slot strictly after a time, in UTC."""
    found = trigger.get_next_fire_time(None, after + timedelta(microseconds=1))
    return None if found is None else found.astimezone(UTC)
