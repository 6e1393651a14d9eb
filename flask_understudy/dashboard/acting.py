"""Buttons: a form names the door of its action, and what goes through it.

A field that the door's rule names is part of the path; others are fields of its body. A name that ends in `[]` is a
list, one that ends in `:json` is JSON, one that ends in `:utc` is a time of UTC, one that ends in `:query` is part of
the door's query. What destroys something is asked for once more, on a page of its own; what somebody wrote at length,
in a form with the field `edited`, can be corrected on one when it is refused.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from flask import Response, redirect, request
from pydantic import BaseModel

from ..contrib.api import Problem, not_found, problems
from ..contrib.api.bodies import parse_json, validated
from ..rest.callers import require, require_change
from ..rest.doors import DOORS, Door, act
from . import browser
from .pages import bp, rendered

#: What is asked before something is destroyed, by the door's name.
QUESTIONS = {
    "delete_job": "Delete this job, with its attempts and its log?",
    "cancel_job": "Cancel this job? If it runs it is asked to stop.",
    "drain_queue": "Cancel every job that waits in this queue?",
    "clean_queue": "Delete the ended jobs of this queue?",
    "retry_failed_of_queue": "Try every failed job of this queue again?",
    "retry_failures": "Try every job again that failed like this?",
    "delete_schedule": "Delete this schedule? Its jobs stay.",
    "cancel_scheduled": "Cancel this job? It never starts.",
    "cancel_run": "Cancel this run? If it runs it is asked to stop.",
    "delete_endpoint": "Delete this endpoint, with its deliveries? What waits for it is not sent.",
    "stop_worker": "End this process when what it runs has ended, and those of the same command with it?",
    "cancel_batch": "Cancel what is left of this batch? Jobs that run are asked to stop.",
}

#: Fields that are no door's: `next` is where to go on, `then` where to when it was done (`{id}` is the
#: answer's id), `about` what the question adds.
_OURS = {"csrf", "next", "then", "confirmed", "done", "edited", "about"}
_NAMES = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")


@bp.post("/do/<name>")
def do(name: str) -> Response:
    """Open a door, and go back to the page that the form stood on, with a word about what happened."""
    door = DOORS.get(name)
    if door is None or door.audit_as is None:
        raise not_found()
    require(door.scope)
    require_change(door.scope)
    browser.check_form()
    back = browser.own_path(request.form.get("next", ""))
    if name in QUESTIONS and "confirmed" not in request.form:
        return rendered(
            "confirm",
            name=name,
            question=QUESTIONS[name],
            fields=_fields(),
            back=back,
            about=request.form.get("about", ""),
        )
    try:
        answer = act(door, *_arguments(door))
    except Exception as error:
        problem = problems.problem_of(error)
        if problem.status in {401, 500}:
            raise problem from error
        if "edited" in request.form:
            return rendered("again", problem.status, name=name, said=said(problem), back=back)
        return _go(back, said(problem), is_problem=True)
    if "then" in request.form:
        back = browser.own_path(request.form["then"].replace("{id}", _id_of(answer)))
    return _go(back, request.form.get("done") or _said(answer))


def said(problem: Problem) -> str:
    """Return what is wrong, in one text."""
    wrong = "; ".join(f"{error['pointer'].lstrip('/')}: {error['detail']}" for error in problem.errors)
    if problem.status == 400 and problem.detail:  # the title says of what the detail speaks
        return f"{problem.title}. {problem.detail}"
    return wrong or problem.detail or problem.title


def _arguments(door: Door) -> tuple[dict[str, Any], BaseModel | None, BaseModel | None]:
    """Return the values of the rule's names, the body and the query.

    Raises:
        Problem: 422, a field is missing or wrong.
    """
    given = dict(_fields())
    path = {}
    for name in _NAMES.findall(door.rule):
        if name not in given:
            raise Problem(422, detail=f"The form lacks {name}.")
        path[name] = given.pop(name)
    if "<int:" in door.rule:
        path = {name: int(value) if str(value).isdecimal() else -1 for name, value in path.items()}
    asked = {name[:-6]: given.pop(name) for name in list(given) if name.endswith(":query")}
    query = None if door.query is None else validated(door.query, asked)
    if door.body is None:
        return path, None, query
    return path, validated(door.body, {name: value for name, value in given.items() if value != ""}), query


def _fields() -> dict[str, Any]:
    """Return the form's fields but for our own, and but for JSON that was left empty."""
    fields: dict[str, Any] = {}
    for name, values in request.form.lists():
        if name in _OURS or (name.endswith(":json") and not values[-1].strip()):
            continue
        if name.endswith("[]"):
            fields[name[:-2]] = values
        elif name.endswith(":json"):
            fields[name[:-5]] = parse_json(values[-1])
        elif name.endswith(":utc"):
            fields[name[:-4]] = _time(values[-1])
        else:
            fields[name] = values[-1]
    return fields


def _time(text: str) -> str:
    """Return what a field for date and time says as the API reads it: browsers send `2026-01-31T09:30`."""
    return text and (f"{text}:00Z" if len(text) == 16 else f"{text}Z")


def _id_of(answer: Any) -> str:
    shape = shape_of(answer)
    return quote(str(getattr(shape, "id", None) or getattr(shape, "job_id", "")), safe="")


def shape_of(answer: Any) -> Any:
    """Return what a view answers, without its status and headers."""
    return answer[0] if isinstance(answer, tuple) else answer


def _said(answer: Any) -> str:
    """Return what to say of an answer: the one number in it that tells what happened, or that it is done."""
    shape = shape_of(answer)
    for name in ("retried", "cancelled", "removed"):
        number = getattr(shape, name, None)
        if isinstance(number, int):
            return f"{number} {'job' if number == 1 else 'jobs'} {name}."
    replayed = getattr(shape, "replayed", None)
    if isinstance(replayed, int):
        return f"{replayed} {'delivery is' if replayed == 1 else 'deliveries are'} sent again."
    if getattr(shape, "decided_at", None) is not None:
        return f"It is {shape.state}; the job goes on."
    return "Done."


def _go(back: str, text: str, *, is_problem: bool = False) -> Response:
    response = redirect(back, 303)
    browser.tell(response, text, is_problem=is_problem)  # type: ignore[arg-type]
    return response  # type: ignore[return-value]
