"""In-process notices about jobs, for logs, metrics and the application.

A signal about a job is sent with the Flask application as sender and one keyword, `job`: a `JobNotice`. `broker_lost`
and `broker_restored` are sent with the process's breaker as sender, the former with the keyword `error`, a text.
`alert_raised` and `alert_cleared` are sent with the Flask application as sender and one keyword, `alert`: an
`AlertNotice`; by the process whose clock leads, once for each.
A failing subscriber is logged and never breaks a job.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from blinker import Namespace, Signal

logger = logging.getLogger("flask_understudy")
_signals = Namespace()

job_added = _signals.signal("job-added")
job_started = _signals.signal("job-started")
job_completed = _signals.signal("job-completed")
job_failed = _signals.signal("job-failed")
job_cancelled = _signals.signal("job-cancelled")
broker_lost = _signals.signal("broker-lost")
broker_restored = _signals.signal("broker-restored")
alert_raised = _signals.signal("alert-raised")
alert_cleared = _signals.signal("alert-cleared")


@dataclass(frozen=True, slots=True)
class JobNotice:
    """What a signal tells about a job.

    Attributes:
        id: The job's id.
        queue: Its queue.
        actor: Its actor's name.
        tenant: Its tenant; empty when it has none.
        attempt: Number of the attempt, 1-based; 0 before the first.
        args: Positional arguments; those of a sensitive actor are withheld.
        kwargs: Keyword arguments, sensitive ones replaced by `***`.
        duration_ms: Run time of the attempt in milliseconds, once it ended.
        error: The error's type and message, once it failed.
        will_retry: Whether another attempt follows.
    """

    id: str
    queue: str
    actor: str
    tenant: str = ""
    attempt: int = 0
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    duration_ms: int | None = None
    error: str | None = None
    will_retry: bool = False


@dataclass(frozen=True, slots=True)
class AlertNotice:
    """What is told about an alert when it is raised and when it is cleared.

    Attributes:
        id: The episode's id, the same in both notices.
        rule: `depth`, `failure-rate`, `stalled`, `broker`, `growing` or `repeated-failures`.
        subject: The queue, worker or fingerprint it is about; empty = the whole.
        began_at: When it was first seen.
        ended_at: When it was over; None = it was just raised.
        value: The latest figure.
        threshold: What the rule allows.
        message: In words.
        muted: Whether somebody muted it: then only the log and the signals tell it.
        is_test: Whether nothing is wrong, and somebody tries whether it is told; its rule is `test` then.
    """

    id: int
    rule: str
    subject: str
    began_at: datetime
    ended_at: datetime | None
    value: float
    threshold: float
    message: str
    muted: bool = False
    is_test: bool = False


def emit(signal: Signal, sender: Any, **values: Any) -> None:
    """Send a signal; a subscriber that raises is logged and the others still hear it."""
    for receiver in signal.receivers_for(sender):
        try:
            receiver(sender, **values)
        except Exception:
            logger.exception("A subscriber of the signal %s failed.", signal.name)  # type: ignore[attr-defined]
