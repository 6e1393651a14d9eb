"""Saying in words when a schedule fires."""

from __future__ import annotations

from datetime import timedelta

from cronsim import CronSim

from .expressions import CRON, EVERY, parse
from .triggers import BEGINNING

_UNITS = (("week", 604_800), ("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def describe(expression: str) -> str:
    """Return in words when an expression fires, without its time zone: `At 09:00 on Monday through Friday`.

    Raises:
        InvalidSchedule: It makes no sense.
    """
    found = parse(expression)
    if found.kind == CRON:
        return str(CronSim(found.cron, BEGINNING).explain())
    if found.kind == EVERY:
        assert found.interval is not None
        return _every(found.interval)
    assert found.at is not None
    zone = "" if found.at.tzinfo is None else f" {found.at:%Z}"
    return f"Once, on {found.at:%Y-%m-%d} at {found.at:%H:%M:%S}".removesuffix(":00") + zone


def _every(interval: timedelta) -> str:
    seconds = int(interval.total_seconds())
    unit, size = next((unit, size) for unit, size in _UNITS if seconds % size == 0)
    n = seconds // size
    return f"Every {unit}" if n == 1 else f"Every {n} {unit}s"
