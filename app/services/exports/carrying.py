"""Carrying out an order of a file, in the job that does it: begun, written, and marked as finished or failed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from app.services.exports import lifecycle
from app.services.exports.files import Attempt
from app.services.ownership import NotOwn
from flask_understudy import current_job
from flask_understudy.contrib.exports import ExportTooLarge, StoredFile, UnsupportedExport
from flask_understudy.errors import JobCancelled, LeaseLost, described

#: Seconds between two reports of progress.
REPORT_SECONDS = 0.5

#: What another attempt would only meet again: too large, nothing that can be written, or another organisation's.
PERMANENT = (ExportTooLarge, UnsupportedExport, NotOwn)


def carry_out(export_id: str, write: Callable[[Attempt], tuple[StoredFile, int | None]]) -> dict[str, Any]:
    """Make the file of an order, unless it is there; return its id, rows and size.

    Args:
        export_id: The order.
        write: Writes it, and returns it with its number of rows, if it has any.
    """
    attempt = lifecycle.begin(export_id)
    if attempt is None:
        return {"export": export_id, "skipped": True}
    try:
        stored, rows = write(attempt)
        is_ours = lifecycle.finish(attempt, stored, rows)
    except BaseException as error:
        if _is_final(error):
            lifecycle.fail(attempt, described(error))
        raise
    current_job.log("%s rows, %d bytes", "no" if rows is None else rows, stored.size)
    return {"export": export_id, "rows": rows, "size": stored.size, "skipped": not is_ours}


def reporter() -> Callable[[float, str], None]:
    """Return what reports progress, twice a second at the most."""
    reported_at = 0.0

    def report(percent: float, message: str) -> None:
        nonlocal reported_at
        if time.monotonic() - reported_at >= REPORT_SECONDS:
            reported_at = time.monotonic()
            current_job.progress(percent, message)

    return report


def _is_final(error: BaseException) -> bool:
    if isinstance(error, LeaseLost):
        return False
    is_last = current_job.max_attempts is not None and current_job.attempt >= current_job.max_attempts
    return is_last or isinstance(error, (JobCancelled, *PERMANENT))
