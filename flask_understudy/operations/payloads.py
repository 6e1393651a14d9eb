"""A job's arguments by name: as people see them, and as they hand them back."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dramatiq

from ..encoding import encode
from ..errors import InvalidJob
from ..ledger import Job, Schedule
from ..redaction import WITHHELD, redacted_arguments
from ..signatures import named_payload


def shown(actor: dramatiq.Actor[Any, Any] | None, job: Job | Schedule) -> dict[str, Any]:
    """Return the arguments of a job, or of a schedule's jobs, by name, secrets withheld.

    Those beyond the signature are there by position.
    """
    return _named(actor, *redacted_arguments(actor, job.args, job.kwargs))


def whole(actor: dramatiq.Actor[Any, Any] | None, job: Job | Schedule) -> dict[str, Any]:
    """Return a job's arguments by name, as they are."""
    return _named(actor, job.args, job.kwargs)


def changed(actor: dramatiq.Actor[Any, Any] | None, job: Job | Schedule, given: Mapping[str, Any]) -> list[str]:
    """Return the names of the arguments that are other ones than those shown of a job, or are there no more.

    Raises:
        InvalidJob: What is given is no JSON.
    """
    named = dict(given) if actor is None else named_payload(actor, given)
    seen, wanted = shown(actor, job), json.loads(encode(named, "The payload"))
    return sorted(
        name
        for name in {*seen, *wanted}
        if name not in seen or name not in wanted or _canonical(seen[name]) != _canonical(wanted[name])
    )


def restored(actor: dramatiq.Actor[Any, Any] | None, job: Job | Schedule, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments that were made from those shown of a job: its own, when they are as shown.

    Once anything changes, nothing that is withheld is kept: a secret that stayed while its receiver changed would be
    sent to whoever changed it.

    Raises:
        InvalidJob: Something changes and something else is to stay withheld, or what is given is no JSON.
    """
    own = whole(actor, job)
    if not changed(actor, job, given):
        return own
    kept = {WITHHELD, *(text for _, text in _texts(shown(actor, job), ""))} - {text for _, text in _texts(own, "")}
    for where, text in _texts(given, "payload"):
        if text in kept:
            raise InvalidJob(
                f"{where} has {WITHHELD!r}, which stands for a withheld value. That is kept only while no argument "
                "changes; give the value anew."
            )
    return dict(given)


def anew(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments for an actor that knows none of what was withheld before.

    Raises:
        InvalidJob: One stands for a withheld value.
    """
    for where, text in _texts(given, "payload"):
        if text == WITHHELD:
            raise InvalidJob(f"{where} is {WITHHELD!r}, which stands for a withheld value; give the value.")
    return dict(given)


def _named(actor: dramatiq.Actor[Any, Any] | None, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    names = [] if actor is None else list(inspect.signature(actor.fn).parameters)
    return {**{(names[i] if i < len(names) else str(i)): value for i, value in enumerate(args)}, **kwargs}


def _texts(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Yield every text within a JSON value, with the path to it."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _texts(inner, f"{where}.{i}")


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
