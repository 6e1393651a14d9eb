"""What a suspended job awaits that no clock brings, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from ..ledger import Approval, Job, Step, Wait
from ..ledger.awaiting import awaits
from ..ledger.step import WAITING
from ..state import State
from .transaction import joined_session


@dataclass(frozen=True, slots=True)
class Awaited:
    """What a job awaits.

    Attributes:
        step: The step that waits.
        event: The name of the event, or None when it is a decision.
        approval_id: The approval to be decided, or None when it is an event.
        asked: Who is asked for it, in the application's words; may be empty.
    """

    step: str
    event: str | None
    approval_id: str | None
    asked: str

    @property
    def described(self) -> str:
        """What it is, in words."""
        if self.event is not None:
            return f"the event {self.event!r}"
        return f"the decision of {self.asked!r}" if self.asked else "a decision"

    @property
    def remedy(self) -> str:
        """What lets the job go on."""
        if self.event is not None:
            return "Publish that event, or signal the run, with which it goes on as if the event had come."
        return f"Approve or reject the approval {self.approval_id}."


def awaited(state: State, job: Job) -> Awaited | None:
    """Return what a job awaits; None when it is not suspended, or goes on by itself."""
    session = joined_session(state)
    if session is not None:
        return _read(session, job)
    with Session(state.database.engine) as own:
        return _read(own, job)


def _read(session: Session, job: Job) -> Awaited | None:
    found = session.execute(
        select(Step.name, Wait.event, Approval.id, Approval.asked)
        .join(Job, Job.id == Step.job_id)
        .outerjoin(Wait, and_(Wait.job_id == Step.job_id, Wait.position == Step.position))
        .outerjoin(Approval, and_(Approval.job_id == Step.job_id, Approval.position == Step.position))
        .where(Step.job_id == job.id, Step.state == WAITING, awaits(Job))
        .order_by(Step.position.desc())
        .limit(1)
    ).first()
    return None if found is None else Awaited(*found[:3], found[3] or "")
