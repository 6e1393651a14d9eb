"""Carrying out an order of a file, in the job that does it: begun, written, and marked as finished or failed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from dramatiq.middleware import TimeLimitExceeded

from app.services.exports import lifecycle
from app.services.exports.files import UNREACHABLE, Attempt
from app.services.ownership import NotOwn
from flask_understudy import current_job
from flask_understudy.contrib.exports import ExportTooLarge, StorageUnavailable, StoredFile, UnsupportedExport
from flask_understudy.errors import JobCancelled, LeaseLost, described, reason_of

log = logging.getLogger("app.exports")

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
    attempt = None
    try:
        attempt = lifecycle.begin(export_id)
        if attempt is None:
            return {"export": export_id, "skipped": True}
        stored, rows = write(attempt)
        is_ours = lifecycle.finish(attempt, stored, rows)
    except NotOwn:
        raise  # it is not the running job's to mark either
    except BaseException as error:
        if _is_final(error):
            log.error("a file could not be made: %s", described(error), extra={"export": export_id})
            if attempt is None:
                lifecycle.fail_unbegun(export_id, said(error))
            else:
                lifecycle.fail(attempt, said(error))
        raise
    if rows is not None and is_ours:
        current_job.progress(100, f"{rows} of {rows} rows")
    current_job.log("%s rows, %d bytes", "no" if rows is None else rows, stored.size)
    return {"export": export_id, "rows": rows, "size": stored.size, "skipped": not is_ours}


def said(error: BaseException) -> str:
    """Return what whoever ordered a file reads of its failure: a sentence about the file, not about the machine."""
    match error:
        case StorageUnavailable():
            return UNREACHABLE
        case ExportTooLarge() | UnsupportedExport():
            return reason_of(error)
        case JobCancelled():
            return reason_of(error) or "It was cancelled."
        case TimeLimitExceeded():
            return "It took too long."
        case _:
            return "Something went wrong inside the service. Its log has the details."


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
