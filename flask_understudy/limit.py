"""Limits by key: how many jobs that share a key run at a time, and how many of them start within a span of time."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import ConfigError, InvalidJob

ACTOR = "actor"
TENANT = "tenant"
BATCH = "batch:"
DECLARED = "actor:"

MOST_CONCURRENCY = 100_000
MOST_STARTS = 10_000
LONGEST_KEY = 200

UNITS = {"second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
_RATE = re.compile(r"([0-9]{1,9})\s*/\s*(?:([0-9]{1,4})\s*)?(second|minute|hour|day)s?")


@dataclass(frozen=True, slots=True)
class Limit:
    """How many jobs of an actor that share a key may run at a time, and start within a span of time, in all processes.

    A job over the limit waits before it is given to any worker, so waiting burns no attempt. Tenants are counted apart.

    Args:
        concurrency: Jobs with the same key that run at a time; None = any number.
        rate: Starts with the same key, `"100/minute"` or `"5/10 seconds"`: no span of that length, wherever it begins,
            sees more of them. Units are second, minute, hour and day. None = any number.
        key: What the jobs share: `"actor"` (default), `"tenant"` (all actors that say so), or a function of the job's
            arguments that returns a text or a number; None from it means that the job is not limited.

    Raises:
        ConfigError: A value is out of range, or there is nothing to limit.
    """

    concurrency: int | None = None
    rate: str | None = None
    key: str | Callable[..., Any] = ACTOR

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        if self.concurrency is None and self.rate is None:
            raise ConfigError('A Limit limits nothing; give it concurrency=10, rate="100/minute", or both.')
        check_concurrency(self.concurrency)
        rate_of(self.rate)
        if not callable(self.key) and self.key not in (ACTOR, TENANT):
            raise ConfigError(f"key is {self.key!r}; it takes {ACTOR!r}, {TENANT!r} or a function of the arguments.")

    def key_of(self, actor: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        """Return the key of a job of an actor, or None when it is not limited.

        Raises:
            InvalidJob: The function of the arguments raised, or returned no key.
        """
        if self.key == TENANT:
            return TENANT
        if not callable(self.key):
            return f"{DECLARED}{actor}"
        try:
            value = self.key(*args, **kwargs)
        except Exception as problem:
            raise InvalidJob(
                f"{actor}: the key of its limit cannot be told for these arguments: {type(problem).__name__}: {problem}"
            ) from problem
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int) or not _is_key(str(value)):
            raise InvalidJob(
                f"{actor}: the key of its limit is {str(value)[:80]!r}; it takes a printable text of 1 to "
                f"{LONGEST_KEY} characters, or a whole number."
            )
        return f"{DECLARED}{actor}:{value}"


def given_key(value: Any) -> str:
    """Return a key that a sender named.

    Raises:
        InvalidJob: It is none, or one of those that the library itself gives.
    """
    if not isinstance(value, str) or not _is_key(value):
        shown = repr(value[:80] if isinstance(value, str) else value)[:90]
        raise InvalidJob(f"concurrency_key is {shown}; it takes a printable text of 1 to {LONGEST_KEY} characters.")
    if not is_given(value):
        raise InvalidJob(
            f"concurrency_key is {value!r}; {TENANT!r} and what begins with {DECLARED!r} or {BATCH!r} is the library's."
        )
    return value


def is_given(key: str) -> bool:
    """Whether a job's key is one that its sender named."""
    return key != TENANT and not key.startswith((DECLARED, BATCH))


def check_concurrency(value: Any) -> None:
    """Let pass how many jobs may run at a time.

    Raises:
        ConfigError: It is out of range.
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_CONCURRENCY:
        raise ConfigError(f"concurrency is {value!r}; it takes a whole number from 1 to {MOST_CONCURRENCY}, or None.")


def rate_of(text: Any) -> tuple[int | None, int | None]:
    """Return how many starts a rate allows, and in how many ms; None and None for None.

    Raises:
        ConfigError: It is no rate.
    """
    if text is None:
        return None, None
    found = _RATE.fullmatch(text.strip()) if isinstance(text, str) else None
    starts, spans = (int(found[1]), int(found[2] or 1)) if found else (0, 0)
    if not found or not 1 <= starts <= MOST_STARTS or not spans:
        raise ConfigError(
            f"rate is {text!r}; it takes a number up to {MOST_STARTS} and a span of time, such as '100/minute' or "
            "'5/10 seconds'; units are second, minute, hour, day."
        )
    return starts, spans * UNITS[found[3]]


def rate_text(starts: int | None, per_ms: int | None) -> str | None:
    """Return a rate as people write it."""
    if starts is None or per_ms is None:
        return None
    name, length = next((n, ms) for n, ms in reversed(UNITS.items()) if per_ms % ms == 0)
    spans = per_ms // length
    return f"{starts}/{name}" if spans == 1 else f"{starts}/{spans} {name}s"


def _is_key(text: str) -> bool:
    return 0 < len(text) <= LONGEST_KEY and text.isprintable()
