"""Following one job: waiting for its end, a stream of what happens to it, a token that opens it to a browser.

The ledger is asked a few times a second: the job may run in any process of any machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Response, request, url_for
from pydantic import Field

from ..contrib.api import Answer, instant, not_found
from ..ledger import TERMINAL, Job, queries
from ..ledger.scope import Scope
from ..state import State
from .doors import JOB_TOKEN, JOB_TOKEN_SECONDS, TokenQuery, caller, door, job_tokens, state
from .shapes import Instant, Shape, summary

TAG = "Following a job"

LOOK_SECONDS = 0.25
STREAM_SECONDS = 25.0
PING_SECONDS = 10.0


class JobToken(Shape):
    """A token that opens one job, to read it, for a quarter of an hour."""

    token: str
    expires_at: Instant
    url: str = Field(description="The job's stream of events, with the token.")


def location(job_id: str) -> str:
    """Return the path of a job."""
    return url_for("understudy.show_job", job_id=job_id)


def wait_for_end(state: State, scope: Scope, job_id: str, seconds: float) -> Job | None:
    """Return a job once it has ended, or as it is after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        job = queries.find(state.database, job_id, scope=scope)
        left = deadline - time.monotonic()
        if job is None or job.state in TERMINAL or left <= 0:
            return job
        time.sleep(min(LOOK_SECONDS, left))


@door("/<job_id>/token", method="POST", scope="read", tag=TAG, audit_as="job.token", answers={201: JobToken})
def make_job_token(job_id: str) -> tuple[JobToken, int]:
    """Make a token that a browser can follow this one job with."""
    who = caller()
    job = queries.find(state().database, job_id, scope=who.scope)
    if job is None:
        raise not_found()
    token = JOB_TOKEN + str(job_tokens().dumps([job.tenant, job.id]))
    url = url_for("understudy.stream_job", job_id=job.id, token=token)
    expires_at = datetime.now(UTC) + timedelta(seconds=JOB_TOKEN_SECONDS)
    return JobToken(token=token, expires_at=expires_at, url=url), 201


@door(
    "/<job_id>/events",
    scope="read",
    tag=TAG,
    query=TokenQuery,
    opens_to_token=True,
    answers={200: Answer(media_type="text/event-stream", description="Events: state, progress, log, done.")},
)
def stream_job(job_id: str, query: TokenQuery) -> Response:
    """Stream what happens to a job, as server-sent events.

    The stream ends with the job, or after 25 s: clients reconnect by themselves, and `Last-Event-ID` leads on.
    """
    who, here = caller(), state()
    job = queries.find(here.database, job_id, scope=who.scope)
    if job is None:
        raise not_found()
    seen = request.headers.get("Last-Event-ID", "")
    events = _events(here, who.scope, job_id, int(seen) if seen.isdecimal() and len(seen) < 19 else 0)
    response = Response(events, content_type="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _events(state: State, scope: Scope, job_id: str, last: int) -> Iterator[str]:
    yield "retry: 1000\n\n"
    deadline, pinged = time.monotonic() + STREAM_SECONDS, time.monotonic()
    shown: tuple[Any, ...] | None = None
    while True:
        job = queries.find(state.database, job_id, scope=scope)
        if job is None:
            yield _event("done", {"id": job_id, "state": "deleted"}, last)
            return
        for line in queries.timeline(state.database, job_id, after=last):
            last = line.id
            yield _event("log", {"at": instant(line.at), "kind": line.kind, "message": line.message}, last)
        now = (job.state, job.attempt, job.progress, job.progress_message)
        if now != shown:
            is_progress = shown is not None and shown[:2] == now[:2]
            shown = now
            yield _event("progress" if is_progress else "state", _told(job), last)
        if job.state in TERMINAL:
            yield _event("done", _told(job), last)
            return
        if time.monotonic() > deadline:
            return
        if time.monotonic() - pinged > PING_SECONDS:
            pinged = time.monotonic()
            yield ": still here\n\n"
        time.sleep(LOOK_SECONDS)


def _told(job: Job) -> dict[str, Any]:
    known = summary(job)
    return {
        "id": job.id,
        "state": job.state,
        "attemptsMade": known["attempts_made"],
        "progress": job.progress,
        "progressMessage": job.progress_message,
        "error": job.error,
    }


def _event(kind: str, data: dict[str, Any], id: int) -> str:
    return f"id: {id}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
