"""The audit: who did what."""

from __future__ import annotations

from typing import Any

from flask import request

from ..contrib.api import Problem
from ..contrib.api.bodies import validated
from ..rest import audit
from ..rest.doors import DOORS
from .acting import said
from .jobs import LIMITS
from .pages import page


@page("/audit", "audit", scope="admin", title="Audit", place=15)
def show_audit_page() -> dict[str, Any]:
    """Show what was done, the latest first; what is looked for stands in the address."""
    wanted = {name: value for name in ("subject", "action", "target") if (value := request.args.get(name, "").strip())}
    limit = request.args.get("limit", "")
    query: dict[str, Any] = {**wanted, "limit": int(limit) if limit in map(str, LIMITS) else 50}
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
