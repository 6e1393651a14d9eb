"""Deciding what a job waits for, once: whoever gets the row back decided."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection

from . import transitions
from .approval import APPROVED, EXPIRED, REJECTED
from .statements import run
from .transitions import Due

#: Not for jobs that have ended: nobody would go on.
DECIDE = """
UPDATE understudy_approvals SET state = :state, decided_by = :by, comment = :comment, decided_at = <now>
WHERE id = :id AND state = 'pending' AND (deadline > <now> OR :state = 'expired')
    AND EXISTS (SELECT 1 FROM understudy_jobs AS j
        WHERE j.id = understudy_approvals.job_id AND j.state IN ('delayed', 'waiting', 'active'))
RETURNING job_id, position"""

SETTLE = """
UPDATE understudy_steps SET state = 'completed', result = :result, finished_at = <now>
WHERE job_id = :job_id AND position = :position AND state = 'waiting'"""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided.

    Attributes:
        approved: Whether the answer was yes.
        state: `approved`, `rejected` or `expired`.
        by: Who decided; empty when nobody did.
        comment: What they said.
    """

    approved: bool
    state: str
    by: str = ""
    comment: str = ""

    def encoded(self) -> str:
        """Return it as the step's result."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def of(cls, result: Any) -> Decision:
        """Return the decision that a step's result holds."""
        return cls(**result)


NOBODY = Decision(approved=False, state=EXPIRED)


def id_of(job_id: str, position: int) -> str:
    """Return the id of the approval that a step asks for: always the same one, however often the step is reached."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"understudy:{job_id}:{position}"))


def decide(connection: Connection, id: str, decision: Decision, *, fair: bool = True) -> list[Due] | None:
    """Decide an approval and let its job go on.

    Args:
        connection: In a transaction.
        id: The approval.
        decision: What was decided.
        fair: Whether tenants take turns.

    Returns:
        The job if it now waits to be claimed; None when the approval was decided before, has expired, or its job ended.
    """
    state = APPROVED if decision.approved else REJECTED
    row = run(connection, DECIDE, id=id, state=state, by=decision.by, comment=decision.comment).first()
    if row is None:
        return None
    run(connection, SETTLE, job_id=row[0], position=row[1], result=decision.encoded())
    return transitions.wake(connection, [row[0]], fair=fair)


def expire(connection: Connection, id: str) -> bool:
    """Let an approval expire, as its step's time is over; tell whether nobody had decided."""
    return run(connection, DECIDE, id=id, state=EXPIRED, by=None, comment=None).first() is not None
