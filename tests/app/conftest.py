"""An application on a real database for each test, with two tenants that must not see each other.

`app` runs every test on SQLite and on PostgreSQL; ask for `sqlite_app` where the database is of no
matter. No worker runs inside: a test that wants jobs done runs them itself.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.extensions import db, jobs
from app.logs import ServiceHandler
from app.models.tenant import Tenant
from app.models.user import User
from app.services import tokens
from tests.app import processes

AppFactory = Callable[..., Flask]
MakeToken = Callable[..., str]
Header = dict[str, str]

_SERVICE_VARIABLES = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "APP_URL", "NEXTAUTH_URL", "PORT")
_PREFIXES = ("UNDERSTUDY_", "EXPORT_", "JOBS_", "INNGEST_", "QUEUE_", "SCHEDULER_", "SMTP_", "SENTRY_")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the shell has set must not decide what a test sees."""
    for name in list(os.environ):
        if name in _SERVICE_VARIABLES or name.startswith(_PREFIXES):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the tables of the migrations, to be copied."""
    folder = tmp_path_factory.mktemp("migrated")
    processes.flask({"INSTANCE_PATH": str(folder)}, "db", "upgrade")
    with sqlite3.connect(folder / "app.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # everything in the one file
    return folder / "app.db"


@pytest.fixture(scope="session")
def migrated_postgres(postgres_databases: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a PostgreSQL database with the tables of the migrations, to be copied."""
    url = postgres_databases.create()
    environ = {"DATABASE_URL": url, "SECRET_KEY": "a key for tests only"}
    instance = str(tmp_path_factory.mktemp("migrated"))
    processes.flask(environ | {"INSTANCE_PATH": instance}, "db", "upgrade")
    yield url.rpartition("/")[2]
    postgres_databases.drop(url)


@pytest.fixture
def sqlite_url(tmp_path: Path, migrated_sqlite: Path) -> str:
    """The URL of an SQLite file with all tables, empty."""
    path = shutil.copy(migrated_sqlite, tmp_path / "test.db")
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(postgres_databases: Any, migrated_postgres: str) -> Iterator[str]:
    """The URL of a PostgreSQL database with all tables, empty."""
    url = postgres_databases.create(template=migrated_postgres)
    yield url
    postgres_databases.drop(url)


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[AppFactory]:
    """Build an app: `make_app(database_url, SETTING=…)`."""
    made: list[Flask] = []

    def make(database_url: str, **config: Any) -> Flask:
        settings = {
            "TESTING": True,
            "DATABASE_URL": database_url,
            "INSTANCE_PATH": str(tmp_path / "instance"),
            "SECRET_KEY": "a key for tests only",
            "RATELIMIT_ENABLED": False,
            "UNDERSTUDY_WORKER": "off",
        }
        app = create_app(settings | config)
        made.append(app)
        return app

    yield make
    for app in made:
        with app.app_context():
            jobs.stop_worker()
            db.session.remove()
            db.engine.dispose()
    for handler in list(logging.getLogger().handlers):
        if isinstance(handler, ServiceHandler):  # it writes to what pytest has closed by then
            logging.getLogger().removeHandler(handler)


@pytest.fixture
def app(make_app: AppFactory, database_url: str) -> Flask:
    """The service on an empty database, once on SQLite and once on PostgreSQL."""
    return make_app(database_url)


@pytest.fixture
def sqlite_app(make_app: AppFactory, sqlite_url: str) -> Flask:
    """The service on an empty SQLite file."""
    return make_app(sqlite_url)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def _tenant(app: Flask, slug: str, name: str) -> Tenant:
    with app.app_context():
        tenant = Tenant(slug=slug, name=name)
        db.session.add(tenant)
        db.session.commit()
        db.session.refresh(tenant)
        db.session.expunge(tenant)
        return tenant


def _user(app: Flask, tenant: Tenant, email: str, name: str) -> User:
    with app.app_context():
        user = User(tenant_id=tenant.id, email=email, name=name, role="member")
        db.session.add(user)
        db.session.commit()
        db.session.refresh(user)
        db.session.expunge(user)
        return user


@pytest.fixture
def tenant_a(app: Flask) -> Tenant:
    return _tenant(app, "aster", "Aster Ltd")


@pytest.fixture
def tenant_b(app: Flask) -> Tenant:
    return _tenant(app, "birch", "Birch GmbH")


@pytest.fixture
def user_a(app: Flask, tenant_a: Tenant) -> User:
    return _user(app, tenant_a, "ada@aster.example", "Ada")


@pytest.fixture
def other_user_a(app: Flask, tenant_a: Tenant) -> User:
    """A colleague of `user_a`."""
    return _user(app, tenant_a, "alan@aster.example", "Alan")


@pytest.fixture
def user_b(app: Flask, tenant_b: Tenant) -> User:
    return _user(app, tenant_b, "bea@birch.example", "Bea")


@pytest.fixture
def make_token(app: Flask) -> MakeToken:
    """Make a token: `make_token(user_or_tenant, "read", …)` returns the secret."""

    def make(holder: User | Tenant, *scopes: str, **options: Any) -> str:
        is_person = isinstance(holder, User)
        with app.app_context():
            _, secret = tokens.create(
                tenant_id=holder.tenant_id if isinstance(holder, User) else holder.id,
                user_id=holder.id if is_person else None,
                name="test",
                scopes=scopes or ("read", "enqueue"),
                **options,
            )
            db.session.commit()
        return secret

    return make


@pytest.fixture
def token_a(make_token: MakeToken, user_a: User) -> MakeToken:
    """Make a token of `user_a`: `token_a("read", "enqueue")`."""
    return lambda *scopes, **options: make_token(user_a, *scopes, **options)


@pytest.fixture
def auth_header(token_a: MakeToken) -> Callable[..., Header]:
    """Make the header of a request by `user_a`: `auth_header("read")`; default read and enqueue."""
    return lambda *scopes: {"Authorization": f"Bearer {token_a(*scopes)}"}


@pytest.fixture
def auth_header_b(make_token: MakeToken, user_b: User) -> Callable[..., Header]:
    """The same for `user_b`, of the other tenant."""
    return lambda *scopes: {"Authorization": f"Bearer {make_token(user_b, *scopes)}"}
