"""What jobs wait for people to decide, and deciding it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select, tuple_
from sqlalchemy.orm import Session

from ..errors import JobConflict, JobNotFound
from ..ledger import Approval, approvals
from ..ledger.approvals import Decision
from ..ledger.scope import EVERYTHING, Scope
from ..state import State
from .jobs import announce
from .transaction import after_commit, joined_session, transaction


def find(state: State, id: str, scope: Scope = EVERYTHING) -> Approval | None:
    """Return an approval, or None when there is none within the scope."""
    found = _read(state, select(Approval).where(Approval.id == id, scope.of(Approval)))
    return found[0] if found else None


def listing(
    state: State,
    scope: Scope = EVERYTHING,
    *,
    only: str | None = "pending",
    after: tuple[datetime, str] | None = None,
    n: int = 50,
) -> Sequence[Approval]:
    """Return approvals, the one that was asked for last first.

    Args:
        state: The application's side of the library.
        scope: Whose.
        only: Only those in this state; None = all.
        after: Time and id of the last one of the page before.
        n: At the most so many.
    """
    query = select(Approval).where(scope.of(Approval)).order_by(Approval.asked_at.desc(), Approval.id.desc()).limit(n)
    if only is not None:
        query = query.where(Approval.state == only)
    if after is not None:
        query = query.where(tuple_(Approval.asked_at, Approval.id) < tuple_(*after))
    return _read(state, query)


def decide(state: State, id: str, *, approved: bool, by: str, comment: str = "", scope: Scope = EVERYTHING) -> Approval:
    """Decide an approval, once, and let its job go on.

    Raises:
        JobNotFound: There is no such approval.
        JobConflict: It was decided before, has expired, or its job has ended; says which.
    """
    if find(state, id, scope) is None:
        raise JobNotFound(f"There is no approval {id!r}.")
    decision = Decision(approved, "approved" if approved else "rejected", by, comment)
    with transaction(state) as connection:
        due = approvals.decide(connection, id, decision, fair=state.config.fair)
    if due is None:
        known = find(state, id, scope)
        raise JobConflict(_refusal(known))
    after_commit(state, lambda: announce(state, due))
    decided = find(state, id, scope)
    assert decided is not None
    return decided


def _refusal(known: Approval | None) -> str:
    if known is None:
        return "This approval is gone."
    if known.state in {"approved", "rejected"}:
        return f"This was {known.state} already, by {known.decided_by or 'somebody'}."
    return "This cannot be decided any more: its time is over, or its job has ended."


def _read(state: State, query: Select[Any]) -> list[Approval]:
    session = joined_session(state)
    if session is not None:
        return list(session.scalars(query.execution_options(populate_existing=True)))
    with Session(state.database.engine, expire_on_commit=False) as own:
        return list(own.scalars(query))
