"""When a schedule is due: what its expression says, and the slots that follow from it in a time zone."""

from .expressions import CRON, EVERY, ONCE, Expression, parse
from .triggers import Trigger, latest_slot, next_slot, trigger_of, zone_of
from .words import describe

__all__ = [
    "CRON",
    "EVERY",
    "ONCE",
    "Expression",
    "Trigger",
    "describe",
    "latest_slot",
    "next_slot",
    "parse",
    "trigger_of",
    "zone_of",
]
