"""Asking for exports and fetching them, and reports and an organisation's data as well (requirements I02, I03, P09)."""

from __future__ import annotations

import base64
import contextlib
import logging
import re
from typing import Annotated, Any

from flask import Blueprint, Response, request, url_for
from pydantic import Field, StringConstraints
from werkzeug.wsgi import wrap_file

from app import paging
from app.actors.exports import generate_export
from app.auth import current_principal, requires
from app.extensions import db, jobs
from app.models.base import utcnow
from app.models.export_job import ExportJob, ExportStatus
from app.services import audit
from app.services.exports import files, lifecycle
from flask_understudy.contrib.api import Body, Problem, instant, not_found, once, read_body, read_query
from flask_understudy.contrib.exports import (
    FileMissing,
    LinkExpired,
    LinkInvalid,
    StorageUnavailable,
    content_disposition,
)
from flask_understudy.errors import JobConflict, JobNotFound

bp = Blueprint("exports", __name__, url_prefix="/api/exports")

log = logging.getLogger("app.exports")

LIST = "exports"
_ID = re.compile(r"[0-9a-f-]{36}")


class Order(Body):
    """What somebody wants to have in a file."""

    type: Annotated[str, StringConstraints(max_length=100)]
    filters: dict[str, Any] | None = None
    format: Annotated[str, StringConstraints(max_length=20)] = "csv"
    notify_email: Annotated[str, StringConstraints(max_length=254)] | None = None


class Page(Body):
    """Which part of the list."""

    limit: int = Field(50, ge=1, le=1000)
    cursor: Annotated[str, StringConstraints(max_length=500)] | None = None


@bp.post("")
@requires("enqueue")
def order() -> Response:
    """Store the order and its job, both or neither; ``queued`` is false while the broker is down (J02)."""
    caller = current_principal()
    return once(db.session, caller.tenant, caller.subject, _order)


def _order() -> tuple[dict[str, Any], int, dict[str, str]]:
    body, caller = read_body(Order), current_principal()
    export = lifecycle.order(caller, body.type, body.filters or {}, body.format, body.notify_email)
    audit.record("export.create", tenant_id=caller.tenant, subject=caller.subject, target=export.id)
    export.job_id = generate_export.send(export.id).message_id
    answer = shown(export)
    location = url_for("exports.detail", export_id=export.id)
    db.session.commit()  # whether the broker takes it shows now
    return {"exportJob": answer, "queued": jobs.is_broker_up}, 201, {"Location": location}


@bp.get("")
@requires("read")
def listing() -> dict[str, Any]:
    """List the caller's exports, reports and data exports, the latest first; ``kind`` tells them apart."""
    query = read_query(Page)
    after = paging.place(query.cursor, LIST) if query.cursor else None
    found = lifecycle.page(current_principal(), query.limit + 1, after)
    page = found[: query.limit]
    more = paging.cursor(page[-1].created_at, page[-1].id, LIST) if len(found) > query.limit else None
    return {"data": [shown(export) for export in page], "nextCursor": more}


@bp.get("/<export_id>")
@requires("read")
def detail(export_id: str) -> dict[str, Any]:
    """Describe an export; ``fileUrl`` is a link for a quarter of an hour, once the file is there."""
    return {"exportJob": shown(_own(export_id))}


@bp.get("/<export_id>/download")
@requires("read")
def download(export_id: str) -> Response:
    """Send the file to its owner. A link that was signed is checked as well, and opens nothing alone."""
    export = _own(export_id)
    if "token" in request.args:
        _check_link(export, request.args["token"])
    if export.status is not ExportStatus.COMPLETED:
        detail = f"The export has failed: {export.error}"
        if export.status is not ExportStatus.FAILED:
            detail = f"The export is {export.status}; the file is not there yet."
        raise Problem(409, detail=detail, headers={"Retry-After": "2"}, status_of_export=export.status)
    if export.file_key is None or (export.expires_at and export.expires_at <= utcnow()):
        raise Problem(410, detail="The file has expired and was deleted; ask for a new export.")
    try:
        if (url := files.elsewhere(export)) is not None:
            return _sent_on(url)
        file = files.storage().open(export.file_key)
    except FileMissing:
        raise Problem(410, detail="The file is gone; ask for a new export.") from None
    response = Response(
        wrap_file(request.environ, file, 64 * 1024),
        content_type=files.format_of(export).media_type,
        direct_passthrough=True,
    )
    response.content_length = export.size or 0
    response.headers["Content-Disposition"] = content_disposition(files.name_of(export))
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response.headers["Referrer-Policy"] = "no-referrer"
    digest = base64.b64encode(bytes.fromhex(export.sha256 or "")).decode()
    response.headers["Repr-Digest"] = f"sha-256=:{digest}:"  # RFC 9530
    return response


@bp.delete("/<export_id>")
@requires("enqueue")
def delete(export_id: str) -> tuple[str, int]:
    """Delete an export with its file; one that is being made is stopped."""
    export, caller = _own(export_id), current_principal()
    is_unfinished, job_id = export.status in lifecycle.UNFINISHED, export.job_id
    lifecycle.delete(export)
    audit.record("export.delete", tenant_id=caller.tenant, subject=caller.subject, target=export_id)
    db.session.commit()
    if is_unfinished and job_id is not None:
        # What has ended meanwhile found no export to write to.
        with contextlib.suppress(JobConflict, JobNotFound):
            jobs.cancel(job_id)
    return "", 204


def shown(export: ExportJob) -> dict[str, Any]:
    """Return an export as the API shows it."""
    return {
        "id": export.id,
        "userId": export.user_id,
        "kind": export.kind,
        "type": export.type,
        "status": export.status,
        "format": export.format,
        "filters": export.filters,
        "entities": export.entities,
        "notifyEmail": export.notify_email,
        "jobId": export.job_id,
        "fileUrl": files.signed_url(export) if export.file_key else None,
        "size": export.size,
        "rows": export.rows,
        "sha256": export.sha256,
        "error": export.error,
        "createdAt": instant(export.created_at),
        "completedAt": instant(export.completed_at),
        "expiresAt": instant(export.expires_at),
    }


@bp.errorhandler(StorageUnavailable)
def unreachable(error: StorageUnavailable) -> Response:
    """Answer 503 while the storage refuses or is away; why is for the log."""
    log.error("%s", error)
    detail = "The files cannot be reached at present; try again later."
    return Problem(503, detail=detail, headers={"Retry-After": "10"}).response()


def _sent_on(url: str) -> Response:
    response = Response(status=302, headers={"Location": url})
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _own(export_id: str) -> ExportJob:
    export = lifecycle.own(current_principal(), export_id) if _ID.fullmatch(export_id) else None
    if export is None:
        raise not_found()
    return export


def _check_link(export: ExportJob, token: str) -> None:
    try:
        files.check_link(export, token)
    except LinkExpired as error:
        raise Problem(410, detail=str(error)) from None
    except LinkInvalid as error:
        raise Problem(403, detail=str(error)) from None
