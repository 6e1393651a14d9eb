"""The audit: who did what through the doors."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from ..contrib.api import Body
from ..ledger import AuditLine
from .callers import caller, state
from .doors import door
from .finding import Word
from .shapes import Instant, Shape

TAG = "Audit"


class AuditQuery(Body):
    """Which lines."""

    action: Word | None = None
    subject: Word | None = None
    target: Word | None = None
    before: int | None = Field(default=None, ge=1, le=2**53, description="`next` of the page before.")
    limit: int = Field(50, ge=1, le=1000)


class Line(Shape):
    """One thing that somebody did."""

    id: int
    at: Instant
    tenant: str
    subject: str
    action: str
    target: str
    address: str | None
    detail: dict[str, Any] | None


class Lines(Shape):
    """A page of the audit, the latest line first."""

    data: list[Line]
    next: int | None


@door("/audit", scope="admin", tag=TAG, query=AuditQuery, answers={200: Lines})
def show_audit(query: AuditQuery) -> Lines:
    """List what was done, the latest first."""
    lines = select(AuditLine).where(caller().scope.of(AuditLine)).order_by(AuditLine.id.desc()).limit(query.limit + 1)
    for name in ("action", "subject", "target"):
        if (value := getattr(query, name)) is not None:
            lines = lines.where(getattr(AuditLine, name) == value)
    if query.before is not None:
        lines = lines.where(AuditLine.id < query.before)
    with Session(state().database.engine) as session:
        found = list(session.scalars(lines))
        page = [
            Line(
                id=line.id,
                at=line.at,
                tenant=line.tenant,
                subject=line.subject,
                action=line.action,
                target=line.target,
                address=line.address,
                detail=line.detail,
            )
            for line in found[: query.limit]
        ]
    return Lines(data=page, next=page[-1].id if len(found) > query.limit else None)
