"""Following one job: a stream of what happens to it, a token that opens it to a browser.

The ledger is asked a few times a second: the job may run in any process of any machine.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Response, request, url_for
from pydantic import Field

from ..contrib.api import Answer, instant, not_found
from ..ledger import TERMINAL, Job, queries
from ..ledger.scope import Scope
from ..operations.waiting import LOOK_SECONDS
from ..state import State
from .callers import JOB_TOKEN, JOB_TOKEN_SECONDS, Caller, caller, job_tokens, state
from .doors import TokenQuery, door
from .shapes import Instant, Shape, summary

TAG = "Following a job"

#: When an EventSource comes again: after a stream, and where there was no place to wait.
RETRY_MS, RETRY_LATER_MS = 1000, 3000
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

    The stream ends with the job, or after 25 s: clients reconnect by themselves, and `Last-Event-ID` leads on. When too
    many requests wait, it tells what is known and ends at once: clients come again after 3 s.
    """
    who, here = caller(), state()
    job = queries.find(here.database, job_id, scope=who.scope)
    if job is None:
        raise not_found()
    seen = request.headers.get("Last-Event-ID", "")
    last = int(seen) if seen.isdecimal() and len(seen) < 19 else 0
    events = functools.partial(_events, here, who.scope, job_id, last)
    response = Response(stream(here, who, events), content_type="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def stream(state: State, who: Caller, events: Callable[[float], Iterator[str]]) -> Iterator[str]:
    """Stream events for as long as a request may wait; what is known now when there is no place to wait.

    Args:
        state: The application's side of the library.
        who: Who asks.
        events: Yields them for so many seconds; 0 = looks once.
    """
    with state.waiting_room.place(who.key) as is_free:
        yield f"retry: {RETRY_MS if is_free else RETRY_LATER_MS}\n\n"
        yield from events(STREAM_SECONDS if is_free else 0.0)


def _events(state: State, scope: Scope, job_id: str, last: int, seconds: float) -> Iterator[str]:
    deadline, pinged = time.monotonic() + seconds, time.monotonic()
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
        if time.monotonic() >= deadline:
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
