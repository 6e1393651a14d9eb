"""A job as a caller may see it: without what the caller has no permission for, and without secrets."""

from __future__ import annotations

import inspect
from typing import Any

import dramatiq

from ..ledger import Job, Schedule
from ..redaction import WITHHELD, redacted, redacted_arguments
from ..state import State
from .doors import Caller
from .shapes import JobDetail, summary


def detail_of(state: State, who: Caller, job: Job) -> JobDetail:
    """Return a job in full, as far as the caller may see it."""
    sees = who.may("payload")
    actor = state.broker.actors.get(job.actor)
    return JobDetail(
        **summary(job),
        payload=payload_of(actor, job) if sees else None,
        result=_result(actor, job) if sees else None,
    )


def payload_of(actor: dramatiq.Actor[Any, Any] | None, job: Job | Schedule) -> dict[str, Any]:
    """Return the arguments of a job, or of a schedule's jobs, by name and without secrets.

    Those beyond the signature are there by position.
    """
    args, kwargs = redacted_arguments(actor, job.args, job.kwargs)
    names = [] if actor is None else list(inspect.signature(actor.fn).parameters)
    named = {(names[i] if i < len(names) else str(i)): value for i, value in enumerate(args)}
    return {**named, **kwargs}


def _result(actor: dramatiq.Actor[Any, Any] | None, job: Job) -> Any:
    if job.sensitive or actor is None or actor.options.get("sensitive") is True:
        return None if job.result is None else WITHHELD
    return redacted(job.result)
