"""Types: what can be sent, what holds for it, and sending one to try it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, redirect, request, url_for

from ..contrib.api import Problem, problems
from ..contrib.api.bodies import parse_json, validated
from ..rest import sending
from ..rest.callers import require
from ..rest.doors import DOORS, act, check_askable
from . import browser
from .acting import said
from .forms import PREFIX, fields_of, payload_of
from .pages import bp, page, rendered
from .words import pretty

#: So that jobs that were sent to try something are found again.
TAG = "test"


@page("/types", "types", title="Types", place=8)
def show_types() -> dict[str, Any]:
    """Show all actors; the address can say a part of the names."""
    part = request.args.get("q", "").strip()
    found = [one for one in sending.list_types().data if part.lower() in one.name.lower()]
    return {"types": found, "part": part}


@page("/types/<path:type_name>", "type")
def show_type_page(type_name: str) -> dict[str, Any]:
    """Show one actor, and a form of what it takes."""
    return _shown(type_name, {})


@bp.post("/types/<path:type_name>")
def send_test(type_name: str) -> Response:
    """Send a job of that type; what is refused is shown again with what was written."""
    require("enqueue")
    browser.check_form()
    written = request.form.to_dict()
    shown = _shown(type_name, written)
    try:
        order = {"type": type_name, "tags": [TAG], "payload": _payload(shown["type"].payload_schema, written)}
        order |= {name: value for name in ("delay", "priority") if (value := written.get(name, "").strip())}
        sent, *_ = act(DOORS["send_job"], {}, validated(sending.SendOrder, order))
    except Exception as error:
        problem = problems.problem_of(error)
        if problem.status in {401, 403, 500}:
            raise problem from error
        return rendered("type", problem.status, **{**shown, "problem": said(problem)})
    response = redirect(url_for(f"{bp.name}.show_job_page", job_id=sent.id), 303)
    browser.tell(response, "It is sent.")  # type: ignore[arg-type]
    return response  # type: ignore[return-value]


def _shown(type_name: str, written: Mapping[str, str]) -> dict[str, Any]:
    check_askable({"type_name": type_name})
    found = sending.show_type(type_name)
    return {
        "type": found,
        "fields": fields_of(found.payload_schema, written),
        "prefix": PREFIX,
        "written": written,
        "sample": written.get("payload") or pretty(_sample(found.payload_schema)),
        "problem": None,
    }


def _payload(schema: Mapping[str, Any], written: Mapping[str, str]) -> dict[str, Any]:
    """Return what to send: the JSON as a whole where that was asked for, else what the fields say.

    Raises:
        Problem: 422, it is no JSON object.
    """
    if "payload" not in written:
        return payload_of(schema, written)
    payload = parse_json(written["payload"] or "{}")
    if not isinstance(payload, dict):
        raise Problem(422, detail="The arguments are one JSON object, by name.")
    return payload


def _sample(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object to begin with: defaults, and nothing of its kind where there is none."""
    empty = {"string": "", "integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}
    return {
        name: found.get("default", empty.get(str(found.get("type"))))
        for name, found in schema.get("properties", {}).items()
    }
