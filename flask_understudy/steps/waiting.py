"""Waiting for an event."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from ..errors import InvalidStep
from ..events import Event
from ..ledger import steps, waits
from ..ledger.step import COMPLETED, TIMED_OUT, WAIT, WAITING
from .run import Place, Run


def wait_for(run: Run, name: str, event: Any, match: Any, timeout_ms: int, was: str | None) -> Any:
    """Return the event, or None when it did not come in time; leave the actor until one of the two is known."""
    event_name = name_of(event)
    fields = comparable(event, match)
    place = run.place(WAIT, name, was)
    known = place.recorded
    if known is not None and known.state == COMPLETED:
        return typed(event, place.name, known.result)
    if known is not None and known.state == TIMED_OUT:
        return None
    if known is None:
        run.check_written(f"Before step {name!r}")
        return _begin(run, place, event, event_name, fields, timeout_ms)
    if known.wake_ms is not None and known.wake_ms > 0:
        raise run.suspend(run.note(place, WAITING, wake_ms=known.wake_ms))
    return typed(event, place.name, _give_up(run, place, event_name, fields))


def _begin(run: Run, place: Place, event: Any, event_name: str, fields: dict[str, Any], timeout_ms: int) -> Any:
    names, values = waits.wanted(fields)
    wait = {
        "job_id": run.job.id,
        "position": place.position,
        "tenant": run.job.tenant,
        "event": event_name,
        "fields": names,
        "wanted": values,
        "event_id": None,
    }
    with run.worker.state.database.statement() as connection:
        found = waits.look(connection, run.job.id, run.job.tenant, event_name, fields)
    if found is None:
        raise run.suspend(run.note(place, WAITING, wake_ms=timeout_ms, wait=wait))
    wait["event_id"], payload = found
    run.record(run.note(place, COMPLETED, result=json.dumps(payload), wait=wait))
    return typed(event, place.name, payload)


def _give_up(run: Run, place: Place, event_name: str, fields: dict[str, Any]) -> Any:
    """Look once more; return the fields of an event that came after all, or None."""
    note = run.note(place, TIMED_OUT)
    with run.worker.state.database.transaction() as connection:
        found = waits.look(connection, run.job.id, run.job.tenant, event_name, fields)
        if found is not None:
            note.state, note.result = COMPLETED, json.dumps(found[1])
        if waits.close(connection, run.job.id, place.position, found[0] if found else None):
            if not steps.record(connection, run.worker.id, [note]):
                raise run.lost(note)
            return found[1] if found else None
    with run.worker.state.database.statement() as connection:  # somebody published it at this very moment
        return steps.read(connection, run.job.id)[place.position].result


def name_of(event: Any) -> str:
    """Return an event class's name.

    Raises:
        InvalidStep: It is no event class.
    """
    if not isinstance(event, type) or not issubclass(event, Event) or not event.event_name:
        raise InvalidStep(f"A step waits for a class of events; {event!r} is none.")
    return event.event_name


def comparable(event: type[Event], match: Any) -> dict[str, Any]:
    """Return the fields that a wait compares, with their values as JSON has them.

    Raises:
        InvalidStep: A field is none of the event's, or a value is no text, number, truth value or None.
    """
    if match is None:
        return {}
    if not isinstance(match, Mapping):
        raise InvalidStep(f"match is {match!r}; it takes a dict of the event's fields and values.")
    fields: dict[str, Any] = {}
    for name, value in match.items():
        if name not in event.model_fields:
            raise InvalidStep(
                f"match: {name!r} is no field of {event.__name__}; there are {', '.join(event.model_fields) or 'none'}."
            )
        try:
            plain = to_jsonable_python(value)
        except PydanticSerializationError:
            plain = [value]
        if plain is not None and not isinstance(plain, str | int | float | bool):
            raise InvalidStep(f"match: {name} is {value!r}; it takes one text, number, time, id or truth value.")
        fields[name] = plain
    return fields


def typed(event: Any, step: str, payload: Any) -> Any:
    """Return an event as its class has it; None stays None.

    Raises:
        InvalidStep: The class has changed since, and does not take it any more.
    """
    if payload is None:
        return None
    try:
        return event.model_validate(payload)
    except ValidationError as problem:
        raise InvalidStep(
            f"Step {step!r} got an event that {event.__name__} does not take any more: {problem}"
        ) from None


__all__ = ["comparable", "name_of", "typed", "wait_for"]
