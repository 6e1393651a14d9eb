"""One verb for many jobs: how many there are is said first, and many have to be typed."""

from __future__ import annotations

import json
from typing import Any

from flask import Response, redirect, request, url_for

from ..contrib.api import Problem
from ..contrib.api.bodies import validated
from ..contrib.api.problems import problem_of
from ..operations.bulk_acts import CHANGED
from ..rest import bulk as bulks
from ..rest.callers import require
from ..rest.doors import DOORS, act
from . import browser
from .acting import said
from .pages import bp, page, rendered

#: What can be done to many jobs, as the buttons have it.
TITLES = {
    "retry": "Retry",
    "replay": "Replay",
    "run_now": "Run now",
    "change_queue": "Change queue",
    "change_priority": "Change priority",
    "cancel": "Cancel",
    "delete": "Delete",
}

#: What is asked before, where that is more than the title and how many.
QUESTIONS = {
    "run_now": "Run {jobs} now?",
    "change_queue": "Put {jobs} into the queue {queue}?",
    "change_priority": "Give {jobs} the priority {priority}?",
}


@bp.post("/bulk")
def preview_bulk() -> Response:
    """Say how many jobs it would touch, show some, and ask."""
    require("operate")
    browser.check_form()
    action, back = request.form.get("action", ""), browser.own_path(request.form.get("next", ""))
    order: dict[str, Any] = {"action": action}
    if (changed := CHANGED.get(action)) and request.form.get(changed, "").strip():
        order[changed] = request.form[changed].strip()
    if request.form.get("which") == "filter":
        order["filter"] = _read(request.form.get("filter", ""))
    elif request.form.getlist("ids[]"):
        order["ids"] = request.form.getlist("ids[]")
    else:
        return _refused(back, "No job is selected.")
    try:
        trial = act(DOORS["start_bulk"], {}, validated(bulks.BulkOrder, {**order, "dryRun": True}))
    except Exception as error:
        problem = problem_of(error)
        if problem.status != 422:
            raise problem from error
        return _refused(back, said(problem))
    return rendered(
        "bulk",
        action=action,
        title=TITLES[action],
        question=_question(order, trial),
        trial=trial,
        wanted=", ".join(f"{name}: {value}" for name, value in order.get("filter", {}).items()),
        order=json.dumps(order),
        back=back,
    )


def _refused(back: str, why: str) -> Response:
    response = redirect(back, 303)
    browser.tell(response, why, is_problem=True)  # type: ignore[arg-type]
    return response  # type: ignore[return-value]


def _question(order: dict[str, Any], trial: bulks.DryRun) -> str:
    jobs = f"{trial.touched:,}{'' if trial.matched_is_exact else ' or more'} {'job' if trial.touched == 1 else 'jobs'}"
    action = order["action"]
    return QUESTIONS.get(action, f"{TITLES[action]} {{jobs}}?").format(jobs=jobs, **order)


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
    bulk = bulks.show_bulk(bulk_id)
    return {"bulk": bulk, "title": TITLES[bulk.action]}


def _read(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Problem(422, detail="The form does not say which jobs.")
    return found
