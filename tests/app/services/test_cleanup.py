import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.extensions import db
from app.models.audit_log import AuditLog, AuditLogArchive
from app.models.base import Base, new_id, utcnow
from app.models.invitation import Invitation
from app.models.password_reset_token import PasswordResetToken
from app.models.session import Session
from app.models.tenant import Tenant
from app.models.user import User
from app.models.workflow_execution import WorkflowExecution
from app.services import cleanup

Ids = list[str]


def ago(**units: float) -> dt.datetime:
    return utcnow() - dt.timedelta(**units)


def ahead(**units: float) -> dt.datetime:
    return utcnow() + dt.timedelta(**units)


@pytest.fixture
def keep(app: Flask) -> Any:
    """Stay inside the app."""
    with app.app_context():
        yield


def add(*rows: Base) -> Ids:
    db.session.add_all(rows)
    db.session.commit()
    return [row.id for row in rows]  # type: ignore[attr-defined]


def left(model: Any) -> set[str]:
    return set(db.session.scalars(sa.select(model.id)).all())


@pytest.mark.requirement("E02")
def test_sessions_older_than_30_days_are_deleted(keep: None, user_a: User) -> None:
    def session(started: dt.datetime) -> Session:
        owner = {"tenant_id": user_a.tenant_id, "user_id": user_a.id}
        return Session(id=new_id(), digest=new_id(), created_at=started, expires_at=ahead(days=1), **owner)

    _, kept = add(session(ago(days=30, minutes=1)), session(ago(days=29, hours=23)))

    assert cleanup.delete_old_sessions() == 1
    assert left(Session) == {kept}


@pytest.mark.requirement("E03")
def test_expired_reset_tokens_are_deleted(keep: None, user_a: User) -> None:
    def token(expires_at: dt.datetime) -> PasswordResetToken:
        owner = {"tenant_id": user_a.tenant_id, "user_id": user_a.id}
        return PasswordResetToken(id=new_id(), digest=new_id(), expires_at=expires_at, **owner)

    _, kept = add(token(ago(seconds=1)), token(ahead(minutes=1)))

    assert cleanup.delete_expired_reset_tokens() == 1
    assert left(PasswordResetToken) == {kept}


@pytest.mark.requirement("E04")
def test_invitations_expired_for_7_days_are_deleted(keep: None, tenant_a: Tenant) -> None:
    def invitation(expires_at: dt.datetime, accepted: bool = False) -> Invitation:
        return Invitation(
            id=new_id(),
            tenant_id=tenant_a.id,
            email="new@aster.example",
            digest=new_id(),
            expires_at=expires_at,
            accepted_at=expires_at if accepted else None,
        )

    _, *kept = add(
        invitation(ago(days=7, minutes=1)),
        invitation(ago(days=6, hours=23)),
        invitation(ahead(days=1)),
        invitation(ago(days=90), accepted=True),
    )

    assert cleanup.delete_expired_invitations() == 1
    assert left(Invitation) == set(kept)


@pytest.mark.requirement("E05")
def test_files_older_than_24_hours_are_deleted(tmp_path: Path) -> None:
    def file(name: str, hours: float) -> Path:
        path = tmp_path / "tmp" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        return _aged(path, hours)

    old, deep, new = file("old.csv", 24.1), file("a/b/old.csv", 25), file("new.csv", 23.9)
    outside = _aged(tmp_path / "outside.txt", 48, text="precious")
    link = tmp_path / "tmp" / "link"
    link.symlink_to(outside)
    os.utime(link, (0, 0), follow_symlinks=False)
    _aged(tmp_path / "tmp" / "a" / "b", 48)

    assert cleanup.delete_old_files(tmp_path / "tmp") == 3
    assert not old.exists() and not deep.exists() and not link.is_symlink()
    assert new.exists()
    assert outside.read_text() == "precious"


def test_missing_folder_is_an_empty_one(tmp_path: Path) -> None:
    assert cleanup.delete_old_files(tmp_path / "nothing") == 0


def _aged(path: Path, hours: float, text: str | None = None) -> Path:
    if text is not None:
        path.write_text(text)
    moment = ago(hours=hours).timestamp()
    os.utime(path, (moment, moment))
    return path


@pytest.fixture
def add_logs(keep: None) -> Callable[..., Ids]:
    def add_them(count: int, age: dt.datetime) -> Ids:
        return add(
            *(
                AuditLog(
                    id=new_id(),
                    tenant_id="t",
                    subject="cli",
                    action="x.do",
                    details={"n": number},
                    created_at=age,
                )
                for number in range(count)
            )
        )

    return add_them


@pytest.mark.requirement("E06", "K05")
def test_audit_logs_of_more_than_a_year_ago_move_to_the_archive(
    add_logs: Callable[..., Ids], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "CHUNK", 10)
    old, new = add_logs(25, ago(days=365, minutes=1)), add_logs(3, ago(days=364))
    reports: list[int] = []

    assert cleanup.archive_audit_logs(reports.append) == 25

    assert left(AuditLog) == set(new)
    assert left(AuditLogArchive) == set(old)
    assert reports == [10, 20, 25]
    row = db.session.get(AuditLogArchive, old[7])
    assert row is not None
    assert (row.details, row.action) == ({"n": 7}, "x.do")
    assert row.created_at < row.archived_at


@pytest.mark.requirement("E06")
def test_archiving_goes_on_where_it_was_interrupted(
    add_logs: Callable[..., Ids], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "CHUNK", 10)
    old = add_logs(25, ago(days=400))

    def stop(moved: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cleanup.archive_audit_logs(stop)
    db.session.rollback()
    assert (len(left(AuditLog)), len(left(AuditLogArchive))) == (15, 10)

    assert cleanup.archive_audit_logs() == 15
    assert left(AuditLogArchive) == set(old)


@pytest.mark.requirement("E06")
def test_copy_and_deletion_of_a_chunk_are_one_transaction(
    add_logs: Callable[..., Ids], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = add_logs(3, ago(days=400))
    with monkeypatch.context() as patch:
        patch.setattr(db.session, "commit", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cleanup.archive_audit_logs()
    db.session.rollback()

    assert left(AuditLog) == set(old)
    assert left(AuditLogArchive) == set()


@pytest.mark.requirement("E06")
def test_row_that_is_in_the_archive_already_is_only_deleted(
    add_logs: Callable[..., Ids],
) -> None:
    (old,) = add_logs(1, ago(days=400))
    add(AuditLogArchive(id=old, tenant_id="t", subject="cli", action="first", details={}))

    assert cleanup.archive_audit_logs() == 1

    assert left(AuditLog) == set()
    assert db.session.scalars(sa.select(AuditLogArchive.action)).all() == ["first"]


@pytest.mark.requirement("E07", "N07")
def test_workflows_that_failed_30_days_ago_are_deleted(keep: None, tenant_a: Tenant) -> None:
    def run(status: str, finished_at: dt.datetime | None, **more: Any) -> WorkflowExecution:
        return WorkflowExecution(
            id=new_id(),
            tenant_id=tenant_a.id,
            workflow_id="onboarding",
            status=status,
            finished_at=finished_at,
            **more,
        )

    _, _, *kept = add(
        run("failed", ago(days=30, minutes=1)),
        run("failed", None, created_at=ago(days=31)),
        run("failed", ago(days=29)),
        run("completed", ago(days=300)),
        run("running", None, created_at=ago(days=300)),
    )

    assert cleanup.delete_failed_workflows() == 2
    assert left(WorkflowExecution) == set(kept)
