import datetime as dt
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.actors.cleanup import clean_up, retry_failed
from app.extensions import db, jobs
from app.models.audit_log import AuditLog, AuditLogArchive
from app.models.base import Base, utcnow
from app.models.invitation import Invitation
from app.models.password_reset_token import PasswordResetToken
from app.models.session import Session
from app.models.tenant import Tenant
from app.models.user import User
from app.models.workflow_execution import WorkflowExecution
from tests.app.conftest import AppFactory
from tools.waiting import wait_for

SCHEDULES = {
    "cleanup-sessions": ("cleanup:sessions", "0 2 * * *"),
    "cleanup-reset-tokens": ("cleanup:reset-tokens", "0 2 * * *"),
    "cleanup-invitations": ("cleanup:invitations", "0 2 * * *"),
    "cleanup-temporary-files": ("cleanup:temporary-files", "0 2 * * *"),
    "cache-cleanup": ("maintenance:cleanup", "every 1 hour"),
    "cleanup-exports": ("cleanup:exports", "0 2 * * *"),
    "cleanup-webhooks": ("cleanup:webhooks", "0 2 * * *"),
    "cleanup-old-jobs": ("cleanup:jobs", "0 2 * * *"),
    "archive-audit-logs": ("cleanup:audit-logs", "0 3 1 * *"),
    "cleanup-failed-workflows": ("cleanup:failed-workflows", "0 4 * * 0"),
}
LONG_AGO = dt.timedelta(days=400)


def table(name: str) -> sa.Table:
    return jobs.metadata.tables[f"understudy_{name}"]


@pytest.fixture
def app(make_app: AppFactory, database_url: str) -> Iterator[Flask]:
    """The service with a worker and its clock inside."""
    app = make_app(database_url, UNDERSTUDY_WORKER="in-process")
    with app.app_context():
        jobs.start_worker()
        yield app
        jobs.stop_worker()


@pytest.fixture
def rows(app: Flask) -> Callable[[], dict[str, Any]]:
    """The schedules, once the clock has written them down."""

    def read() -> dict[str, Any]:
        with db.engine.connect() as connection:
            found = connection.execute(sa.select(table("schedules"))).all()
        return {row.name: row for row in found if row.name in SCHEDULES}

    wait_for(lambda: len(read()) == len(SCHEDULES), "the schedules")
    return read


@pytest.mark.requirement("A23", "A32", "A51", "E02", "E03", "E04", "E05", "E06", "E07", "E09", "E13", "N04")
def test_maintenance_is_scheduled_in_utc(rows: Callable[[], dict[str, Any]]) -> None:
    schedules = rows()

    assert {n: (r.actor, r.expression) for n, r in schedules.items()} == SCHEDULES
    assert {r.timezone for r in schedules.values()} == {"UTC"}
    weekly = schedules["cleanup-failed-workflows"].next_run_at
    assert (weekly.strftime("%A"), weekly.hour) == ("Sunday", 4)
    monthly = schedules["archive-audit-logs"].next_run_at
    assert (monthly.day, monthly.hour) == (1, 3)


@pytest.fixture
def leftovers(app: Flask, user_a: User, tenant_a: Tenant) -> Path:
    """Something for each schedule to clean up; returns the temporary file."""
    past = utcnow() - LONG_AGO
    owner = {"tenant_id": tenant_a.id, "user_id": user_a.id}
    db.session.add_all(
        [
            Session(digest="s", created_at=past, expires_at=past, **owner),
            PasswordResetToken(digest="p", expires_at=past, **owner),
            Invitation(tenant_id=tenant_a.id, email="x@y.example", digest="i", expires_at=past),
            AuditLog(tenant_id=tenant_a.id, subject="cli", action="x.do", created_at=past),
            WorkflowExecution(tenant_id=tenant_a.id, workflow_id="w", status="failed", finished_at=past),
        ]
    )
    db.session.commit()
    file = Path(app.config["TEMP_DIR"], "upload.part")
    file.parent.mkdir(parents=True)
    file.write_text("half")
    os.utime(file, (past.timestamp(), past.timestamp()))
    return file


@pytest.mark.requirement("E02", "E03", "E04", "E05", "E06", "E07", "N04")
def test_clock_runs_the_maintenance_when_it_is_due(rows: Callable[[], dict[str, Any]], leftovers: Path) -> None:
    schedules = table("schedules")
    with db.engine.begin() as connection:
        connection.execute(sa.update(schedules).values(next_run_at=utcnow()))

    def states() -> dict[str, str]:
        statement = sa.select(table("jobs").c.actor, table("jobs").c.state)
        with db.engine.connect() as connection:
            return {row.actor: row.state for row in connection.execute(statement)}

    due = {actor for actor, _ in SCHEDULES.values()}
    wait_for(
        lambda: {a for a, s in states().items() if s == "completed"} >= due,
        "all jobs",
        timeout_seconds=30,
    )

    gone: list[type[Base]] = [
        Session,
        PasswordResetToken,
        Invitation,
        AuditLog,
        WorkflowExecution,
    ]
    for model in gone:
        assert db.session.scalars(sa.select(model)).all() == [], model
    assert len(db.session.scalars(sa.select(AuditLogArchive)).all()) == 1
    assert not leftovers.exists()
    assert all(row.next_run_at > utcnow() for row in rows().values())


@pytest.mark.requirement("C22", "D15", "A51")
def test_maintenance_has_three_attempts_and_goes_last(sqlite_app: Flask) -> None:
    with sqlite_app.app_context():
        job = jobs.get(clean_up.send().message_id)

    assert job is not None
    assert (job.queue, job.max_attempts, job.priority) == ("cleanup", 3, 5)


@pytest.mark.requirement("E14")
def test_failed_jobs_are_tried_again_each_night_once_an_operator_wants_it(app: Flask) -> None:
    wait_for(lambda: [one for one in jobs.schedules.list() if one.name == "retry-failed"], "the schedule")
    assert not jobs.schedules.get("retry-failed").enabled
    jobs.stop_worker()
    young, old = (clean_up.send().message_id for _ in range(2))
    ledger = table("jobs")
    with db.engine.begin() as connection:
        failed = {"state": "failed", "finished_at": utcnow()}
        connection.execute(sa.update(ledger).where(ledger.c.id.in_([young, old])).values(failed))
        ages = {"created_at": utcnow() - dt.timedelta(days=8)}
        connection.execute(sa.update(ledger).where(ledger.c.id == old).values(ages))

    assert retry_failed() == {"cleanup": 1}

    states = {id_: jobs.get(id_).state for id_ in (young, old)}
    assert states == {young: "waiting", old: "failed"}
