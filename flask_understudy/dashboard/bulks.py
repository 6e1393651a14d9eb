"""One verb for many jobs: how many there are is said first, and many have to be typed."""

from __future__ import annotations

import json
from typing import Any

from flask import Response, redirect, request, url_for

from ..contrib.api import Problem
from ..contrib.api.bodies import validated
from ..rest import bulk as bulks
from ..rest.callers import require
from ..rest.doors import DOORS, act
from . import browser
from .pages import bp, page, rendered


@bp.post("/bulk")
def preview_bulk() -> Response:
    """Say how many jobs it would touch, show some, and ask."""
    require("operate")
    browser.check_form()
    action, back = request.form.get("action", ""), browser.own_path(request.form.get("next", ""))
    order: dict[str, Any] = {"action": action}
    if request.form.get("which") == "filter":
        order["filter"] = _read(request.form.get("filter", ""))
    elif request.form.getlist("ids[]"):
        order["ids"] = request.form.getlist("ids[]")
    else:
        response = redirect(back, 303)
        browser.tell(response, "No job is selected.", is_problem=True)  # type: ignore[arg-type]
        return response  # type: ignore[return-value]
    trial = act(DOORS["start_bulk"], {}, validated(bulks.BulkOrder, {**order, "dryRun": True}))
    wanted = ", ".join(f"{name}: {value}" for name, value in order.get("filter", {}).items())
    return rendered("bulk", action=action, trial=trial, wanted=wanted, order=json.dumps(order), back=back)


@bp.post("/bulk/start")
def start_bulk() -> Response:
    """Begin, and lead to where its progress shows."""
    require("operate")
    browser.check_form()
    if request.form.get("typed", "").strip().replace(",", "") != request.form.get("expected", ""):
        raise Problem(422, detail="The number that was typed is another one; nothing was done. Go back, look again.")
    answer = act(DOORS["start_bulk"], {}, validated(bulks.BulkOrder, _read(request.form.get("order", ""))))
    started = answer[0] if isinstance(answer, tuple) else answer
    return redirect(url_for(f"{bp.name}.show_bulk_page", bulk_id=started.id), 303)  # type: ignore[return-value]


@page("/bulk/<bulk_id>", "bulk_progress")
def show_bulk_page(bulk_id: str) -> dict[str, Any]:
    """Show how far a bulk is."""
    return {"bulk": bulks.show_bulk(bulk_id)}


def _read(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Problem(422, detail="The form does not say which jobs.")
    return found
