"""Debounce and throttle: how a job that is sent makes way for others of its dedup key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from .errors import InvalidJob
from .ledger.windows import Thinning

MAX_WINDOW_MS = 31 * 86_400_000
#: How long after its first send a debounced job runs at the latest, in lengths of the debounce.
DEBOUNCE_MAX_FACTOR = 10


def thinning_of(options: Mapping[str, Any], actor: str, key: str | None, *, delays: bool) -> Thinning | None:
    """Return how a job makes way for others of its dedup key, or None when it does not.

    Raises:
        InvalidJob: What was asked for does not go together, or is out of range.
    """
    debounce, throttle = options.get("debounce"), options.get("throttle")
    most, keep = options.get("debounce_max"), options.get("keep")
    if debounce is None and most is not None:
        raise InvalidJob(f"{actor}: debounce_max is {most!r} and there is no debounce that it could bound.")
    if throttle is None and keep is not None:
        raise InvalidJob(f"{actor}: keep is {keep!r} and there is no throttle that it could be about.")
    if debounce is None and throttle is None:
        return None
    if debounce is not None and throttle is not None:
        raise InvalidJob(f"{actor}: give debounce or throttle, not both.")
    name = "debounce" if throttle is None else "throttle"
    if key is None:
        raise InvalidJob(f"{actor}: {name} needs a dedup_key, which tells what the sends have in common.")
    if delays:
        raise InvalidJob(f"{actor}: give {name}, or delay or run_at, not both: it decides when the job runs.")
    if keep not in (None, "first", "last"):
        raise InvalidJob(f"{actor}: keep is {keep!r}; it takes 'first' (default) or 'last'.")
    ms = _span(name, debounce if throttle is None else throttle)
    if throttle is not None:
        return Thinning(f"{actor}:{key}", ms, keeps_last=keep == "last")
    most_ms = ms * DEBOUNCE_MAX_FACTOR if most is None else _span("debounce_max", most)
    if most_ms < ms:
        raise InvalidJob(f"{actor}: debounce_max is {most_ms} and debounce {ms}; it takes as many ms or more.")
    return Thinning(f"{actor}:{key}", ms, most_ms=most_ms)


def _span(name: str, value: Any) -> int:
    if isinstance(value, timedelta):
        value = value.total_seconds() * 1000
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= MAX_WINDOW_MS:
        raise InvalidJob(f"{name} is {value!r}; it takes milliseconds from 1 to {MAX_WINDOW_MS} (31 days).")
    return int(value)
