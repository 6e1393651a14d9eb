"""Webhooks over HTTP: subscriptions, single ones, deliveries; each organisation by itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from app.extensions import db, jobs
from app.models.user import User
from flask_understudy.contrib.webhooks import verify, verify_headers
from flask_understudy.testing import TestWorker
from tests.app.conftest import AppFactory
from tools.receiver import Receiver

Header = dict[str, str]
Headers = Callable[..., Header]

ENDPOINTS = "/api/jobs/webhooks/endpoints"
DELIVERIES = "/api/jobs/webhooks/deliveries"


@pytest.fixture
def app(make_app: AppFactory, database_url: str) -> Flask:
    return make_app(database_url, UNDERSTUDY_WEBHOOK_ALLOW="127.0.0.0/8")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def admin(auth_header: Headers) -> Header:
    return auth_header("read", "payload", "enqueue", "operate", "admin")


@pytest.fixture
def worker(app: Flask) -> Iterator[TestWorker]:
    with TestWorker(app.extensions["understudy"]) as worker:
        yield worker


def subscribe(client: FlaskClient, header: Header, url: str, *events: str, **more: Any) -> dict[str, Any]:
    body = {"url": url, "events": events or ["incident.created"], **more}
    answer = client.post(ENDPOINTS, json=body, headers=header)
    assert answer.status_code == 201, answer.text
    return answer.json  # type: ignore[no-any-return]


def report(client: FlaskClient, header: Header, **more: Any) -> Any:
    return client.post("/api/incidents", json={"title": "Fire", **more}, headers=header)


@pytest.mark.requirement("U03", "K06", "P04")
def test_an_incident_is_told_to_each_subscription_of_its_own_organisation(
    app: Flask, client: FlaskClient, admin: Header, auth_header_b: Headers, receiver: Receiver, worker: TestWorker
) -> None:
    first = subscribe(client, admin, f"{receiver.url}/1")
    second = subscribe(client, admin, f"{receiver.url}/2", "*")
    subscribe(client, admin, f"{receiver.url}/3", "incident.closed")
    subscribe(client, auth_header_b("admin"), f"{receiver.url}/theirs", "*")

    answer = report(client, admin, severity="high")

    assert answer.status_code == 201, answer.text
    sent = worker.sent("webhook:send")
    assert len(sent) == 2
    ended = worker.drain("webhooks")
    assert [job.state for job in ended] == ["completed", "completed"]
    secrets = {"/hook/1": first["secret"], "/hook/2": second["secret"]}
    assert {got.path for got in receiver.requests} == set(secrets)
    for got in receiver.requests:
        verify_headers(secrets[got.path], got.headers, got.body)
        assert json.loads(got.body) == {"event": "incident.created", "data": answer.json}
    assert client.get(answer.headers["Location"], headers=admin).json == answer.json
    assert client.get(answer.headers["Location"], headers=auth_header_b("read")).status_code == 404


@pytest.mark.requirement("U03")
@pytest.mark.parametrize("name", ["tenantId", "organizationId", "tenant_id"])
def test_nobody_reports_into_another_organisation(
    client: FlaskClient, admin: Header, user_b: User, worker: TestWorker, name: str
) -> None:
    answer = report(client, admin, **{name: user_b.tenant_id})

    assert answer.status_code == 422
    assert worker.sent() == []


@pytest.mark.requirement("I17", "C33", "P06")
def test_a_single_webhook_is_sent_and_its_secret_is_nowhere(
    app: Flask,
    client: FlaskClient,
    admin: Header,
    user_a: User,
    receiver: Receiver,
    worker: TestWorker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = "webhook-secret-canary"
    body = {"url": receiver.url, "payload": {"event": "test"}, "secret": secret, "eventType": "test.event"}

    answer = client.post("/api/jobs/webhooks", json=body, headers=admin | {"Idempotency-Key": "one"})
    again = client.post("/api/jobs/webhooks", json=body, headers=admin | {"Idempotency-Key": "one"})

    assert (answer.status_code, again.status_code) == (202, 202)
    assert answer.json is not None and again.json == answer.json
    assert (answer.json["state"], answer.json["event"]) == ("pending", "test.event")
    [job] = worker.sent("webhook:send")
    assert (job.queue, job.max_attempts, job.tenant, job.owner) == ("webhooks", 5, user_a.tenant_id, user_a.id)
    assert worker.run(job).state == "completed"
    [got] = receiver.requests
    assert got.body == b'{"event":"test"}'
    verify(secret, got.headers["x-webhook-timestamp"], got.headers["x-webhook-signature"], got.body)

    shown = client.get(f"{DELIVERIES}/{answer.json['id']}", headers=admin)
    seen = client.get(f"/api/jobs/{job.id}", headers=admin)
    assert shown.json is not None and shown.json["delivery"]["state"] == "delivered"
    for text in (answer.text, shown.text, seen.text, caplog.text, repr((job.args, job.kwargs, job.options))):
        assert secret not in text
    with app.app_context():
        for table in sa.inspect(db.engine).get_table_names():
            assert secret not in str(db.session.execute(sa.text(f"SELECT * FROM {table}")).all()), table


@pytest.mark.requirement("P02")
@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/api/jobs/webhooks", "enqueue"),
        ("GET", ENDPOINTS, "read"),
        ("POST", ENDPOINTS, "admin"),
        ("GET", f"{ENDPOINTS}/1", "read"),
        ("PATCH", f"{ENDPOINTS}/1", "admin"),
        ("DELETE", f"{ENDPOINTS}/1", "admin"),
        ("POST", f"{ENDPOINTS}/1/rotate", "admin"),
        ("POST", f"{ENDPOINTS}/1/test", "operate"),
        ("POST", f"{ENDPOINTS}/1/replay", "operate"),
        ("GET", f"{ENDPOINTS}/1/deliveries", "read"),
        ("GET", DELIVERIES, "read"),
        ("GET", f"{DELIVERIES}/1", "read"),
        ("POST", f"{DELIVERIES}/1/replay", "operate"),
        ("POST", "/api/incidents", "enqueue"),
        ("GET", "/api/incidents/1", "read"),
    ],
)
def test_each_door_needs_its_scope(
    client: FlaskClient, auth_header: Headers, method: str, path: str, scope: str
) -> None:
    every = {"read", "payload", "enqueue", "operate", "admin"}

    answer = client.open(path, method=method, headers=auth_header(*(every - {scope})))

    assert answer.status_code == 403
    assert f"'{scope}'" in answer.json["detail"]


def test_webhooks_stand_in_the_openapi_document(client: FlaskClient) -> None:
    described = client.get("/api/jobs/openapi.json").json
    validate(described)

    assert {"/api/jobs/webhooks", ENDPOINTS, f"{ENDPOINTS}/{{endpoint_id}}/rotate"} <= set(described["paths"])
    assert jobs.broker.get_actor("webhook:send").queue_name == "webhooks"
