"""How the application is set up, and what the doctor finds when it is asked."""

from __future__ import annotations

from typing import Any

from flask import request

from ..operations.health import health
from ..rest import settings
from ..rest.callers import state
from .pages import additions, page

#: What the doctor finds, the worst first.
STATUSES = ("error", "warning", "note", "ok")


@page("/settings", "settings", scope="tenants", title="Settings", place=16)
def show_settings_page() -> dict[str, Any]:
    """Show health, the settings that hold, and what the doctor finds when the address asks for it."""
    found = settings.show_settings().data
    findings = settings.examine_all(settings.Examination()).data if request.args.get("examine") == "yes" else None
    return {
        "health": health(state()),
        "additions": additions(),
        "set": [one for one in found if one.origin != "default"],
        "defaults": [one for one in found if one.origin == "default"],
        "findings": None if findings is None else sorted(findings, key=lambda one: STATUSES.index(one.status)),
        "counts": {name: sum(one.status == name for one in findings or ()) for name in STATUSES},
    }
