"""Exports in the background."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from app.extensions import jobs
from app.services.exports import files, lifecycle
from flask_understudy import current_job
from flask_understudy.contrib.exports import ExportTooLarge, UnsupportedExport
from flask_understudy.errors import JobCancelled, LeaseLost, described

#: Seconds between two reports of progress.
REPORT_SECONDS = 0.5

#: What another attempt would only meet again: too large, or nothing that can be written.
PERMANENT = (ExportTooLarge, UnsupportedExport)


@jobs.actor(
    queue_name="exports",
    actor_name="export:generate",
    max_retries=2,
    min_backoff=2_000,
    backoff_factor=2,
    time_limit=600_000,
    fallback="hold",
    throws=PERMANENT,
)
def generate_export(export_id: str) -> dict[str, Any]:
    """Write the file that somebody asked for.

    Three tries, after 2 s and 4 s (D08). With the broker down the order waits and is carried out by
    the workers (J02). Run again after its end, it finds the file there and does nothing.
    """
    attempt = lifecycle.begin(export_id)
    if attempt is None:
        return {"export": export_id, "skipped": True}
    try:
        stored, rows = files.write(attempt, _reporter(), current_job.check_cancelled)
        is_ours = lifecycle.finish(attempt, stored, rows)
    except BaseException as error:
        if _is_final(error):
            lifecycle.fail(attempt, described(error))
        raise
    current_job.log("%d rows, %d bytes", rows, stored.size)
    return {"export": export_id, "rows": rows, "size": stored.size, "skipped": not is_ours}


def _is_final(error: BaseException) -> bool:
    if isinstance(error, LeaseLost):
        return False
    is_last = current_job.max_attempts is not None and current_job.attempt >= current_job.max_attempts
    return is_last or isinstance(error, (JobCancelled, *PERMANENT))


def _reporter() -> Callable[[float, str], None]:
    reported_at = 0.0

    def report(percent: float, message: str) -> None:
        nonlocal reported_at
        if time.monotonic() - reported_at >= REPORT_SECONDS:
            reported_at = time.monotonic()
            current_job.progress(percent, message)

    return report
