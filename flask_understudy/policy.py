"""How a queue treats its jobs, and which of several answers wins (requirements C1–C5, C09, D)."""

from __future__ import annotations

import difflib
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

from .errors import ConfigError

LIBRARY_RETRIES = 3
LIBRARY_TIME_LIMIT_MS = 30_000
LIBRARY_PRIORITY = 3
LIBRARY_FACTOR = 2.0
LIBRARY_MAX_BACKOFF_MS = 3_600_000
LIBRARY_JITTER = 0.1

TEN_YEARS_MS = 3660 * 24 * 3_600_000

#: What numbers may be; others 0 or more. A factor has an end because its powers have to stay numbers.
RANGES: dict[str, tuple[int, int | None]] = {
    "priority": (-1000, 1000),
    "jitter": (0, 1),
    "backoff_factor": (0, 1000),
    "min_backoff": (0, TEN_YEARS_MS),
    "max_backoff": (0, TEN_YEARS_MS),
    "time_limit": (0, TEN_YEARS_MS),
    "max_age": (0, TEN_YEARS_MS),
}
#: What may also be infinite, as Dramatiq has it: no limit.
UNLIMITED = frozenset({"time_limit", "max_age"})
#: The options of actors and calls that are numbers.
NUMBERS = frozenset({"min_backoff", "max_backoff", "backoff_factor", "jitter", "time_limit", "max_age"})


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """What holds for the jobs of one queue unless actor or call say otherwise.

    Attributes:
        priority: Lower runs first; -1000 to 1000.
        attempts: Executions in total, the first included.
        max_retries: `attempts - 1`, in Dramatiq's words.
        min_backoff: ms before the first retry.
        max_backoff: ms before any retry at the most.
        backoff_factor: Each wait is this many times the one before.
        jitter: Share by which a wait may be shorter or longer; 0 to 1.
        time_limit: ms that one attempt may take.
        keep_completed: How long completed jobs are kept.
        keep_failed: How long failed and cancelled jobs are kept.
    """

    priority: int | None = None
    attempts: int | None = None
    max_retries: int | None = None
    min_backoff: int | None = None
    max_backoff: int | None = None
    backoff_factor: float | None = None
    jitter: float | None = None
    time_limit: int | None = None
    keep_completed: timedelta = timedelta(days=1)
    keep_failed: timedelta = timedelta(days=7)


def policies_of(queues: Mapping[str, Any]) -> dict[str, QueuePolicy]:
    """Read `UNDERSTUDY_QUEUES`: a mapping of queue name to a mapping of `QueuePolicy` fields.

    Raises:
        ConfigError: A field is unknown or its value is of the wrong kind.
    """
    return {name: _policy(name, given) for name, given in queues.items()}


def _policy(queue: str, given: Any) -> QueuePolicy:
    if isinstance(given, QueuePolicy):
        return given
    if not isinstance(given, Mapping):
        raise ConfigError(f"UNDERSTUDY_QUEUES[{queue!r}] is {given!r}; it takes a mapping such as {{'attempts': 3}}.")
    known = {f.name for f in fields(QueuePolicy)}
    for key, value in given.items():
        where = f"UNDERSTUDY_QUEUES[{queue!r}][{key!r}]"
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            raise ConfigError(
                f"{where} is no policy; valid are {', '.join(sorted(known))}."
                + (f" Did you mean {near[0]!r}?" if near else "")
            )
        if key.startswith("keep_"):
            if not isinstance(value, timedelta) or value < timedelta(0):
                raise ConfigError(f"{where} is {value!r}; it takes a timedelta of 0 or more.")
        elif value is not None:
            check_number(where, key, value)
    agreed_retries(given, f"UNDERSTUDY_QUEUES[{queue!r}]")
    return QueuePolicy(**given)


def check_number(where: str, name: str, value: Any) -> None:
    """Refuse a number that an option cannot take.

    Raises:
        ConfigError: `value` is no number or out of range; names `where`, the value and the range.
    """
    low, high = RANGES.get(name, (0, None))
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not value >= low
        or (high is not None and value > high and not (name in UNLIMITED and value == math.inf))
        or (name == "priority" and not isinstance(value, int))
    ):
        wanted = f"from {low} to {high}" if high is not None else f"of {low} or more"
        raise ConfigError(f"{where} is {value!r}; it takes a number {wanted}.")


def agreed_retries(given: Mapping[str, Any], where: str) -> int | None | bool:
    """Return the retries that `attempts` or `max_retries` ask for, `False` when neither is given (C2).

    `None` means no limit, as in Dramatiq.

    Raises:
        ConfigError: Both are given and disagree, or a value is no whole number in range.
    """
    found: int | None | bool = False
    for key, offset, minimum in (("max_retries", 0, 0), ("attempts", 1, 1)):
        value = given.get(key, False)
        if value is False or (value is None and key == "attempts"):
            continue
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= 1_000_000
        ):
            raise ConfigError(f"{where}: {key} is {value!r}; it takes a whole number, {minimum} or more.")
        retries = None if value is None else value - offset
        if found is not False and found != retries:
            raise ConfigError(
                f"{where}: attempts={given['attempts']} and max_retries={given['max_retries']} disagree; "
                "attempts = max_retries + 1."
            )
        found = retries
    return found


def time_limit_ms(options: Mapping[str, Any], actor_options: Mapping[str, Any], policy: QueuePolicy | None) -> float:
    """Return the ms that one attempt may take: call, else actor, else queue, else library (C4); may be infinite."""
    for value in (options.get("time_limit"), actor_options.get("time_limit"), getattr(policy, "time_limit", None)):
        if value:
            return float(value)
    return LIBRARY_TIME_LIMIT_MS


def backoff_ms(retry: int, *, base: int, factor: float, ceiling: int, jitter: float) -> int:
    """Return the wait before a retry: `base × factor^(retry - 1)`, capped, then jittered (C3, D16).

    Args:
        retry: Number of the retry, 1-based.
        base: ms before the first retry.
        factor: Growth from one wait to the next.
        ceiling: ms at the most.
        jitter: Share by which the wait may vary either way, 0 to 1.
    """
    wait = min(float(ceiling), base * factor ** min(retry - 1, 64))
    return int(wait * random.uniform(1 - jitter, 1 + jitter)) if jitter else int(wait)
