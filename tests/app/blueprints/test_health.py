from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app.actors.cleanup import delete_old_sessions
from app.extensions import db, jobs
from app.models.user import User
from app.services import asking
from tests.app.conftest import AppFactory
from tools.servers.process import free_port
from tools.waiting import wait_for

Headers = Callable[..., dict[str, str]]


@pytest.mark.requirement("I06", "L04", "C16")
def test_strangers_get_the_overall_word_only(client: FlaskClient) -> None:
    answer = client.get("/api/health")

    assert answer.status_code == 200
    assert set(answer.json) == {"overallStatus", "timestamp"}


@pytest.mark.requirement("I06", "L04", "C16")
def test_callers_with_a_token_get_the_detail(client: FlaskClient, auth_header: Headers) -> None:
    answer = client.get("/api/health", headers=auth_header("read"))

    assert set(answer.json) >= {"overallStatus", "redisConnected", "queues", "timestamp"}


@pytest.mark.requirement("P04")
def test_detail_counts_the_jobs_of_the_caller_s_organisation_only(
    app: Flask, client: FlaskClient, auth_header: Headers, auth_header_b: Headers, user_a: User
) -> None:
    with app.app_context():
        delete_old_sessions.send_with_options(tenant=user_a.tenant_id)
        delete_old_sessions.send()

    def waiting(headers: dict[str, str]) -> int:
        queues = client.get("/api/health", headers=headers).json["queues"]
        return next(queue["waiting"] for queue in queues if queue["name"] == "cleanup")

    assert (waiting(auth_header("read")), waiting(auth_header_b("read"))) == (1, 0)


@pytest.mark.parametrize(("word", "code"), [("healthy", 200), ("degraded", 200), ("unhealthy", 503)])
def test_only_unhealthy_is_an_error(client: FlaskClient, monkeypatch: pytest.MonkeyPatch, word: str, code: int) -> None:
    status = {"overallStatus": word, "redisConnected": False, "queues": [], "timestamp": "t"}
    monkeypatch.setattr(jobs, "health", lambda: status)

    assert client.get("/api/health").status_code == code


def test_live_asks_neither_database_nor_broker(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(jobs, "health", lambda: asked.append("health"))
    with app.app_context():
        sa.event.listen(db.engine, "checkout", lambda *args: asked.append("database"))

    answer = client.get("/api/health/live")

    assert (answer.status_code, answer.json) == (200, {"status": "ok"})
    assert asked == []
    client.get("/api/health/ready")
    assert asked == ["database"]


def test_ready_when_the_database_has_the_tables(client: FlaskClient) -> None:
    assert client.get("/api/health/ready").status_code == 200


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DROP TABLE alembic_version", "the database has no tables; run: flask db upgrade"),
        (
            "UPDATE alembic_version SET version_num = 'older'",
            "the database is at migration older and this release needs",
        ),
    ],
)
def test_not_ready_before_the_migrations(
    app: Flask,
    client: FlaskClient,
    caplog: pytest.LogCaptureFixture,
    statement: str,
    said: str,
) -> None:
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.text(statement))

    answer = client.get("/api/health/ready")

    assert (answer.status_code, answer.json) == (503, {"status": "unavailable"})
    assert said in caplog.text


def test_not_ready_while_the_database_cannot_be_reached(make_app: AppFactory, caplog: pytest.LogCaptureFixture) -> None:
    nobody = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    client = make_app(nobody).test_client()

    answer = client.get("/api/health/ready")

    assert (answer.status_code, answer.json) == (503, {"status": "unavailable"})
    assert "the database cannot be reached" in caplog.text
    assert client.get("/api/health/live").status_code == 200


@pytest.mark.parametrize(
    ("path", "table"),
    [
        ("/api/health/ready", "alembic_version"),
        ("/api/health", "understudy_jobs"),
        ("/api/health", "api_tokens"),
    ],
)
def test_database_that_hangs_does_not_hang_the_probes(
    make_app: AppFactory, postgres_url: str, monkeypatch: pytest.MonkeyPatch, path: str, table: str
) -> None:
    monkeypatch.setattr(asking, "SECONDS", 0.2)
    app = make_app(postgres_url)
    client = app.test_client()
    headers = {"Authorization": "Bearer us_x"} if table == "api_tokens" else {}

    with app.app_context(), db.engine.connect() as holder:
        holder.execute(sa.text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        answers = [client.get(path, headers=headers) for _ in range(6)]  # more than may hang at a time
        holder.rollback()

    assert [answer.status_code for answer in answers] == [503] * 6
    wait_for(lambda: client.get(path).status_code == 200, "the probe to be answered again")
