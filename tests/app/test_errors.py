import json

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app.extensions import db
from flask_understudy.contrib.api import Problem
from flask_understudy.contrib.mail import InvalidMail
from flask_understudy.errors import BrokerUnavailable, JobConflict, JobNotFound, PayloadTooLarge
from tests.app.conftest import AppFactory


@pytest.fixture
def app(sqlite_app: Flask) -> Flask:
    """An app with one route that raises what it is asked to."""
    failures = {
        "bug": ZeroDivisionError("secret detail"),
        "problem": Problem(418, "Teapot", "short", errors=[{"pointer": "/a", "detail": "b"}]),
        "broker": BrokerUnavailable("Redis is down"),
        "job": JobNotFound("job 7"),
        "conflict": JobConflict("job 7 is active"),
        "large": PayloadTooLarge("300000 bytes"),
        "mail": InvalidMail("'x' is no address"),
        "database": sa.exc.OperationalError("SELECT 1", {}, Exception("refused")),
    }

    @sqlite_app.get("/raise/<name>")
    def raise_it(name: str) -> str:
        raise failures[name]

    @sqlite_app.post("/only-post")
    def only_post() -> str:
        return ""

    sqlite_app.config.update(TESTING=False, PROPAGATE_EXCEPTIONS=False)
    return sqlite_app


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/only-post", 405),
        ("TRACE", "/api/health", 405),
        ("GET", "/raise/bug", 500),
        ("GET", "/raise/problem", 418),
        ("GET", "/raise/broker", 503),
        ("GET", "/raise/job", 404),
        ("GET", "/raise/conflict", 409),
        ("GET", "/raise/large", 413),
        ("GET", "/raise/mail", 422),
        ("GET", "/raise/database", 503),
    ],
)
def test_every_error_is_a_problem_document(client: FlaskClient, method: str, path: str, status: int) -> None:
    answer = client.open(path, method=method)

    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    body = json.loads(answer.data)
    assert body["status"] == status
    assert body["type"] and body["title"]
    assert body["instance"] == path
    assert body["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize("fixture", ["sqlite_url", "postgres_url"])
def test_missing_tables_are_named_in_the_log_and_not_to_strangers(
    make_app: AppFactory,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    fixture: str,
) -> None:
    app = make_app(request.getfixturevalue(fixture))
    with app.app_context(), db.engine.begin() as connection:
        for table in ("api_tokens", "alembic_version"):
            connection.execute(sa.text(f"DROP TABLE {table}"))

    answer = app.test_client().get("/api/health", headers={"Authorization": "Bearer us_x"})

    assert answer.status_code == 503
    assert "table" not in answer.json["detail"]
    assert "the database has no tables; run: flask db upgrade" in caplog.text


def test_wrong_statement_is_a_bug_and_not_a_database_that_is_away(make_app: AppFactory, postgres_url: str) -> None:
    app = make_app(postgres_url, PROPAGATE_EXCEPTIONS=False)

    @app.get("/wrong")
    def wrong() -> str:
        db.session.execute(sa.text("SELECT nothing FROM tenants"))
        return ""

    assert app.test_client().get("/wrong").status_code == 500


def test_bug_is_logged_and_not_shown(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    answer = client.get("/raise/bug")

    assert b"secret detail" not in answer.data
    assert "secret detail" in caplog.text


def test_problem_names_each_wrong_field(client: FlaskClient) -> None:
    assert client.get("/raise/problem").json["errors"] == [{"pointer": "/a", "detail": "b"}]


def test_answer_says_which_methods_are_allowed(client: FlaskClient) -> None:
    assert "POST" in client.get("/only-post").headers["Allow"]


@pytest.mark.requirement("J03")
def test_broker_down_says_when_to_come_back(client: FlaskClient) -> None:
    answer = client.get("/raise/broker")

    assert answer.headers["Retry-After"] == "5"
    assert answer.json["detail"] == "Redis is down"


@pytest.mark.parametrize("given", ["evil\tid", "x" * 65, "", "ünï"])
def test_odd_request_id_is_replaced(client: FlaskClient, given: str) -> None:
    kept = client.get("/nowhere", headers={"X-Request-ID": "trace-1"})
    replaced = client.get("/nowhere", headers={"X-Request-ID": given})

    assert kept.headers["X-Request-ID"] == "trace-1"
    assert replaced.headers["X-Request-ID"] != given
    assert len(replaced.headers["X-Request-ID"]) == 32
