"""Jobs: finding them, and everything about one."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Response, request, url_for

from ..contrib.api import Problem
from ..contrib.api.bodies import validated
from ..ledger import STATES, TERMINAL, Job, queries
from ..operations import queues as queue_operations
from ..operations.reasons import reason_to_wait
from ..operations.workflows import reached
from ..rest import exporting, history, jobs, presenting, queues
from ..rest.callers import caller, require, state
from ..rest.doors import TokenQuery
from ..rest.finding import JobsQuery
from . import browser
from .bulks import TITLES
from .pages import bp, page
from .searching import QUALIFIERS, Search, read

LIMITS = (25, 50, 100, 200)

#: What the tag begins with that a schedule gives its jobs.
TAGGED = "schedule:"


@page("/jobs", "jobs", title="Jobs", place=2)
def show_jobs() -> dict[str, Any]:
    """Show the jobs that a search finds, a page at a time; the search stands in the address."""
    search, wanted = _asked()
    status = request.args.get("status", "")
    limit = request.args.get("limit", "")
    query = {**wanted, "limit": int(limit) if limit in map(str, LIMITS) else LIMITS[0], "count": True}
    if request.args.get("cursor"):
        query["cursor"] = request.args["cursor"]
    problem, found = search.problem, None
    try:
        if problem is None:
            found = jobs.find_jobs(validated(JobsQuery, query))
    except Problem as error:
        problem = error.errors[0]["detail"] if error.errors else error.detail
    return {
        "search": search,
        "status": status,
        "states": STATES,
        "counts": _counts(),
        "found": found,
        "problem": problem,
        "limits": LIMITS,
        "limit": query["limit"],
        "filter": json.dumps(wanted) if wanted else "",
        "qualifiers": QUALIFIERS,
        "queues": sorted(queues.show_stats().root),
        "declared": sorted(queue_operations.names(state())),
        "titles": TITLES,
        "types": sorted(state().broker.actors),
        "most_exported": exporting.MOST,
    }


@bp.get("/jobs.csv")
def export_jobs() -> Response:
    """Download the jobs that a search finds, all pages of it together."""
    require("read")
    browser.check_texts(request.args)
    search, wanted = _asked()
    if search.problem is not None:
        raise Problem(422, detail=search.problem)
    cursor = {"cursor": request.args["cursor"]} if request.args.get("cursor") else {}
    return exporting.export_jobs(validated(exporting.ExportQuery, {**wanted, **cursor}))


def _asked() -> tuple[Search, dict[str, Any]]:
    """Return what the search box and the tab of a state ask for, together as the fields of a search."""
    search, status = read(request.args.get("q", "")), request.args.get("status", "")
    return search, {**search.wanted, **({"status": [status]} if status in STATES else {})}


@page("/jobs/<job_id>", "job")
def show_job_page(job_id: str) -> dict[str, Any]:
    """Show everything about one job."""
    job = jobs.existing(_find(job_id))
    who = caller()
    shown = presenting.detail_of(state(), who, job)
    return {
        "job": shown,
        "attempts": history.list_attempts(job_id, TokenQuery()).data,
        "log": history.list_log(job_id, TokenQuery()).data,
        "is_ended": shown.state in TERMINAL,
        "has_steps": bool(reached(state(), job)),
        "schedule": _schedule(shown.tags),
        "waits_for": reason_to_wait(state(), job),
        "timeline": _timeline(shown),
        "curl": _as_curl(shown),
        "python": _as_python(shown),
        "queues": sorted(queue_operations.names(state())),
        "may_be_sent": presenting.may_be_sent(state(), job.actor),
    }


def _find(job_id: str) -> Job | None:
    return queries.find(state().database, job_id, scope=caller().scope)


def _schedule(tags: list[str]) -> str | None:
    """Return the name of the schedule that sent a job of these tags."""
    return next((tag.removeprefix(TAGGED) for tag in reversed(tags) if tag.startswith(TAGGED)), None)


def _counts() -> dict[str, int]:
    """Return how many jobs there are in each state, over all queues."""
    counts = dict.fromkeys(STATES, 0)
    for numbers in queues.show_stats().root.values():
        for name in STATES:
            counts[name] += getattr(numbers, name, 0)
        counts["waiting"] += numbers.paused
        known = sum(getattr(numbers, name, 0) for name in STATES) + numbers.paused
        counts["cancelled"] += max(0, numbers.total - known)
    return counts


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


def _as_curl(job: Any) -> str:
    url = url_for("understudy.replay_job", job_id=job.id, _external=True)
    return f'curl -X POST -H "Authorization: Bearer $TOKEN" {shlex.quote(url)}'


def _as_python(job: Any) -> str:
    if job.payload is None:
        return f'jobs.get("{job.id}")'
    arguments = ", ".join(f"{name}={value!r}" for name, value in job.payload.items())
    return f"jobs.broker.get_actor({job.type!r}).send({arguments})"
