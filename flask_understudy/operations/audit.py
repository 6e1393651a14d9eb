"""Writing down who did what."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..context import Principal
from ..encoding import printable
from ..ledger import Approval, AuditLine, Batch, Bulk, Job, PublishedEvent
from ..state import State

MOST_TARGET = 200

#: What an action's noun names by its id, of those that belong to a tenant.
_OWNED: dict[str, Any] = {
    "job": Job,
    "workflow": Job,
    "bulk": Bulk,
    "batch": Batch,
    "approval": Approval,
    "event": PublishedEvent,
}


def line(
    principal: Principal, action: str, target: str, address: str | None, detail: dict[str, Any] | None = None
) -> AuditLine:
    """Return a line of the audit, to be added to the transaction of what it tells.

    Args:
        principal: Who.
        action: What, as `noun.verb`.
        target: To which job, queue or tenant.
        address: Where the request came from; None = not by HTTP.
        detail: Further facts.
    """
    return AuditLine(
        at=datetime.now(UTC),
        tenant=principal.tenant,
        subject=principal.subject,
        action=action,
        target=printable(target, MOST_TARGET),
        address=address,
        detail=detail,
    )


def whose(session: Session, principal: Principal, action: str, target: str) -> str:
    """Return the tenant whose audit tells of an action: of what is touched, when who does it sees every tenant.

    Asked before the action, which may delete its target.
    """
    noun = action.partition(".")[0]
    if "tenants" in principal.scopes:
        if noun == "tenant":
            return target
        if noun in _OWNED:
            owner = session.scalar(select(_OWNED[noun].tenant).where(_OWNED[noun].id == target))
            return principal.tenant if owner is None else str(owner)
    return principal.tenant


def record(state: State, principal: Principal, action: str, target: str, **detail: Any) -> None:
    """Write a line by itself, for what is done outside of a request."""
    with Session(state.database.engine) as session:
        written = line(principal, action, target, None, detail or None)
        written.tenant = whose(session, principal, action, target)
        session.add(written)
        session.commit()
