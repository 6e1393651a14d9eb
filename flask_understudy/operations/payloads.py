"""A job's arguments by name: as people see them, and as they hand them back."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import dramatiq

from ..errors import InvalidJob
from ..ledger import Job
from ..redaction import WITHHELD, redacted_arguments


def shown(actor: dramatiq.Actor[Any, Any] | None, job: Job) -> dict[str, Any]:
    """Return a job's arguments by name, secrets withheld; those beyond the signature by position."""
    return _named(actor, *redacted_arguments(actor, job.args, job.kwargs))


def whole(actor: dramatiq.Actor[Any, Any] | None, job: Job) -> dict[str, Any]:
    """Return a job's arguments by name, as they are."""
    return _named(actor, job.args, job.kwargs)


def restored(actor: dramatiq.Actor[Any, Any] | None, job: Job, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments that were made from those shown of a job; where it is withheld, its own value stands again.

    Raises:
        InvalidJob: Something is withheld that the job does not have.
    """
    restored: dict[str, Any] = _restored(given, shown(actor, job), whole(actor, job), "payload")
    return restored


def _named(actor: dramatiq.Actor[Any, Any] | None, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    names = [] if actor is None else list(inspect.signature(actor.fn).parameters)
    return {**{(names[i] if i < len(names) else str(i)): value for i, value in enumerate(args)}, **kwargs}


def _restored(given: Any, seen: Any, own: Any, where: str) -> Any:
    if given == seen and type(given) is type(seen):
        return own
    if isinstance(given, dict):
        known, kept = (side if isinstance(side, dict) else {} for side in (seen, own))
        return {k: _restored(v, known.get(k), kept.get(k), f"{where}.{k}") for k, v in given.items()}
    if isinstance(given, list):
        same = isinstance(seen, list) and isinstance(own, list) and len(given) == len(seen)
        pairs = zip(seen, own, strict=True) if same else [(None, None)] * len(given)
        return [_restored(v, s, o, f"{where}.{i}") for i, (v, (s, o)) in enumerate(zip(given, pairs, strict=True))]
    if isinstance(given, str) and given == WITHHELD:
        raise InvalidJob(f"{where} is {WITHHELD!r}, which stands for what is withheld; the job has nothing there.")
    return given
