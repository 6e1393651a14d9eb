"""The audit: who did what through the doors."""

from __future__ import annotations

import json
from typing import Any

from flask import Response
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from ..contrib.api import Answer, Body
from ..contrib.exports.links import content_disposition
from ..contrib.exports.values import csv_line, encoded
from ..ledger import AuditLine
from .callers import caller, state
from .doors import door
from .exporting import MEDIA_TYPE, MOST
from .finding import Word
from .shapes import Instant, Shape

TAG = "Audit"


class Wanted(Body):
    """Which lines."""

    action: Word | None = None
    subject: Word | None = None
    target: Word | None = None
    since: Instant | None = Field(default=None, description="Written at this time or later.")
    until: Instant | None = Field(default=None, description="Written before this time.")


class AuditQuery(Wanted):
    """Which lines, a page at a time."""

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
    with Session(state().database.engine) as session:
        found = _lines(session, query, query.before, query.limit + 1)
    shown = found[: query.limit]
    return Lines(data=shown, next=shown[-1].id if len(found) > query.limit else None)


@door(
    "/audit/export",
    scope="admin",
    tag=TAG,
    query=Wanted,
    answers={200: Answer(media_type="text/csv", description="A line for each act, below the names of the columns.")},
)
def export_audit(query: Wanted) -> Response:
    """Download what was done as CSV, the latest first; of more than 10,000 lines the first, as the name then says."""
    with Session(state().database.engine) as session:
        found = _lines(session, query, None, MOST + 1)
    names = list(Line.model_fields)
    rows = [[getattr(line, name) for name in names[:-1]] + [_text(line.detail)] for line in found[:MOST]]
    text = csv_line([field.alias or name for name, field in Line.model_fields.items()]) + "".join(map(csv_line, rows))
    response = Response(encoded(text), content_type=MEDIA_TYPE)
    name = "audit.csv" if len(found) <= MOST else f"audit-first-{MOST}.csv"
    response.headers["Content-Disposition"] = content_disposition(name)
    return response


def _lines(session: Session, wanted: Wanted, before: int | None, n: int) -> list[Line]:
    lines = select(AuditLine).where(caller().scope.of(AuditLine)).order_by(AuditLine.id.desc()).limit(n)
    for name in ("action", "subject", "target"):
        if (value := getattr(wanted, name)) is not None:
            lines = lines.where(getattr(AuditLine, name) == value)
    if wanted.since is not None:
        lines = lines.where(AuditLine.at >= wanted.since)
    if wanted.until is not None:
        lines = lines.where(AuditLine.at < wanted.until)
    if before is not None:
        lines = lines.where(AuditLine.id < before)
    return [
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
        for line in session.scalars(lines)
    ]


def _text(detail: dict[str, Any] | None) -> str | None:
    return None if detail is None else json.dumps(detail, ensure_ascii=False)
