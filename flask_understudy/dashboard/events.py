"""Events: what was published, who heard it, and publishing one to try it."""

from __future__ import annotations

import json
from typing import Any

from flask import Response, redirect, request, url_for

from ..contrib.api import Problem, not_found
from ..contrib.api.bodies import validated
from ..contrib.api.problems import problem_of
from ..rest import events
from ..rest.callers import require
from ..rest.doors import DOORS, act, check_askable
from . import browser
from .acting import said, shape_of
from .pages import bp, page, rendered
from .schemas import fields_of, sample

ROWS = 50
LATEST = 10


@page("/events", "events", title="Events", place=7)
def show_events() -> dict[str, Any]:
    """Show what was published, and the kinds of events there are."""
    asked = {name: request.args[name] for name in ("name", "cursor") if request.args.get(name)}
    found = _log(limit=ROWS, **asked)
    types = events.list_event_types().data
    return {
        "events": found.data,
        "next_cursor": found.next_cursor,
        "name": asked.get("name"),
        "types": types,
        "listeners": _listeners(types),
        "waiting": _waiting(types),
    }


@page("/events/<event_id>", "event")
def show_event_page(event_id: str) -> dict[str, Any]:
    """Show one event: what it carried, and the jobs of those who heard it."""
    event, types = events.show_event(event_id), events.list_event_types().data
    return {
        "event": event,
        "listeners": _listeners(types).get(event.name, []),
        "waiting": _waiting(types).get(event.name, 0),
    }


@page("/events/types/<event_name>", "event_type")
def show_event_type(event_name: str) -> dict[str, Any]:
    """Show one kind of event: its fields, who listens, the latest ones; and publish one."""
    return _type_page(event_name)


@bp.post("/events/types/<event_name>")
def send_test_event(event_name: str) -> Response:
    """Publish an event; what is wrong is said beside what was typed."""
    require("enqueue")
    check_askable({"event_name": event_name})
    browser.check_form()
    text, tenant = request.form.get("payload", ""), request.form.get("tenant", "").strip()
    try:
        order = {"name": event_name, "payload": _read(text), **({"tenant": tenant} if tenant else {})}
        sent = shape_of(act(DOORS["send_event"], {}, validated(events.Post, order)))
    except Exception as error:
        problem = problem_of(error)
        if problem.status in {401, 403, 500}:
            raise problem from error
        return rendered("event_type", 422, **_type_page(event_name, text, tenant, said(problem)))
    response = redirect(url_for(f"{bp.name}.show_event_page", event_id=sent.id), 303)
    browser.tell(response, f"It is published; {_heard(len(sent.jobs), len(events.show_event(sent.id).runs))}.")  # type: ignore[arg-type]
    return response  # type: ignore[return-value]


def _heard(jobs: int, runs: int) -> str:
    said = [] if not jobs else ["1 job hears it" if jobs == 1 else f"{jobs} jobs hear it"]
    said += [] if not runs else ["1 run goes on" if runs == 1 else f"{runs} runs go on"]
    return ", ".join(said) or "nobody listens"


def _read(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except (ValueError, RecursionError):
        raise Problem(422, detail="The fields are no JSON.") from None


def _type_page(name: str, text: str | None = None, tenant: str = "", problem: str = "") -> dict[str, Any]:
    """Return what the page of a kind of event shows.

    Args:
        name: Its name.
        text: The fields that were typed; None = a sample.
        tenant: For whom it was to be published.
        problem: What is wrong with that.

    Raises:
        Problem: 404, there is no such kind.
    """
    kind = next((each for each in events.list_event_types().data if each.name == name), None)
    if kind is None:
        raise not_found()
    return {
        "kind": kind,
        "fields": fields_of(kind.payload_schema),
        "events": _log(limit=LATEST, name=name).data,
        "text": json.dumps(sample(kind.payload_schema), indent=2, ensure_ascii=False) if text is None else text,
        "tenant": tenant,
        "problem": problem,
        "listeners": {name: kind.subscribers},
        "waiting": {name: kind.waiting_runs},
    }


def _log(**asked: Any) -> events.EventPage:
    return events.list_events(validated(events.EventsQuery, {**asked, "withPayload": True}))


def _waiting(types: list[events.EventType]) -> dict[str, int]:
    return {kind.name: kind.waiting_runs for kind in types}


def _listeners(types: list[events.EventType]) -> dict[str, list[str]]:
    return {kind.name: kind.subscribers for kind in types}
