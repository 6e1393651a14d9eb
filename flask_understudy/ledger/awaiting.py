"""Jobs that wait in a step for what no clock brings: a person's decision, or an event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, not_, select
from sqlalchemy.orm import aliased

from .attempt import Attempt
from .job import DELAYED, Job
from .step import RETRYING, SLEEPING, WAITING, Step


def awaits(job: Any) -> ColumnElement[bool]:
    """Return the condition that a job awaits something.

    It was suspended by its latest claim, one of its steps waits, and none sleeps or is to be tried again: that one
    would be what suspends it.
    """
    attempt, step, other = aliased(Attempt), aliased(Step), aliased(Step)
    is_latest = (attempt.job_id == job.id, attempt.fence == job.fence)
    is_suspended = exists().where(*is_latest, attempt.outcome == "suspended")
    waits = exists().where(step.job_id == job.id, step.state == WAITING)
    is_due_by_itself = exists().where(other.job_id == job.id, other.state.in_((SLEEPING, RETRYING)))
    return and_(job.state == DELAYED, is_suspended, waits, not_(is_due_by_itself))


def among(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Return those of the jobs that await something."""
    return set(connection.scalars(select(Job.id).where(Job.id.in_(ids), awaits(Job))))
