"""A small application with jobs for each test, on real databases and brokers.

`make_site(database_url, redis_url, SETTING=…)` builds one; `site` is one with the `database` transport and no worker,
once on SQLite and once on PostgreSQL; `carried_site` is one in each mode, to start a worker in.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dramatiq
import psycopg
import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Session

from flask_understudy import Understudy, signals
from flask_understudy.ledger import Job, metadata, queries, tallies, transitions
from flask_understudy.ledger.transitions import Claimed
from flask_understudy.signals import JobNotice
from flask_understudy.state import KEY, State
from flask_understudy.testing import TestWorker
from flask_understudy.worker import WorkerProcess
from tools.waiting import wait_for

MakeSite = Callable[..., "Site"]

_PREFIXES = ("UNDERSTUDY_", "QUEUE_", "SCHEDULER_", "REDIS_", "DATABASE_", "FLASK_", "AWS_", "SQS_")

#: Short times, so that nothing takes longer than it must; the published ones are in `Config`.
QUICK: dict[str, Any] = {
    "UNDERSTUDY_CLOCK_SECONDS": 0.05,
    "UNDERSTUDY_LEASE_SECONDS": 2,
    "UNDERSTUDY_RESCUE_GRACE_SECONDS": 0.2,
    "QUEUE_POLL_INTERVAL": 50,
    "QUEUE_SHUTDOWN_TIMEOUT": 5_500,
}


@dataclass
class Site:
    """An application with a table of its own and an `Understudy`."""

    app: Flask
    db: SQLAlchemy
    jobs: Understudy
    Note: Any
    state: State = field(init=False)
    worker: TestWorker = field(init=False)

    def __post_init__(self) -> None:
        self.state = self.app.extensions[KEY]
        self.worker = TestWorker(self.state)

    def notes(self) -> list[str]:
        """The texts of all committed notes."""
        with self.db_session() as session:
            return list(session.scalars(sa.select(self.Note.text).order_by(self.Note.id)))

    def db_session(self) -> Session:
        """A session apart from the application's."""
        with self.app.app_context():
            return Session(self.db.engine)

    def job(self, message: dramatiq.Message[Any] | str) -> Job:
        """A job as it is in the ledger now."""
        job = queries.find(self.state.database, message if isinstance(message, str) else message.message_id)
        assert job is not None, f"there is no job {message}"
        return job

    def all_jobs(self) -> list[Job]:
        """All jobs in the ledger."""
        return self.worker.sent()

    def change(self, message: dramatiq.Message[Any] | str, **sql: str) -> None:
        """Set columns of a job to SQL expressions, as only time or a fault would."""
        id = message if isinstance(message, str) else message.message_id
        columns = ", ".join(f"{name} = {expression}" for name, expression in sql.items())
        self.execute(f"UPDATE understudy_jobs SET {columns} WHERE id = '{id}'")
        if "state" in sql:
            self.recount()

    def execute(self, statement: str) -> None:
        """Execute SQL and commit it."""
        with self.state.database.transaction() as connection:
            connection.exec_driver_sql(statement)

    def recount(self) -> None:
        """Put the counts right after jobs were ended by SQL alone."""
        tallies.recount(self.state.database)

    def moment(self, seconds: float) -> str:
        """The database's now, plus seconds, as SQL."""
        if self.state.database.is_sqlite:
            return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', '{seconds} seconds') || '000')"
        return f"clock_timestamp() + interval '{seconds} seconds'"

    def tick(self) -> None:
        """Let the millisecond pass: SQLite and Redis tell no order within one."""
        time.sleep(0.002)

    def eventually(self, state: str, message: dramatiq.Message[Any] | str, *, within: float = 10) -> Job:
        """Wait until a job is in a state, and return it."""
        wait_for(lambda: self.job(message).state == state, f"the job to be {state}", timeout_seconds=within)
        return self.job(message)

    def start_worker(self) -> WorkerProcess:
        """Start the worker inside this process and wait until it is there."""
        self.state.config = dataclasses.replace(self.state.config, worker="in-process")
        self.jobs.start_worker()
        wait_for(lambda: self.jobs.broker.worker is not None, "the worker to start")
        assert self.jobs.broker.worker is not None
        return self.jobs.broker.worker

    def process(self, kind: str = "worker") -> WorkerProcess:
        """A worker that is in the ledger and does nothing by itself."""
        process = WorkerProcess(self.state, kind, [], 1)
        process.heartbeat.enter()
        return process

    def kill(self, process: WorkerProcess) -> None:
        """Let a worker's lease run out, as when its process died."""
        self.execute(f"UPDATE understudy_workers SET lease_until = {self.moment(-1)} WHERE id = '{process.id}'")

    def claim(self, process: WorkerProcess, message: dramatiq.Message[Any] | str) -> Claimed | None:
        """Claim one job for a worker; None when it may not be claimed."""
        id = message if isinstance(message, str) else message.message_id
        with self.state.database.claims() as connection:
            claimed = transitions.claim(connection, process.id, [id])
        return claimed[0] if claimed else None

    def close(self) -> None:
        """Stop everything and give up all connections."""
        self.jobs.stop_worker()
        self.worker.stop()
        self.state.stand_in.stop()
        self.state.transport.close()
        self.state.database.close()
        with self.app.app_context():
            self.db.session.remove()
            self.db.engine.dispose()


def build(database_url: str, redis_url: str | None = None, **config: Any) -> Site:
    """Build an application; its tables must be there."""
    db = SQLAlchemy()

    class Note(db.Model):  # type: ignore[name-defined, misc]
        id = sa.Column(sa.Integer, primary_key=True)
        text = sa.Column(sa.Text, nullable=False)

    app = Flask("site")
    app.config.update(
        {
            "TESTING": True,
            "SQLALCHEMY_DATABASE_URI": database_url,
            "UNDERSTUDY_WORKER": "off",
            **({"REDIS_URL": redis_url} if redis_url else {}),
            **QUICK,
            **config,
        }
    )
    db.init_app(app)
    jobs = Understudy(db)
    jobs.init_app(app)
    return Site(app, db, jobs, Note)


def create_tables(database_url: str) -> None:
    site = build(database_url)
    with site.app.app_context():
        metadata.create_all(site.db.engine)
        site.db.create_all()
        if site.state.database.is_sqlite:
            with site.db.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")  # all of it in the one file
    site.close()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the shell has set must not decide what a test sees."""
    for name in list(os.environ):
        if name.startswith(_PREFIXES):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with all tables, to be copied."""
    path = tmp_path_factory.mktemp("template") / "site.db"
    create_tables(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_tables(postgres_databases: Any) -> Iterator[str]:
    """The URL of a PostgreSQL database with all tables, for all tests of this process one after the other."""
    url = postgres_databases.create()
    create_tables(url)
    yield url
    postgres_databases.drop(url)


@pytest.fixture
def sqlite_ledger(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of an SQLite file with the tables of a site, empty."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'site.db')}"


@pytest.fixture
def postgres_ledger(postgres_tables: str) -> str:
    """The URL of a PostgreSQL database with the tables of a site, empty."""
    with psycopg.connect(postgres_tables.replace("+psycopg", "", 1), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        for table in reversed(metadata.sorted_tables):
            connection.execute(f"DELETE FROM {table.name}")
        connection.execute("DELETE FROM note")
    return postgres_tables


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database with the tables of a site, empty: once SQLite, once PostgreSQL."""
    return request.getfixturevalue({"sqlite": "sqlite_ledger", "postgresql": "postgres_ledger"}[request.param])


@pytest.fixture(params=["database", "redis"])
def transport_url(request: pytest.FixtureRequest) -> str | None:
    """The URL of a Redis, or None for the `database` transport: the test runs once with each."""
    return request.getfixturevalue("redis_url") if request.param == "redis" else None


@pytest.fixture
def make_site() -> Iterator[MakeSite]:
    """Build a site: `make_site(database_url, redis_url, SETTING=…)`; closed after the test."""
    sites: list[Site] = []
    handler = signal.getsignal(signal.SIGTERM)

    def make(database_url: str, redis_url: str | None = None, **config: Any) -> Site:
        sites.append(build(database_url, redis_url, **config))
        return sites[-1]

    yield make
    for site in sites:
        site.close()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def site(make_site: MakeSite, ledger_url: str) -> Site:
    """A site on each database, without broker and worker."""
    return make_site(ledger_url)


@pytest.fixture
def sqlite_site(make_site: MakeSite, sqlite_ledger: str) -> Site:
    """A site on SQLite, where the database makes no difference."""
    return make_site(sqlite_ledger)


@pytest.fixture(params=["embedded", "production"])
def carried_site(request: pytest.FixtureRequest, make_site: MakeSite) -> Site:
    """A site in each mode: SQLite without a broker, PostgreSQL with Redis. `site.start_worker()` starts its worker."""
    if request.param == "embedded":
        return make_site(request.getfixturevalue("sqlite_ledger"))
    return make_site(request.getfixturevalue("postgres_ledger"), request.getfixturevalue("redis_url"))


@pytest.fixture
def crossed_site(make_site: MakeSite, ledger_url: str, transport_url: str | None) -> Site:
    """A site on each database with each transport."""
    return make_site(ledger_url, transport_url)


@pytest.fixture
def heard() -> Iterator[list[tuple[str, JobNotice]]]:
    """All notices of jobs that are sent during the test: (signal's name, notice)."""
    notices: list[tuple[str, JobNotice]] = []
    connected = []
    for signal_ in (
        signals.job_added,
        signals.job_started,
        signals.job_completed,
        signals.job_failed,
        signals.job_cancelled,
    ):

        def hear(sender: Any, job: JobNotice, name: str = signal_.name) -> None:
            notices.append((name, job))

        signal_.connect(hear, weak=False)
        connected.append((signal_, hear))
    yield notices
    for signal_, hear in connected:
        signal_.disconnect(hear)
