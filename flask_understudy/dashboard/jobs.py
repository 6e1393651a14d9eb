"""Jobs: finding them."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from ..contrib.api import Problem
from ..contrib.api.bodies import validated
from ..ledger import STATES
from ..operations import queues as queue_operations
from ..rest import exporting, jobs, queues
from ..rest.callers import require, state
from ..rest.finding import JobsQuery
from . import browser
from .bulks import TITLES
from .pages import bp, page
from .searching import QUALIFIERS, asked_for

LIMITS = (25, 50, 100, 200)


@page("/jobs", "jobs", title="Jobs", place=2)
def show_jobs() -> dict[str, Any]:
    """Show the jobs that a search finds, a page at a time; the search stands in the address."""
    search, status = asked_for(request.args, state().broker.actors), request.args.get("status", "")
    limit = request.args.get("limit", "")
    query = {**search.wanted, "limit": int(limit) if limit in map(str, LIMITS) else LIMITS[0], "count": True}
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
    search = asked_for(request.args, state().broker.actors)
    if search.problem is not None:
        raise Problem(422, detail=search.problem)
    cursor = {"cursor": request.args["cursor"]} if request.args.get("cursor") else {}
    return exporting.export_jobs(validated(exporting.ExportQuery, {**search.wanted, **cursor}))


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
