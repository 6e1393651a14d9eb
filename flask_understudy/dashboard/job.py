"""One job: everything about it, as much as a page can hold, and its data as a whole to be downloaded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Response

from ..ledger import ACTIVE, COMPLETED, TERMINAL, Job, queries
from ..operations import queues as queue_operations
from ..operations.awaited import awaited
from ..operations.reasons import reason_to_wait
from ..operations.workflows import reached
from ..rest import history, jobs, presenting
from ..rest.callers import caller, require, state
from ..rest.doors import TokenQuery, check_askable
from .pages import bp, page
from .snippets import as_curl, as_python
from .words import pretty

#: What the tag begins with that a schedule gives its jobs.
TAGGED = "schedule:"

#: Characters of arguments and of a result that are shown; what is longer is shown in part and not edited here.
MOST_SHOWN = 20_000

#: Lines of the log that are shown, the newest.
MOST_LINES = 1_000


@page("/jobs/<job_id>", "job")
def show_job_page(job_id: str) -> dict[str, Any]:
    """Show everything about one job."""
    job = jobs.existing(_find(job_id))
    shown = presenting.detail_of(state(), caller(), job)
    log = history.list_log(job_id, TokenQuery()).data
    payload, result = pretty(shown.payload), pretty(shown.result)
    is_whole = len(payload) <= MOST_SHOWN
    return {
        "job": shown,
        "payload": payload,
        "result": result,
        "most": MOST_SHOWN,
        "attempts": history.list_attempts(job_id, TokenQuery()).data,
        "holds": shown.state in {ACTIVE, COMPLETED},
        "log": log[-MOST_LINES:],
        "lines": len(log),
        "is_ended": shown.state in TERMINAL,
        "has_steps": bool(reached(state(), job)),
        "schedule": _schedule(shown.tags),
        "waits_for": reason_to_wait(state(), job),
        "awaits": awaited(state(), job),
        "timeline": _timeline(shown),
        "curl": as_curl(shown),
        "python": as_python(shown) if is_whole else None,
        "queues": sorted(queue_operations.names(state())),
        "may_be_edited": is_whole and presenting.may_be_sent(state(), job.actor),
    }


@bp.get("/jobs/<job_id>/<any(arguments, result):what>.json")
def download_data(job_id: str, what: str) -> Response:
    """Download the arguments or the result of a job as a whole, secrets withheld."""
    require("payload")
    check_askable({"job_id": job_id})
    shown = presenting.detail_of(state(), caller(), jobs.existing(_find(job_id)))
    data = shown.payload if what == "arguments" else shown.result
    response = Response(pretty(data), content_type="application/json")
    response.headers["Content-Disposition"] = f'attachment; filename="{what}-{shown.id}.json"'
    return response


def _find(job_id: str) -> Job | None:
    return queries.find(state().database, job_id, scope=caller().scope)


def _schedule(tags: list[str]) -> str | None:
    """Return the name of the schedule that sent a job of these tags."""
    return next((tag.removeprefix(TAGGED) for tag in reversed(tags) if tag.startswith(TAGGED)), None)


def _timeline(job: Any) -> list[tuple[str, datetime, float | None]]:
    """Return the stations of a job's life: what, when, and how many seconds until the next."""
    moments = [("sent", job.created_at), ("due", job.run_at), ("started", job.started_at), (job.state, job.finished_at)]
    was_due_at_once = job.run_at - job.created_at < timedelta(seconds=1)
    known = [(name, at) for name, at in moments if at is not None and not (name == "due" and was_due_at_once)]
    known.sort(key=lambda one: one[1])
    ends = [at for _, at in known[1:]] + [None if job.state in TERMINAL else datetime.now(UTC)]
    return [
        (name, at, None if end is None else max(0.0, (end - at).total_seconds()))
        for (name, at), end in zip(known, ends, strict=True)
    ]
