"""A job as a caller may see it: without what the caller has no permission for, and without secrets."""

from __future__ import annotations

from typing import Any

import dramatiq

from ..ledger import Job
from ..operations import payloads
from ..redaction import WITHHELD, redacted
from ..state import State
from .callers import Caller
from .shapes import JobDetail, summary


def detail_of(state: State, who: Caller, job: Job) -> JobDetail:
    """Return a job in full, as far as the caller may see it."""
    sees = who.may("payload")
    actor = state.broker.actors.get(job.actor)
    return JobDetail(
        **summary(job),
        payload=payloads.shown(actor, job) if sees else None,
        result=_result(actor, job) if sees else None,
        worker=job.worker_id,
    )


def may_be_sent(state: State, type: str) -> bool:
    """Whether there is an actor of a name that the API may send."""
    actor = state.broker.actors.get(type)
    return actor is not None and bool(actor.options.get("api"))


def _result(actor: dramatiq.Actor[Any, Any] | None, job: Job) -> Any:
    if job.sensitive or actor is None or actor.options.get("sensitive") is True:
        return None if job.result is None else WITHHELD
    return redacted(job.result)
