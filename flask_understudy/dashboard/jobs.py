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
from .searching import QUALIFIERS, SYNONYMS, asked_for

LIMITS = (25, 50, 100, 200)

#: So many pages the way back is known to; their cursors stand in the address.
MOST_BEFORE = 10

#: What the tag begins with that a schedule gives its jobs.
TAGGED = "schedule:"


@page("/jobs", "jobs", title="Jobs", place=2)
def show_jobs() -> dict[str, Any]:
    """Show the jobs that a search finds, a page at a time; the search stands in the address."""
    types = sorted(state().broker.actors)
    search, status = asked_for(request.args, types), request.args.get("status", "")
    limit = request.args.get("limit", "")
    query = {
        **search.wanted,
        **_sorted(),
        "limit": int(limit) if limit in map(str, LIMITS) else LIMITS[0],
        "count": True,
    }
    cursor, before = request.args.get("cursor", ""), request.args.getlist("before")
    if cursor:
        query["cursor"] = cursor
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
        "sort": request.args.get("sort") if _sorted() else "",
        "cursor": cursor,
        "before": before[1 - MOST_BEFORE :],
        "words": {
            "qualifiers": list(QUALIFIERS.items()),
            "synonyms": SYNONYMS,
            "values": {"state": STATES, "queue": sorted(queues.show_stats().root), "type": types},
        },
        "declared": sorted(queue_operations.names(state())),
        "titles": TITLES,
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
    return exporting.export_jobs(validated(exporting.ExportQuery, {**search.wanted, **_sorted(), **cursor}))


def _sorted() -> dict[str, str]:
    """Return the order that the page asks for, where it is not the usual one."""
    return {"sort": "created_at"} if request.args.get("sort") == "oldest" else {}


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
