"""Connections, and what SQLite needs to be trusted with jobs."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from flask_understudy.errors import ConfigError
from flask_understudy.ledger import Database
from tests.flask_understudy.conftest import MakeSite, Site


def pragma(connection: sa.Connection, name: str) -> Any:
    return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


def test_sqlite_is_durable_and_patient(sqlite_site: Site) -> None:
    with sqlite_site.app.app_context(), sqlite_site.db.engine.connect() as theirs:
        assert (pragma(theirs, "journal_mode"), pragma(theirs, "synchronous")) == ("wal", 2)
        assert pragma(theirs, "busy_timeout") == 15_000
    with sqlite_site.state.database.own_engine.connect() as ours:
        assert (pragma(ours, "journal_mode"), pragma(ours, "synchronous")) == ("wal", 2)


def test_claims_alone_do_without_a_sync_on_sqlite(sqlite_site: Site) -> None:
    database = sqlite_site.state.database
    with database.claims() as connection:
        assert pragma(connection, "synchronous") == 1
    for _ in range(3):
        with database.statement() as connection:
            assert pragma(connection, "synchronous") == 2


def test_claims_alone_do_without_a_sync_on_postgresql(make_site: MakeSite, postgres_ledger: str) -> None:
    site = make_site(postgres_ledger)

    @site.jobs.actor()
    def work() -> None: ...

    message = work.send()
    assert site.claim(site.process(), message) is not None
    with site.state.database.own_engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"


def test_the_application_cannot_use_up_the_library_s_connections(make_site: MakeSite, postgres_ledger: str) -> None:
    site = make_site(postgres_ledger, SQLALCHEMY_ENGINE_OPTIONS={"pool_size": 1, "max_overflow": 0})

    @site.jobs.actor()
    def work() -> None: ...

    message = work.send()
    with site.app.app_context(), site.db.engine.connect():
        assert site.claim(site.process(), message) is not None


def test_a_savepoint_before_the_first_write_is_part_of_the_transaction(sqlite_site: Site) -> None:
    with sqlite_site.app.app_context():
        with sqlite_site.db.session.begin_nested():
            sqlite_site.db.session.add(sqlite_site.Note(text="never"))
        sqlite_site.db.session.rollback()
    assert sqlite_site.notes() == []


def test_writers_wait_for_each_other_on_sqlite(sqlite_site: Site) -> None:
    """Two transactions that read first and write then do not meet "database is locked"."""

    @sqlite_site.jobs.actor()
    def work() -> None: ...

    errors = []

    def write(_: int) -> None:
        try:
            for _ in range(10):
                with sqlite_site.app.app_context():
                    sqlite_site.db.session.scalars(sa.select(sqlite_site.Note)).all()
                    sqlite_site.db.session.add(sqlite_site.Note(text="x"))
                    work.send()
                    sqlite_site.db.session.commit()
        except Exception as problem:
            errors.append(problem)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (len(sqlite_site.notes()), len(sqlite_site.all_jobs())) == (40, 40)


@pytest.mark.parametrize(("url", "in_memory"), [("sqlite://", True), ("sqlite:///:memory:", True)])
def test_memory_is_recognised(url: str, in_memory: bool) -> None:
    assert Database(sa.create_engine(url)).is_in_memory is in_memory


def test_a_file_is_no_memory(sqlite_site: Site) -> None:
    assert not sqlite_site.state.database.is_in_memory


def test_other_databases_are_refused() -> None:
    class MySQL:
        class dialect:
            name = "mysql"

    with pytest.raises(ConfigError, match="runs on PostgreSQL and SQLite; the application's database is mysql"):
        Database(MySQL())  # type: ignore[arg-type]


def test_closed_connections_are_opened_again(site: Site) -> None:
    site.state.database.close()
    assert site.all_jobs() == []
