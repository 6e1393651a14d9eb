"""The life of an export: ordered, begun, finished or failed, expired, deleted (requirements K03, J02, C8).

The key of a file is in the row before its first byte is on the disk, and the attempt that wrote it
marks the row only while the key is still its own. So whatever dies in between, a file without a row is
never left behind, and a row without a file is never called complete.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from blinker import Signal

from app.extensions import db, jobs
from app.models.base import new_id, utcnow
from app.models.export_job import ExportJob, ExportKind, ExportStatus
from app.services.exports import files
from app.services.exports.checking import check_address, check_format, refused
from app.services.exports.files import Attempt
from app.services.exports.types import Owner, checked_filters, type_named
from app.services.ownership import check_own
from flask_understudy import Principal
from flask_understudy.contrib.exports import FORMATS, StorageUnavailable, StoredFile

log = logging.getLogger("app.exports")

UNFINISHED = (ExportStatus.PENDING, ExportStatus.PROCESSING)
LONGEST_ERROR = 500

#: Sent with the row of a file that is complete or has failed, in the transaction that says so: what a receiver writes
#: is committed with it.
ended = Signal()


def order(
    caller: Principal, type_: str, filters: Mapping[str, Any], format_: str, notify_email: str | None = None
) -> ExportJob:
    """Add an export to the caller's transaction, PENDING.

    Args:
        caller: Whose.
        type_: A name of `ExportType`.
        filters: Those of the type.
        format_: A name in `FORMATS`.
        notify_email: Who is mailed when it is ready, or has failed for good; None: nobody.

    Raises:
        Problem: 422 naming the type, format or filter that is unknown, and the valid ones; or the command
            that installs what the format needs.
    """
    kind = type_named(type_)
    check_format(format_, FORMATS)
    if kind == "USER_DATA" and caller.subject.startswith("token:"):
        raise refused("/type", "USER_DATA is what is known about a person; this token belongs to a program")
    check_address(notify_email)
    return add(
        tenant_id=caller.tenant,
        user_id=caller.subject,
        type=kind,
        format=format_,
        filters=checked_filters(kind, filters),
        notify_email=notify_email,
    )


def add(**fields: Any) -> ExportJob:
    """Add the row of a file to the caller's transaction, PENDING, from columns that were checked."""
    export = ExportJob(id=new_id(), status=ExportStatus.PENDING, **({"kind": ExportKind.EXPORT} | fields))
    db.session.add(export)
    db.session.flush()
    return export


def once(tenant_id: str, once_key: str) -> ExportJob | None:
    """Return what an organisation has under a key already."""
    return db.session.scalar(sa.select(ExportJob).filter_by(tenant_id=tenant_id, once_key=once_key))


def own(caller: Principal, export_id: str) -> ExportJob | None:
    """Return an export of the caller; None for anybody else's, and for none (P09)."""
    export = db.session.scalar(_owned(caller).where(ExportJob.id == export_id))
    if export is not None:
        settle(export)
    return export


def page(caller: Principal, limit: int, after: tuple[Any, str] | None = None) -> list[ExportJob]:
    """Return exports of the caller, the latest first.

    Args:
        caller: Whose.
        limit: How many at the most.
        after: ``created_at`` and ``id`` of the last one on the page before.
    """
    query = _owned(caller).order_by(ExportJob.created_at.desc(), ExportJob.id.desc()).limit(limit)
    if after is not None:
        moment = sa.literal(after[0], ExportJob.created_at.type)
        query = query.where(sa.tuple_(ExportJob.created_at, ExportJob.id) < sa.tuple_(moment, sa.literal(after[1])))
    found = list(db.session.scalars(query))
    for export in found:
        settle(export)
    return found


def begin(export_id: str) -> Attempt | None:
    """Mark an export as PROCESSING with a fresh key, and commit.

    What an earlier attempt left is deleted.

    Returns:
        What to write; None when the export was deleted or is complete.

    Raises:
        NotOwn: It is not of the running job's organisation.
        StorageUnavailable: It cannot be deleted; nothing has changed.
    """
    export = db.session.get(ExportJob, export_id, with_for_update=True, populate_existing=True)
    if export is not None:
        check_own(export.tenant_id, f"export {export_id!r:.80}")
    if export is None or export.status is ExportStatus.COMPLETED:
        db.session.rollback()
        return None
    with files.reaching():
        store = files.storage()
        if export.file_key is not None:
            store.delete(export.file_key)
    attempt = Attempt(
        export_id=export_id,
        owner=Owner(export.tenant_id, export.user_id),
        type=export.type,
        filters=dict(export.filters),
        format=export.format,
        key=store.new_key(),
        name=files.name_of(export),
        media_type=files.format_of(export).media_type,
        entities=tuple(export.entities or ()),
    )
    export.status = ExportStatus.PROCESSING
    export.file_key = attempt.key
    export.error = None
    db.session.commit()
    return attempt


def finish(attempt: Attempt, stored: StoredFile, rows: int | None) -> bool:
    """Mark an export as COMPLETED, and commit; return False when it is no longer this attempt's."""
    now = utcnow()
    is_ours = _mark(
        attempt,
        status=ExportStatus.COMPLETED,
        file_url=f"/api/exports/{attempt.export_id}/download",
        size=stored.size,
        sha256=stored.sha256,
        rows=rows,
        completed_at=now,
        expires_at=now + files.kept_for(),
    )
    if not is_ours:
        files.storage().delete(attempt.key)
        log.warning("an export was deleted or begun anew meanwhile", extra={"export": attempt.export_id})
    return is_ours


def fail(attempt: Attempt, error: str) -> None:
    """Mark an export as FAILED, and commit, if it is still this attempt's; its file is deleted.

    While the storage cannot be reached the key stays in the row, for `delete_expired`.
    """
    db.session.rollback()
    key = attempt.key if _is_left(attempt.key) else None
    _mark(attempt, status=ExportStatus.FAILED, error=error[:LONGEST_ERROR], file_key=key)


def fail_unbegun(export_id: str, error: str) -> None:
    """Mark an export as FAILED, and commit, whose last attempt could not even begin; the key stays in the row."""
    db.session.rollback()
    _end(export_id, _is_unfinished(export_id), status=ExportStatus.FAILED, error=error[:LONGEST_ERROR])


def settle(export: ExportJob) -> None:
    """Mark an unfinished export as FAILED, and commit, when its job has come to an end without it.

    That is so when the last attempt's process was killed, or somebody cancelled the job.
    """
    if export.status not in UNFINISHED or export.job_id is None:
        return
    job = jobs.get(export.job_id)
    if job is not None and job.state not in {"failed", "cancelled"}:
        return
    error = "Its job is gone." if job is None else job.error or job.reason or f"The job was {job.state}."
    key = export.file_key if export.file_key is not None and _is_left(export.file_key) else None
    unfinished = _is_unfinished(export.id)
    _end(export.id, unfinished, status=ExportStatus.FAILED, error=str(error)[:LONGEST_ERROR], file_key=key)
    db.session.refresh(export)


def delete(export: ExportJob) -> None:
    """Delete an export with its file, and ask its job to stop; the caller commits."""
    if export.file_key is not None:
        files.storage().delete(export.file_key)
    db.session.delete(export)


def delete_expired() -> int:
    """Delete the files that have expired and what dead processes left; return how many files.

    Exports whose job has died are marked as failed on the way. For a daily schedule (E05).
    """
    for export in db.session.scalars(sa.select(ExportJob).where(ExportJob.status.in_(UNFINISHED))).all():
        settle(export)
    store = files.storage()
    is_over = sa.or_(ExportJob.expires_at < utcnow(), ExportJob.status == ExportStatus.FAILED)
    expired = sa.select(ExportJob).where(is_over, ExportJob.file_key.is_not(None))
    deleted = 0
    for export in db.session.scalars(expired).all():
        deleted += store.delete(str(export.file_key))
        export.file_key = None
        db.session.commit()
    return deleted + store.sweep()


def _is_left(key: str) -> bool:
    """Delete a file; return whether it is left because the storage cannot be reached."""
    try:
        with files.reaching():
            files.storage().delete(key)
    except StorageUnavailable:
        log.warning("the file of a failed export is left for the next clean-up")
        return True
    return False


def _is_unfinished(export_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(ExportJob.id == export_id, ExportJob.status.in_(UNFINISHED))


def _owned(caller: Principal) -> sa.Select[ExportJob]:
    return sa.select(ExportJob).where(ExportJob.tenant_id == caller.tenant, ExportJob.user_id == caller.subject)


def _mark(attempt: Attempt, **values: Any) -> bool:
    mine = sa.and_(
        ExportJob.id == attempt.export_id,
        ExportJob.status == ExportStatus.PROCESSING,
        ExportJob.file_key == attempt.key,
    )
    return _end(attempt.export_id, mine, **values)


def _end(export_id: str, condition: sa.ColumnElement[bool], **values: Any) -> bool:
    """Write the end of a file if a condition on its row is met, tell of it, and commit; return whether it was met."""
    marked: sa.CursorResult[Any] = db.session.execute(sa.update(ExportJob).where(condition).values(values))  # type: ignore[assignment]
    if marked.rowcount == 1:
        ended.send(db.session.get_one(ExportJob, export_id, populate_existing=True))
    db.session.commit()
    return marked.rowcount == 1
