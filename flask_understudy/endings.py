"""How an attempt ended, as the ledger records it; and whether and when another one follows."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping
from typing import Any

from .config import Config
from .encoding import encode, printable
from .errors import InvalidJob, JobCancelled, StepsChanged, UnderstudyError, described, without_statements
from .fingerprints import fingerprint_of
from .ledger.transitions import Claimed, Ending
from .policy import LIBRARY_FACTOR, LIBRARY_JITTER, LIBRARY_MAX_BACKOFF_MS, backoff_ms
from .redaction import redacted_text

logger = logging.getLogger("flask_understudy")

MAX_ERROR = 2_000
MAX_TRACEBACK = 16_384


class ReportedFailure(UnderstudyError):
    """An actor returned `{"status": "failed", "reason": …}`: failed, and not to be retried (requirement B10)."""


def not_asked_for(names: list[str]) -> StepsChanged:
    """Return the error about steps that a job has done and its actor does not have any more."""
    return StepsChanged(
        f"This job has done the steps {', '.join(map(repr, names))}, and its actor ended without asking for them. "
        "Put them back, or say step.removed(name) in their place; then retry the job."
    )


def ending_of(claimed: Claimed, state: str, outcome: str, exception: BaseException | None, **more: Any) -> Ending:
    """Return the end of an attempt that did not complete, with what is kept of its exception: no SQL, no secrets."""
    error, trace, fingerprint = None, None, None
    if exception is not None:
        text = described(exception)
        error = printable(redacted_text(text), MAX_ERROR)
        fingerprint = fingerprint_of(claimed.actor, exception, text)
    if exception is not None and not isinstance(exception, ReportedFailure | JobCancelled):
        trace = printable(traceback_of(exception), MAX_TRACEBACK)
    return Ending(
        claimed.id, claimed.fence, state, outcome, error=error, traceback=trace, fingerprint=fingerprint, **more
    )


def traceback_of(exception: BaseException) -> str:
    """Return where an exception was raised, in `MAX_TRACEBACK` characters: a long message is cut, and the frames stay.

    What is still too much is left out from the front, where the first exceptions of a chain stand.
    """
    kept: list[str] = []
    left = MAX_TRACEBACK
    for part in reversed(traceback.format_exception(exception, limit=30)):
        part = redacted_text(without_statements(part, exception))
        if len(part) > MAX_ERROR:
            part = f"{part[:MAX_ERROR]}…\n({len(part) - MAX_ERROR:,} characters more)\n"
        left -= len(part)
        if left < 0:
            break
        kept.append(part)
    return "".join(reversed(kept))


def encoded_result(claimed: Claimed, result: Any, max_bytes: int, *, completed: bool) -> str | None:
    """Return what an actor returned as JSON; of what is none, or too much, what can be kept.

    Args:
        claimed: The job.
        result: What its actor returned.
        max_bytes: As many bytes as are kept.
        completed: Whether it stands for success; then something is always kept.
    """
    if result is None:
        return None
    encoded = None
    try:
        encoded = encode(result, f"The result of {claimed.actor}")
    except InvalidJob as problem:
        if completed:
            encoded = encode(printable(repr(result), MAX_ERROR), "A result")
            logger.warning("Job %s: %s Its repr is kept.", claimed.id, problem)
    if encoded is not None and len(encoded.encode()) > max_bytes:
        encoded = json.dumps(encoded[:MAX_ERROR] + "…")
        logger.warning("Job %s returned more than is kept; store data and return its id.", claimed.id)
    return encoded


def allows_retry(claimed: Claimed, options: Mapping[str, Any], exception: BaseException) -> bool:
    """Tell whether a job may be tried again after an exception, by its actor's options (C1 to C5)."""
    throws, retry_when = options.get("throws"), options.get("retry_when")
    if throws and isinstance(exception, throws):
        return False
    retries, allowed = claimed.attempt - 1, claimed.max_attempts
    if retry_when is not None:
        return bool(retry_when(retries, exception))
    return allowed is None or retries + 1 < allowed


def backoff(retry: int, claimed: Claimed, options: Mapping[str, Any], config: Config) -> int:
    """Return the ms to wait before a retry, by number: call, else actor, else queue, else settings."""
    policy = config.queues.get(claimed.queue)

    def resolved(name: str, default: float) -> float:
        for value in (claimed.options.get(name), options.get(name), getattr(policy, name, None)):
            if value is not None:
                return float(value)
        return default

    return backoff_ms(
        retry,
        base=int(resolved("min_backoff", config.backoff_ms)),
        factor=resolved("backoff_factor", LIBRARY_FACTOR),
        ceiling=int(resolved("max_backoff", LIBRARY_MAX_BACKOFF_MS)),
        jitter=resolved("jitter", LIBRARY_JITTER),
    )
