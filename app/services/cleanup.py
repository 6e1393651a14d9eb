"""What is thrown away or put aside, and when (requirements E02 to E07).

Each function works in chunks and commits each, so that it holds no lock for long, loses no more
than a chunk when it is interrupted, and goes on where it was when it is run again.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from app.extensions import db
from app.models.audit_log import AuditLog, AuditLogArchive
from app.models.base import utcnow
from app.models.invitation import Invitation
from app.models.password_reset_token import PasswordResetToken
from app.models.session import Session
from app.models.workflow_execution import WorkflowExecution
from app.services.workflows import executions

SESSIONS_KEPT = dt.timedelta(days=30)
INVITATIONS_KEPT = dt.timedelta(days=7)
TEMPORARY_FILES_KEPT = dt.timedelta(hours=24)
AUDIT_LOGS_KEPT = dt.timedelta(days=365)
FAILED_WORKFLOWS_KEPT = dt.timedelta(days=30)

CHUNK = 1_000


def delete_old_sessions() -> int:
    """Delete sessions that were started more than 30 days ago (E02); return how many."""
    return _delete(Session, Session.created_at < utcnow() - SESSIONS_KEPT)


def delete_expired_reset_tokens() -> int:
    """Delete password-reset tokens that have expired (E03); return how many."""
    return _delete(PasswordResetToken, PasswordResetToken.expires_at < utcnow())


def delete_expired_invitations() -> int:
    """Delete invitations that expired 7 days ago or earlier, unaccepted (E04); return how many."""
    return _delete(
        Invitation,
        Invitation.expires_at < utcnow() - INVITATIONS_KEPT,
        Invitation.accepted_at.is_(None),
    )


def delete_failed_workflows() -> int:
    """Delete workflow executions that failed more than 30 days ago (E07); return how many."""
    executions.settle_old()
    return _delete(
        WorkflowExecution,
        WorkflowExecution.status == "failed",
        sa.func.coalesce(WorkflowExecution.finished_at, WorkflowExecution.created_at)
        < utcnow() - FAILED_WORKFLOWS_KEPT,
    )


def delete_old_files(folder: Path) -> int:
    """Delete files under ``folder`` that nobody wrote to for 24 hours (E05); return how many.

    Symbolic links are removed, never followed; folders that become empty go too.
    """
    limit = (utcnow() - TEMPORARY_FILES_KEPT).timestamp()
    deleted = 0
    for path, is_folder in _walk_up(folder):
        try:
            if path.lstat().st_mtime >= limit:
                continue
            if is_folder:
                path.rmdir()
            else:
                path.unlink()
                deleted += 1
        except OSError:
            continue  # gone already, in use, or a folder that is not empty
    return deleted


def archive_audit_logs(report: Callable[[int], None] = lambda moved: None) -> int:
    """Move audit logs of more than a year ago to the archive (E06); return how many.

    A chunk is copied and deleted in one transaction. A row that is in the archive already is only
    deleted, so a run can follow a half run, or another database's restore.

    Args:
        report: Told the number of rows moved so far after each chunk; may raise to stop.
    """
    oldest_kept = utcnow() - AUDIT_LOGS_KEPT
    moved = 0
    while ids := _lock_chunk(AuditLog, AuditLog.created_at < oldest_kept):
        db.session.execute(_copy_to_archive(ids))
        db.session.execute(sa.delete(AuditLog).where(AuditLog.id.in_(ids)))
        db.session.commit()
        moved += len(ids)
        report(moved)
    return moved


def _copy_to_archive(ids: list[str]) -> sa.Insert:
    columns = [column.name for column in sa.inspect(AuditLog).columns]
    source = sa.select(
        *(getattr(AuditLog, name) for name in columns),
        sa.literal(utcnow(), type_=AuditLogArchive.__table__.c.archived_at.type),
    ).where(AuditLog.id.in_(ids))
    dialect = sqlite if db.engine.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(AuditLogArchive).from_select([*columns, "archived_at"], source)
    return statement.on_conflict_do_nothing()


def _delete(model: Any, *conditions: sa.ColumnElement[bool]) -> int:
    deleted = 0
    while ids := _lock_chunk(model, *conditions):
        db.session.execute(sa.delete(model).where(model.id.in_(ids)))
        db.session.commit()
        deleted += len(ids)
    return deleted


def _lock_chunk(model: Any, *conditions: sa.ColumnElement[bool]) -> list[str]:
    """Return the ids of the next rows, locked; ends the transaction when there are none."""
    statement = sa.select(model.id).where(*conditions).limit(CHUNK)
    ids = list(db.session.scalars(statement.with_for_update(skip_locked=True)).all())
    if not ids:
        db.session.rollback()
    return ids


def _walk_up(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Yield what is in ``folder``, the contents of a folder before the folder itself."""
    for root, folders, files in os.walk(folder, topdown=False, followlinks=False):
        for name in files:
            yield Path(root, name), False
        for name in folders:
            path = Path(root, name)
            yield path, not path.is_symlink()
