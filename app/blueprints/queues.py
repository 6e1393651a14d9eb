"""What became of a job: for who asked for it (I04), and from who did it elsewhere (I05)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from flask import Blueprint
from pydantic import Field, StringConstraints

from app.auth import current_principal, requires, signed
from app.extensions import jobs
from flask_understudy.contrib.api import Body, instant, not_found, read_body

bp = Blueprint("queues", __name__, url_prefix="/api/queues")

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@bp.get("/status/<job_id>")
@requires("read")
def status(job_id: str) -> dict[str, Any]:
    """Describe a job of the caller; anybody else's is not found, as if there were none (P03).

    For an operator of the whole service there is every job.
    """
    caller = current_principal()
    job = jobs.get(job_id) if _JOB_ID.fullmatch(job_id) else None
    is_own = job is not None and (job.tenant, job.owner) == (caller.tenant, caller.subject)
    if job is None or not (is_own or "tenants" in caller.scopes):
        raise not_found()
    return {
        "id": job.id,
        "state": job.state,
        "type": job.actor,
        "queue": job.queue,
        "priority": job.priority,
        "createdAt": instant(job.created_at),
        "runAt": instant(job.run_at),
        "startedAt": instant(job.started_at),
        "finishedAt": instant(job.finished_at),
        "attemptsMade": job.attempt,
        "maxAttempts": job.max_attempts,
        "progress": job.progress,
        "progressMessage": job.progress_message,
        "result": job.result,
        "error": job.error,
    }


class Completion(Body):
    """How a job ended that somebody else did."""

    job_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    attempt: int = Field(ge=1, le=1_000_000)
    status: Literal["completed", "failed"]
    result: Any = None
    error: Annotated[str, StringConstraints(min_length=1, max_length=2000)] | None = None


@bp.post("/webhook")
@signed("UNDERSTUDY_SIGNING_KEY")
def completion() -> dict[str, Any]:
    """Record the end of a job that another system did; the same report again changes nothing."""
    body = read_body(Completion)
    error = (body.error or "It failed elsewhere.") if body.status == "failed" else None
    outcome = jobs.finish_external(body.job_id, body.attempt, error=error, result=body.result)
    return {"id": body.job_id, "status": body.status, "duplicate": outcome == "duplicate"}
