"""Schedules: what fires when, what became of it, and making one."""

from __future__ import annotations

import json
from typing import Any
from zoneinfo import available_timezones

from flask import Response, redirect, request, url_for

from ..contrib.api import Problem
from ..contrib.api.bodies import validated
from ..contrib.api.problems import problem_of
from ..ledger.schedule import MISSED, OVERLAP
from ..operations.timetable import upcoming
from ..rest import scheduled, schedules
from ..rest.callers import require, state
from ..rest.doors import DOORS, act
from ..rest.finding import PageOfTenant
from ..rest.paging import PageOf
from ..rest.schedule_shapes import Changes, Preview, Previewed, Registration, Whose
from . import browser
from .acting import said, shape_of
from .pages import bp, page, rendered
from .searching import qualifier

ROWS = 50

#: The form's fields as the browser sends them, and which of them are JSON.
FIELDS = ("name", "type", "schedule", "timezone", "payload", "options", "missed", "overlap", "grace_ms")
JSON = ("payload", "options")


@page("/schedules", "schedules", title="Schedules", place=5)
def show_schedules() -> dict[str, Any]:
    """Show all schedules by name."""
    found = schedules.list_schedules(validated(PageOfTenant, _part()))
    following = [upcoming(one.schedule, one.timezone, one.next_run_at) if one.enabled else [] for one in found.data]
    return {"schedules": zip(found.data, following, strict=True), "next_cursor": found.next_cursor}


@page("/scheduled", "scheduled")
def show_scheduled() -> dict[str, Any]:
    """Show the jobs that wait for their date."""
    found = scheduled.list_scheduled(validated(PageOf, _part()))
    return {"jobs": found.data, "next_cursor": found.next_cursor}


@page("/schedules/<schedule_name>", "schedule")
def show_schedule_page(schedule_name: str) -> dict[str, Any]:
    """Show one schedule: its next slots, and what became of its latest ones."""
    schedule = schedules.show_schedule(schedule_name, _whose())
    return {"schedule": schedule, "search": qualifier("tag", f"schedule:{schedule.name}")}


@page("/schedule/new", "schedule_form", scope="enqueue")
def new_schedule() -> dict[str, Any]:
    """Ask what a new schedule shall be."""
    return _form(None, {})


@page("/schedules/<schedule_name>/edit", "schedule_form", scope="operate")
def edit_schedule(schedule_name: str) -> dict[str, Any]:
    """Ask what shall be otherwise; the arguments stay unless some are given, as secrets in them are not shown."""
    known = schedules.show_schedule(schedule_name, _whose())
    values = {name: getattr(known, name) for name in FIELDS if name not in JSON}
    return _form(known, {**values, "options": json.dumps(known.options) if known.options else ""})


@bp.post("/schedule/save")
def save_schedule() -> Response:
    """Make a schedule, change one, or merely say when it would fire; what is wrong is said beside what was typed."""
    is_new = request.form.get("known") is None
    require("enqueue" if is_new else "operate")
    browser.check_form()
    known = None if is_new else schedules.show_schedule(request.form["known"], _whose())
    given = {name: request.form.get(name, "").strip() for name in FIELDS}
    try:
        if "preview" in request.form:
            asked = {"schedule": given["schedule"], "timezone": given["timezone"] or None}
            answer = act(DOORS["preview_schedule"], {}, validated(Previewed, asked))
            return rendered("schedule_form", **_form(known, given, preview=answer))
        saved = _save(known, given)
    except Exception as error:
        problem = problem_of(error)
        if problem.status in {401, 403, 500}:
            raise problem from error
        return rendered("schedule_form", 422, **_form(known, given, problem=said(problem)))
    where = url_for(f"{bp.name}.show_schedule_page", schedule_name=saved.name, tenant=request.args.get("tenant"))
    response = redirect(where, 303)
    browser.tell(response, "It is registered." if is_new else "It is changed.")  # type: ignore[arg-type]
    return response  # type: ignore[return-value]


def _save(known: Any, given: dict[str, str]) -> Any:
    order: dict[str, Any] = {name: _read(name, text) for name, text in given.items() if text}
    if known is not None:
        order.pop("name", None)
        order.setdefault("options", {})  # it is shown in full, so an empty field means none
        return act(DOORS["amend_schedule"], {"schedule_name": known.name}, validated(Changes, order), _whose())
    body = validated(Registration, order)
    try:
        schedules.show_schedule(body.name, Whose())
    except Exception as error:
        if problem_of(error).status != 404:
            raise
        return shape_of(act(DOORS["register_schedule"], {}, body))
    raise Problem(409, detail=f"There is a schedule {body.name!r} already: change that one, or take another name.")


def _read(name: str, text: str) -> Any:
    if name not in JSON:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Problem(422, detail=f"{name}: that is no JSON.") from None


def _form(known: Any, values: dict[str, Any], *, preview: Preview | None = None, problem: str = "") -> dict[str, Any]:
    """Return what the form shows.

    Args:
        known: The schedule that is changed; None = a new one.
        values: What its fields hold.
        preview: When it would fire.
        problem: What is wrong with it.
    """
    actors = state().broker.actors
    return {
        "known": known,
        "values": values,
        "preview": preview,
        "problem": problem,
        "types": sorted(name for name, actor in actors.items() if actor.options.get("api")),
        "zones": sorted(available_timezones()),
        "zone": state().config.timezone,
        "missed": MISSED,
        "overlap": OVERLAP,
        "tenant": request.args.get("tenant"),
    }


def _whose() -> Whose:
    """Return whose schedule the address means."""
    return validated(Whose, {"tenant": request.args["tenant"]} if "tenant" in request.args else {})


def _part() -> dict[str, Any]:
    cursor = request.args.get("cursor")
    return {"limit": ROWS, **({"cursor": cursor} if cursor else {})}
