"""Tokens renewed at a real OAuth server that takes a refresh token used twice for a stolen one."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import dramatiq
import pytest
import sqlalchemy as sa
from flask import Flask, current_app

from app.actors import integrations as actors
from app.actors.integrations import queue_token_refresh
from app.extensions import db, jobs
from app.models.base import utcnow
from app.models.integration import Integration
from app.models.tenant import Tenant
from app.services import integrations
from flask_understudy.contrib.webhooks.sealing import Seal
from flask_understudy.testing import TestWorker
from tests.app.conftest import AppFactory
from tests.app.oauth import CLIENT, OAuthServer
from tools.waiting import wait_for


@pytest.fixture
def server() -> Iterator[OAuthServer]:
    with OAuthServer() as server:
        yield server


@pytest.fixture
def app(make_app: AppFactory, database_url: str, server: OAuthServer) -> Flask:
    (client_id, secret), url = CLIENT, server.url
    google = {"GOOGLE_CLIENT_ID": client_id, "GOOGLE_CLIENT_SECRET": secret, "GOOGLE_TOKEN_URL": url}
    zoom = {"ZOOM_CLIENT_ID": client_id, "ZOOM_CLIENT_SECRET": secret, "ZOOM_TOKEN_URL": url}
    return make_app(database_url, **google, **zoom)


@pytest.fixture
def worker(app: Flask) -> Iterator[TestWorker]:
    with app.app_context(), TestWorker(jobs) as worker:
        yield worker


def connect(tenant: Tenant, provider: str = "google-calendar", seconds: float = 60) -> Integration:
    expires_at = utcnow() + dt.timedelta(seconds=seconds)
    grant = integrations.connect(tenant.id, provider, "ada@example.com", "access-0", "refresh-0", expires_at)
    db.session.commit()
    return grant


def tokens(grant: Integration) -> tuple[str, str]:
    db.session.refresh(grant)
    seal = Seal(current_app)
    return seal.open(grant.access_token, f"{grant.id}.access"), seal.open(grant.refresh_token, f"{grant.id}.refresh")


@pytest.mark.requirement("A13", "A16", "T05")
@pytest.mark.parametrize(("provider", "auth"), [("google-calendar", "post"), ("zoom", "basic")])
def test_one_grant_is_renewed(
    worker: TestWorker, server: OAuthServer, tenant_a: Tenant, provider: str, auth: str
) -> None:
    grant = connect(tenant_a, provider, seconds=3_600)
    job = worker.run(queue_token_refresh(grant.id), raise_errors=True)

    assert (job.tenant, job.queue, job.result) == (tenant_a.id, "integrations", True)
    assert tokens(grant) == ("access-1", "refresh-1")
    assert dt.timedelta(minutes=29) < grant.expires_at - utcnow() <= dt.timedelta(minutes=30)
    assert server.auths == [auth]
    worker.run(queue_token_refresh(grant.id), raise_errors=True)
    assert tokens(grant) == ("access-2", "refresh-2")  # the token that came with the first one


@pytest.mark.requirement("A14", "A15", "E01", "V13")
def test_the_schedule_renews_what_ends_within_five_minutes(
    worker: TestWorker, server: OAuthServer, tenant_a: Tenant, tenant_b: Tenant
) -> None:
    soon, later = connect(tenant_a, seconds=299), connect(tenant_b, "zoom", seconds=330)

    worker.run(queue_token_refresh(), raise_errors=True)
    worker.drain(raise_errors=True)

    assert (tokens(soon)[0], tokens(later)[0]) == ("access-1", "access-0")
    [declared] = [schedule for schedule in jobs.broker.schedules if schedule.name == "refresh-tokens"]
    assert (declared.expression, declared.timezone) == ("*/5 * * * *", "UTC")


@pytest.mark.requirement("A13", "A14", "T02")
def test_eight_jobs_at_once_renew_a_grant_once(
    app: Flask, worker: TestWorker, server: OAuthServer, tenant_a: Tenant
) -> None:
    grant = connect(tenant_a)
    server.hold.clear()
    messages = [queue_token_refresh(grant.id) for _ in range(8)]
    threads = dramatiq.Worker(jobs.broker, worker_threads=8, worker_timeout=100)
    threads.start()
    try:
        server.hold.set()
        wait_for(lambda: all(job_of(message).state == "completed" for message in messages), "all jobs to end")
    finally:
        threads.stop()

    assert server.renewals == 1
    assert sorted(job_of(message).result for message in messages) == [False] * 7 + [True]
    assert tokens(grant) == ("access-1", "refresh-1")


def job_of(message: Any) -> Any:
    return jobs.get(message.message_id)


@pytest.mark.requirement("A17", "D03", "T03")
def test_a_provider_that_is_down_is_asked_twice(worker: TestWorker, server: OAuthServer, tenant_a: Tenant) -> None:
    grant, server.failure = connect(tenant_a), 503
    message = queue_token_refresh(grant.id)

    assert [worker.run(message).state for _ in range(2)] == ["delayed", "failed"]

    assert tokens(grant) == ("access-0", "refresh-0")
    server.failure = None
    worker.run(queue_token_refresh(grant.id), raise_errors=True)
    assert tokens(grant)[0] == "access-1"


@pytest.mark.requirement("A17")
def test_a_grant_that_has_ended_is_not_asked_for_again(
    worker: TestWorker, server: OAuthServer, tenant_a: Tenant
) -> None:
    grant = connect(tenant_a)
    server._valid.clear()

    job = worker.run(queue_token_refresh(grant.id))

    assert (job.state, job.attempt) == ("failed", 1)
    assert "the token was used before" in str(job.error)
    db.session.refresh(grant)
    assert grant.revoked_at is not None
    assert integrations.expiring() == []
    with pytest.raises(integrations.GrantRevoked, match="the token was used before"):
        queue_token_refresh(grant.id)
    connect(tenant_a)
    assert [id_ for id_, _ in integrations.expiring()] == [grant.id]


def test_what_cannot_be_renewed_is_refused_at_once(app: Flask, worker: TestWorker, tenant_a: Tenant) -> None:
    with pytest.raises(integrations.IntegrationRefused, match="no integration 'none'"):
        queue_token_refresh("none")
    with pytest.raises(integrations.IntegrationRefused, match="'github' is no provider; there are google-cal"):
        connect(tenant_a, "github")
    assert worker.sent() == []

    app.config["GOOGLE_CLIENT_ID"] = None
    job = worker.run(queue_token_refresh(connect(tenant_a).id))
    assert (job.state, job.attempt) == ("failed", 1)
    assert "GOOGLE_CLIENT_ID" in str(job.error)


def test_tokens_stand_nowhere_in_clear(worker: TestWorker, server: OAuthServer, tenant_a: Tenant) -> None:
    grant = connect(tenant_a)
    job = worker.run(queue_token_refresh(grant.id), raise_errors=True)

    row = db.session.execute(sa.text("SELECT * FROM integrations")).one()
    told = f"{row} {job.args} {job.kwargs} {job.result} {job.logs if hasattr(job, 'logs') else ''}"
    assert not any(token in told for token in ("access-0", "refresh-0", "access-1", "refresh-1"))


def test_an_account_connected_anew_meanwhile_keeps_its_new_tokens(
    worker: TestWorker, server: OAuthServer, tenant_a: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant, ask = connect(tenant_a), integrations._ask

    def connecting(provider: str, refresh_token: str) -> Any:
        answer = ask(provider, refresh_token)
        integrations.connect(tenant_a.id, provider, "ada@example.com", "new", "newer", utcnow() + dt.timedelta(hours=1))
        db.session.commit()
        return answer

    monkeypatch.setattr(integrations, "_ask", connecting)
    actors.refresh_token(grant.id)

    assert tokens(grant) == ("new", "newer")


@pytest.mark.requirement("A17")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"failure": 500}, "google-calendar answered with HTTP 500."),
        ({"text": "<html>"}, "google-calendar answered with HTTP 200 and no JSON."),
        ({"text": "[]"}, "google-calendar answered with HTTP 200 and without an access_token."),
        ({"without": {"access_token"}}, "google-calendar answered with HTTP 200 and without an access_token."),
        ({"more": {"access_token": None}}, "google-calendar answered with HTTP 200 and without an access_token."),
    ],
    ids=["500", "html", "list", "without", "null"],
)
def test_what_went_wrong_stands_beside_the_integration(
    worker: TestWorker, server: OAuthServer, tenant_a: Tenant, change: dict[str, Any], said: str
) -> None:
    grant = connect(tenant_a)
    for name, value in change.items():
        setattr(server, name, value)

    job = worker.run(queue_token_refresh(grant.id))

    assert (job.state, said in str(job.error)) == ("delayed", True)
    assert tokens(grant) == ("access-0", "refresh-0")
    assert (grant.error, grant.revoked_at) == (said, None)


def test_a_provider_that_is_not_configured_is_said_beside_the_integration(
    app: Flask, worker: TestWorker, tenant_a: Tenant
) -> None:
    app.config["GOOGLE_CLIENT_ID"] = None
    grant = connect(tenant_a)

    worker.run(queue_token_refresh(grant.id))

    db.session.refresh(grant)
    assert "google-calendar is not configured: GOOGLE_CLIENT_ID" in str(grant.error)


@pytest.mark.requirement("A13")
@pytest.mark.parametrize(
    "lifetime", [None, "soon", -1, 10**30, "absent"], ids=["null", "text", "minus", "huge", "absent"]
)
def test_tokens_without_a_lifetime_are_kept_for_an_hour(
    worker: TestWorker, server: OAuthServer, tenant_a: Tenant, lifetime: Any
) -> None:
    grant = connect(tenant_a)
    if lifetime == "absent":
        server.without = {"expires_in"}
    else:
        server.more = {"expires_in": lifetime, "refresh_token": None}

    worker.run(queue_token_refresh(grant.id), raise_errors=True)

    assert tokens(grant)[0] == "access-1"
    assert dt.timedelta(minutes=59) < grant.expires_at - utcnow() <= dt.timedelta(minutes=60)
