"""An organisation's data over HTTP (I16), for its administrators alone: it holds everybody's."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Blueprint, Response, url_for
from pydantic import Field

from app.actors.data_exports import generate_data_export, queue_data_export
from app.auth import current_principal, requires
from app.extensions import db, jobs
from app.services import audit
from app.services.exports.shapes import FileOrder, Name, QueuedFile, WaitQuery, check_identity, waited
from flask_understudy.contrib.api import Answer, once, operation

bp = Blueprint("data_exports", __name__, url_prefix="/api/jobs/data-exports")


class DataOrder(FileOrder):
    """An export of the organisation's data."""

    entities: Annotated[list[Name], Field(max_length=20)] = Field(
        description="Some of stations, audits, incidents, work-permits, contractors and users."
    )
    format: Name = Field(default="json", description="json or csv.")


@bp.post("")
@requires("admin")
@operation(
    tag="Reports",
    body=DataOrder,
    query=WaitQuery,
    answers={202: QueuedFile, 200: Answer(QueuedFile, "The export has come to its end while the request waited.")},
)
def order_data(body: DataOrder, query: WaitQuery) -> Response:
    """Queue an export of your organisation's data; with `wait`, the answer has its link if it is ready by then."""
    check_identity(body)
    caller = current_principal()
    return waited(once(db.session, caller.tenant, caller.subject, lambda: _queue(body)), query.wait)


def _queue(body: DataOrder) -> tuple[dict[str, Any], int, dict[str, str]]:
    caller = current_principal()
    with jobs.transaction():  # the order and the line in the audit
        export = queue_data_export(
            organization_id=caller.tenant,
            entities=body.entities,
            format=body.format,
            user_id=caller.subject,
            notify_email=body.notify_email,
            priority=body.priority,
        )
        audit.record(
            "data-export.create",
            tenant_id=caller.tenant,
            subject=caller.subject,
            target=export.id,
            entities=body.entities,
        )
    shown = QueuedFile.of_export(export, generate_data_export.actor_name, generate_data_export.queue_name)
    return shown.answer(), 202, {"Location": url_for("exports.detail", export_id=export.id)}
