"""Writing down who did what."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from ..context import Principal
from ..encoding import printable
from ..ledger import AuditLine
from ..state import State

MOST_TARGET = 200


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


def record(state: State, principal: Principal, action: str, target: str, **detail: Any) -> None:
    """Write a line by itself, for what is done outside of a request."""
    with Session(state.database.engine) as session:
        session.add(line(principal, action, target, None, detail or None))
        session.commit()
