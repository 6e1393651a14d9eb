"""What became of a job, for who asked for it (requirement I04)."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from flask import Blueprint

from app.auth import current_principal, requires
from app.errors import not_found
from app.extensions import jobs

bp = Blueprint("queues", __name__, url_prefix="/api/queues")

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@bp.get("/status/<job_id>")
@requires("read")
def status(job_id: str) -> dict[str, Any]:
    """Describe a job of the caller; anybody else's is not found, as if there were none (P03)."""
    caller = current_principal()
    job = jobs.get(job_id) if _JOB_ID.fullmatch(job_id) else None
    if job is None or (job.tenant, job.owner) != (caller.tenant, caller.subject):
        raise not_found()
    return {
        "id": job.id,
        "state": job.state,
        "type": job.actor,
        "queue": job.queue,
        "priority": job.priority,
        "createdAt": _instant(job.created_at),
        "runAt": _instant(job.run_at),
        "startedAt": _instant(job.started_at),
        "finishedAt": _instant(job.finished_at),
        "attemptsMade": job.attempt,
        "maxAttempts": job.max_attempts,
        "progress": job.progress,
        "progressMessage": job.progress_message,
        "result": job.result,
        "error": job.error,
    }


def _instant(moment: dt.datetime | None) -> str | None:
    """Return a time as RFC 3339 in UTC."""
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z") if moment else None
