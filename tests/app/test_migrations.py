"""The one history of the service's tables and the library's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from tests.app.processes import ROOT, clean_environment, flask

Environment = dict[str, str]

OLD_JOB = """
INSERT INTO understudy_jobs (id, tenant, queue, actor, state, priority, run_at, created_at)
VALUES (:id, :tenant, 'email', 'email:send', :state, 3, '2026-01-01 00:00:00', '2026-01-01 00:00:00')"""

OLD_SCHEDULE = """
INSERT INTO understudy_schedules (name, actor, expression, timezone, args, kwargs, enabled, created_at, updated_at)
VALUES ('daily', 'work', '@daily', 'UTC', '[]', '{}', false, '2026-01-01 00:00:00', '2026-01-01 00:00:00')"""

OLD_FIRE = """
INSERT INTO understudy_schedule_fires (schedule, slot, job_id, outcome, at)
VALUES ('daily', '2026-01-01 00:00:00', 'j', 'fired', '2026-01-01 00:00:00')"""


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """The environment of a service on an empty database."""
    environ = {
        "INSTANCE_PATH": str(tmp_path / "instance"),
        "SECRET_KEY": "a key for tests only",
        "LOG_LEVEL": "warning",
    }
    if request.param == "sqlite":
        yield environ
        return
    databases = request.getfixturevalue("postgres_databases")
    url = databases.create()
    yield environ | {"DATABASE_URL": url}
    databases.drop(url)


@pytest.mark.timeout(120)
@pytest.mark.requirement("K07")
def test_one_command_makes_all_tables_and_nothing_is_left_to_migrate(empty: Environment) -> None:
    flask(empty, "db", "upgrade")

    assert "No new upgrade operations detected" in flask(empty, "db", "check")
    flask(empty, "demo")

    flask(empty, "db", "downgrade", "base")
    flask(empty, "db", "upgrade")


def test_history_has_one_head(empty: Environment) -> None:
    assert len(flask(empty, "db", "heads").splitlines()) == 1


@pytest.mark.parametrize("empty", ["postgresql"], indirect=True)
def test_two_releases_at_once_migrate_once(empty: Environment) -> None:
    releases = [
        subprocess.Popen(
            [sys.executable, "-m", "flask", "db", "upgrade"],
            cwd=ROOT,
            env=clean_environment() | empty,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]

    errors = [release.communicate(timeout=60)[1] for release in releases]

    assert [release.returncode for release in releases] == [0, 0], errors


@pytest.mark.requirement("H17")
def test_command_without_tables_says_what_to_run(empty: Environment) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flask", "tokens", "list", "--tenant", "acorn"],
        cwd=ROOT,
        env=clean_environment() | empty,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert done.stderr.strip().endswith("Error: the database has no tables; run: flask db upgrade")
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(120)
@pytest.mark.requirement("L05", "K07")
def test_jobs_that_had_ended_before_are_counted(empty: Environment, tmp_path: Path) -> None:
    flask(empty, "db", "upgrade", "0001")
    database = create_engine(empty.get("DATABASE_URL") or f"sqlite:///{tmp_path / 'instance' / 'app.db'}")
    with database.begin() as connection:
        for id, tenant, state in (
            ("1", "a", "completed"),
            ("2", "a", "completed"),
            ("3", "b", "failed"),
            ("4", "b", "waiting"),
        ):
            connection.execute(text(OLD_JOB), {"id": id, "tenant": tenant, "state": state})

    flask(empty, "db", "upgrade")

    with database.connect() as connection:
        counts = connection.execute(text("SELECT tenant, queue, state, n FROM understudy_counts ORDER BY tenant")).all()
    database.dispose()
    assert [tuple(row) for row in counts] == [("a", "email", "completed", 2), ("b", "email", "failed", 1)]


@pytest.mark.timeout(120)
@pytest.mark.requirement("K02", "K07")
def test_schedules_and_their_slots_outlive_the_migration_both_ways(empty: Environment, tmp_path: Path) -> None:
    flask(empty, "db", "upgrade", "0002")
    database = create_engine(empty.get("DATABASE_URL") or f"sqlite:///{tmp_path / 'instance' / 'app.db'}")
    with database.begin() as connection:
        connection.execute(text(OLD_SCHEDULE))
        connection.execute(text(OLD_FIRE))

    flask(empty, "db", "upgrade")
    with database.connect() as connection:
        schedule = connection.execute(text("SELECT id, tenant, name, enabled, missed FROM understudy_schedules")).one()
        fire = connection.execute(text("SELECT schedule, job_id, outcome FROM understudy_schedule_fires")).one()
    flask(empty, "db", "downgrade", "0002")
    with database.connect() as connection:
        names = connection.execute(text("SELECT name, kwargs FROM understudy_schedules")).all()
        fires = connection.execute(text("SELECT schedule, job_id FROM understudy_schedule_fires")).all()
    database.dispose()

    assert tuple(schedule) == ("daily", "", "daily", False, "latest")
    assert tuple(fire) == ("daily", "j", "fired")
    assert [row.name for row in names] == ["daily"]
    assert [tuple(row) for row in fires] == [("daily", "j")]
