"""The library's API within the service: its tokens, tenants and limits, and a broker that is away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.actors.email import send_welcome_email
from app.extensions import jobs
from app.models.tenant import Tenant
from app.models.user import User
from app.services.queues import get_all_queue_status
from tests.app.conftest import AppFactory
from tools.servers import RedisServer

Headers = Callable[..., dict[str, str]]


@pytest.fixture
def mail(app: Flask, user_a: User) -> str:
    """A mail that waits, of `user_a`'s organisation."""
    with app.app_context():
        message = jobs.broker.get_actor("email:welcome").send_with_options(  # type: ignore[attr-defined]
            args=("ada@example.com", "Ada"), tenant=user_a.tenant_id, owner=user_a.id
        )
        return str(message.message_id)


@pytest.mark.requirement("P02", "P03", "P04", "P05")
def test_an_organisation_sees_its_own_jobs_alone(
    client: FlaskClient, auth_header: Headers, auth_header_b: Headers, mail: str
) -> None:
    mine, theirs = auth_header("read"), auth_header_b("read")

    assert client.get("/api/jobs/email/jobs?status=waiting", headers=mine).json["jobs"][0]["id"] == mail
    assert client.get("/api/jobs/email/jobs", headers=theirs).json["jobs"] == []
    assert client.get("/api/jobs/stats", headers=mine).json["email"]["waiting"] == 1
    assert client.get("/api/jobs/stats", headers=theirs).json["email"]["waiting"] == 0
    assert client.get(f"/api/jobs/{mail}", headers=theirs).status_code == 404


@pytest.mark.requirement("I08")
def test_stats_name_the_six_queues_even_when_they_are_empty(client: FlaskClient, auth_header: Headers) -> None:
    stats = client.get("/api/jobs/stats", headers=auth_header("read")).json

    assert {"email", "reports", "data-exports", "webhooks", "tenant-onboarding", "cleanup"} <= set(stats)
    assert stats["reports"] == dict.fromkeys(
        ["waiting", "active", "completed", "failed", "delayed", "paused", "total"], 0
    )


@pytest.mark.requirement("A24")
def test_a_mail_is_sent_through_the_generic_door_in_the_caller_s_name(
    app: Flask, client: FlaskClient, auth_header: Headers, user_a: User
) -> None:
    payload = {"to": "ada@example.com", "subject": "Hello", "text": "Hi"}

    answer = client.post(
        "/api/jobs", json={"type": "email:send", "payload": payload}, headers=auth_header("enqueue", "read")
    )

    assert answer.status_code == 202, answer.text
    with app.app_context():
        job = jobs.get(answer.json["id"])
        assert job is not None
        assert (job.tenant, job.owner) == (user_a.tenant_id, user_a.id)
    refused = client.post("/api/jobs", json={"type": "cleanup:sessions"}, headers=auth_header("enqueue", "read"))
    assert refused.status_code == 422


def test_an_export_that_is_asked_for_twice_with_one_key_is_made_once(client: FlaskClient, auth_header: Headers) -> None:
    headers = {**auth_header("enqueue", "read"), "Idempotency-Key": "export-1"}

    first = client.post("/api/exports", json={"type": "MEMBERS"}, headers=headers)
    again = client.post("/api/exports", json={"type": "MEMBERS"}, headers=headers)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json["exportJob"]["id"] == first.json["exportJob"]["id"]
    assert len(client.get("/api/exports", headers=headers).json["data"]) == 1


def test_a_token_that_asks_too_often_has_to_wait(
    make_app: AppFactory, sqlite_url: str, make_user_token: Callable[[Flask], str]
) -> None:
    app = make_app(sqlite_url, RATELIMIT_ENABLED=True, API_RATE_LIMIT="3 per minute")
    client = app.test_client()
    header = {"Authorization": f"Bearer {make_user_token(app)}"}

    statuses = [client.get("/api/jobs/stats", headers=header).status_code for _ in range(4)]
    last = client.get("/api/jobs/stats", headers=header)

    assert statuses == [200, 200, 200, 429]
    assert int(last.headers["Retry-After"]) > 0
    assert last.content_type == "application/problem+json"
    assert client.get("/api/jobs/stats").status_code == 401  # nobody's token is another caller
    assert [client.get("/api/health/live").status_code for _ in range(5)] == [200] * 5


@pytest.fixture
def make_user_token() -> Callable[[Flask], str]:
    from app.extensions import db
    from app.models.base import new_id
    from app.services import tokens

    def make(app: Flask) -> str:
        with app.app_context():
            tenant = Tenant(id=new_id(), slug="cedar", name="Cedar")
            db.session.add(tenant)
            db.session.flush()
            _, secret = tokens.create(tenant_id=tenant.id, name="t", scopes=["read", "enqueue"])
            db.session.commit()
            return secret

    return make


@pytest.mark.requirement("I19", "J03", "O01")
def test_the_api_goes_on_while_redis_is_away(
    make_app: AppFactory, sqlite_url: str, redis_server: RedisServer, make_user_token: Callable[[Flask], str]
) -> None:
    app = make_app(sqlite_url, REDIS_URL=redis_server.url)
    client, header = app.test_client(), {"Authorization": f"Bearer {make_user_token(app)}"}
    strict: Any = jobs.broker.get_actor("email:send")
    redis_server.kill()
    with app.app_context():
        send_welcome_email("ada@example.com", "Ada")

    payload = {"to": "ada@example.com", "subject": "Hello", "text": "Hi"}
    try:
        strict.options["fallback"] = "fail"
        refused = client.post("/api/jobs", json={"type": "email:send", "payload": payload}, headers=header)
    finally:
        strict.options["fallback"] = "sync"

    assert refused.status_code == 503
    assert "Retry-After" in refused.headers
    assert "Nothing was stored" in refused.json["detail"]
    assert client.get("/api/jobs/stats", headers=header).status_code == 200
    assert client.get("/api/jobs/email/jobs", headers=header).status_code == 200
    with app.app_context():
        assert get_all_queue_status()["overallStatus"] == "degraded"
