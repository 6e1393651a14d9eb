"""Reports over HTTP (I15): ordering one, and waiting for it."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, url_for
from pydantic import Field

from app.actors.reports import generate_report, queue_report
from app.auth import current_principal, requires
from app.extensions import db, jobs
from app.services import audit
from app.services.exports.shapes import FileOrder, Name, QueuedFile, WaitQuery, check_identity, waited
from flask_understudy.contrib.api import Answer, once, operation

bp = Blueprint("reports", __name__, url_prefix="/api/jobs/reports")


class ReportOrder(FileOrder):
    """A report."""

    type: Name = Field(description="audits, incidents, work-permits or compliance.")
    filters: dict[str, Any] | None = Field(
        default=None, description="dateFrom, dateTo, stationId, and those of the type."
    )
    format: Name = Field(default="json", description="json, csv, pdf or xlsx.")


@bp.post("")
@requires("enqueue")
@operation(
    tag="Reports",
    body=ReportOrder,
    query=WaitQuery,
    answers={202: QueuedFile, 200: Answer(QueuedFile, "The report has come to its end while the request waited.")},
)
def order_report(body: ReportOrder, query: WaitQuery) -> Response:
    """Queue a report on your organisation; with `wait`, the answer has its link if it is ready by then."""
    check_identity(body)
    caller = current_principal()
    return waited(once(db.session, caller.tenant, caller.subject, lambda: _queue(body)), query.wait)


def _queue(body: ReportOrder) -> tuple[dict[str, Any], int, dict[str, str]]:
    caller = current_principal()
    with jobs.transaction():  # the order and the line in the audit
        report = queue_report(
            type=body.type,
            organization_id=caller.tenant,
            filters=body.filters,
            format=body.format,
            user_id=caller.subject,
            notify_email=body.notify_email,
            priority=body.priority,
        )
        audit.record("report.create", tenant_id=caller.tenant, subject=caller.subject, target=report.id, type=body.type)
    shown = QueuedFile.of_export(report, generate_report.actor_name, generate_report.queue_name)
    return shown.answer(), 202, {"Location": url_for("exports.detail", export_id=report.id)}
