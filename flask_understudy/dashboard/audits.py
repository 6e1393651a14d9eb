"""The audit: who did what."""

from __future__ import annotations

import contextlib
from datetime import date, timedelta
from typing import Any

from flask import Response, request

from ..contrib.api import Problem
from ..contrib.api.bodies import validated
from ..rest import audit
from ..rest.callers import require
from ..rest.doors import DOORS
from . import browser
from .acting import said
from .jobs import LIMITS
from .pages import bp, page


@page("/audit", "audit", scope="admin", title="Audit", place=15)
def show_audit_page() -> dict[str, Any]:
    """Show what was done, the latest first; what is looked for stands in the address."""
    wanted, limit = _wanted(), request.args.get("limit", "")
    query: dict[str, Any] = {**_query(wanted), "limit": int(limit) if limit in map(str, LIMITS) else 50}
    if request.args.get("before"):
        query["before"] = request.args["before"]
    found, problem = audit.Lines(data=[], next=None), None
    try:
        found = audit.show_audit(validated(audit.AuditQuery, query))
    except Problem as error:
        problem = said(error)
    return {
        "lines": found.data,
        "next": found.next,
        "problem": problem,
        "wanted": wanted,
        "limit": query["limit"],
        "limits": LIMITS,
        "actions": sorted({door.audit_as for door in DOORS.values() if door.audit_as}),
    }


@bp.get("/audit.csv")
def export_audit_page() -> Response:
    """Download what was done, as far as it is looked for."""
    require("admin")
    browser.check_texts(request.args)
    return audit.export_audit(validated(audit.Wanted, _query(_wanted())))


def _wanted() -> dict[str, str]:
    names = ("subject", "action", "target", "since", "until")
    return {name: value for name in names if (value := request.args.get(name, "").strip())}


def _query(wanted: dict[str, str]) -> dict[str, Any]:
    """Return the fields of the API's query; a day of the page is one of UTC, from its beginning to its end."""
    query: dict[str, Any] = dict(wanted)
    if (day := wanted.get("since")) is not None:
        query["since"] = f"{day}T00:00:00Z"
    if (day := wanted.get("until")) is not None:
        with contextlib.suppress(ValueError, OverflowError):  # what is no day is refused by the query's own check
            day = (date.fromisoformat(day) + timedelta(days=1)).isoformat()
        query["until"] = f"{day}T00:00:00Z"
    return query
