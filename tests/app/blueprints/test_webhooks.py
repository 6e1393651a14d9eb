"""Webhooks over HTTP: subscriptions, single ones, deliveries; each organisation by itself."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from app.extensions import db, jobs, webhooks
from app.models.audit_log import AuditLog
from app.models.base import utcnow
from app.models.user import User
from flask_understudy.contrib.webhooks import SignatureInvalid, sign, verify, verify_headers
from flask_understudy.testing import TestWorker
from tests.app.conftest import AppFactory
from tools.receiver import Receiver, Reply

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


@pytest.mark.requirement("I17", "A48", "C33", "P06")
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


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"url": "http://10.0.0.1/"}, "/url"),
        ({"url": "https://169.254.169.254/latest"}, "/url"),
        ({"url": "https://user:pw@example.com"}, "/url"),
        ({"url": "file:///etc/passwd"}, "/url"),
        ({"url": ""}, "/url"),
        ({"url": 7}, "/url"),
        ({"secret": "short"}, "/secret"),
        ({"secret": None}, "/secret"),
        ({"eventType": "no event"}, "/eventType"),
        ({"organizationId": "other"}, "/organizationId"),
    ],
)
def test_a_single_webhook_that_cannot_be_sent_is_a_422(
    client: FlaskClient, admin: Header, worker: TestWorker, change: dict[str, Any], pointer: str
) -> None:
    body = {"url": "https://example.com", "payload": {}, "secret": "webhook-secret", "eventType": "test.event"}

    answer = client.post("/api/jobs/webhooks", json=body | change, headers=admin)

    assert answer.status_code == 422, answer.text
    assert [entry["pointer"] for entry in answer.json["errors"]] == [pointer]
    assert "pw@" not in answer.text and "short" not in answer.text.replace("too short", "")
    assert worker.sent() == []


@pytest.mark.requirement("K06")
def test_a_secret_is_shown_once_and_one_that_was_chosen_never(
    app: Flask, client: FlaskClient, admin: Header, receiver: Receiver
) -> None:
    made = subscribe(client, admin, receiver.url)
    chosen = subscribe(client, admin, receiver.url, secret="chosen-by-the-caller")

    assert made["secret"].startswith("whsec_") and chosen["secret"] is None
    for path in (ENDPOINTS, f"{ENDPOINTS}/{made['endpoint']['id']}"):
        text = client.get(path, headers=admin).text
        assert made["secret"] not in text and "secret" not in text.replace("oldSecretUntil", "")
    with app.app_context():
        for table in sa.inspect(db.engine).get_table_names():
            rows = str(db.session.execute(sa.text(f"SELECT * FROM {table}")).all())
            assert made["secret"] not in rows and "chosen-by-the-caller" not in rows


@pytest.mark.requirement("K06")
def test_a_rotation_signs_with_both_secrets_for_a_while(
    client: FlaskClient, admin: Header, receiver: Receiver, worker: TestWorker
) -> None:
    made = subscribe(client, admin, receiver.url)
    path = f"{ENDPOINTS}/{made['endpoint']['id']}"

    rotated = client.post(f"{path}/rotate", headers=admin)
    report(client, admin)
    worker.drain("webhooks")
    at_once = client.post(f"{path}/rotate", json={"overlapHours": 0}, headers=admin)
    report(client, admin)
    worker.drain("webhooks")

    old, new, last = made["secret"], rotated.json["secret"], at_once.json["secret"]
    first, second = receiver.requests
    assert [_fits(secret, first) for secret in (old, new, last)] == [True, True, False]
    assert [_fits(secret, second) for secret in (old, new, last)] == [False, False, True]
    assert first.headers["x-webhook-signature"] == sign(new, first.headers["webhook-timestamp"], first.body)
    assert first.headers["x-webhook-signature-previous"] == sign(old, first.headers["webhook-timestamp"], first.body)
    assert "x-webhook-signature-previous" not in second.headers
    assert rotated.json["endpoint"]["oldSecretUntil"] is not None


def _fits(secret: str, got: Any) -> bool:
    try:
        verify_headers(secret, got.headers, got.body)
    except SignatureInvalid:
        return False
    return True


def test_a_subscription_is_changed_and_deleted(
    app: Flask, client: FlaskClient, admin: Header, receiver: Receiver, worker: TestWorker
) -> None:
    made = subscribe(client, admin, receiver.url)["endpoint"]
    path = f"{ENDPOINTS}/{made['id']}"

    changed = client.patch(path, json={"enabled": False, "description": "later"}, headers=admin)
    assert changed.status_code == 200, changed.text
    assert changed.json | {"updatedAt": ""} == made | {
        "enabled": False,
        "disabledReason": "by_hand",
        "description": "later",
        "updatedAt": "",
    }
    report(client, admin)
    assert worker.sent("webhook:send") == []
    assert client.post(f"{path}/test", headers=admin).status_code == 409

    client.patch(path, json={"enabled": True}, headers=admin)
    report(client, admin)
    assert client.delete(path, headers=admin).status_code == 204
    assert client.get(path, headers=admin).status_code == 404
    assert [job.result["skipped"] for job in worker.drain("webhooks")] == [True]
    assert receiver.requests == []
    with app.app_context():
        actions = db.session.scalars(sa.select(AuditLog.action).where(AuditLog.target == made["id"])).all()
    assert sorted(actions) == ["webhook.change", "webhook.change", "webhook.create", "webhook.delete"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"url": "https://localhost"}, "/url"),
        ({"url": None}, "/url"),
        ({"events": []}, "/events"),
        ({"events": ["a b"]}, "/events"),
        ({"events": "a"}, "/events"),
        ({"description": "a\u0007b"}, "/description"),
        ({"enabled": "yes"}, "/enabled"),
        ({"secret": "not by this road"}, "/secret"),
        ({"tenant": "b"}, "/tenant"),
    ],
)
def test_a_change_that_cannot_be_made_changes_nothing(
    client: FlaskClient, admin: Header, receiver: Receiver, body: dict[str, Any], pointer: str
) -> None:
    made = subscribe(client, admin, receiver.url)["endpoint"]
    path = f"{ENDPOINTS}/{made['id']}"

    answer = client.patch(path, json={"description": "new"} | body, headers=admin)

    assert answer.status_code == 422, answer.text
    assert answer.json["errors"][0]["pointer"].startswith(pointer)
    assert client.get(path, headers=admin).json == made


def test_a_test_is_delivered_whatever_the_endpoint_listens_to(
    client: FlaskClient, admin: Header, receiver: Receiver, worker: TestWorker
) -> None:
    made = subscribe(client, admin, receiver.url)["endpoint"]

    answer = client.post(f"{ENDPOINTS}/{made['id']}/test", headers=admin)
    worker.drain("webhooks")

    assert answer.status_code == 202
    assert json.loads(receiver.requests[0].body) == {"event": "webhook.test", "data": {"endpointId": made["id"]}}


def test_what_failed_is_seen_and_delivered_again_under_the_same_id(
    client: FlaskClient, admin: Header, auth_header: Headers, receiver: Receiver, worker: TestWorker
) -> None:
    made = subscribe(client, admin, receiver.url)["endpoint"]
    receiver.replies = [Reply(404, body=b"nothing here")] * 10
    report(client, admin)
    report(client, admin)
    worker.drain("webhooks", include_delayed=True)

    listed = client.get(f"{ENDPOINTS}/{made['id']}/deliveries?state=failed", headers=admin).json
    assert [(row["state"], row["status"], row["attempts"]) for row in listed["data"]] == [("failed", 404, 5)] * 2
    one = listed["data"][0]["id"]
    shown = client.get(f"{DELIVERIES}/{one}", headers=admin).json
    assert [attempt["response"] for attempt in shown["tries"]] == ["nothing here"] * 5
    assert json.loads(shown["body"])["event"] == "incident.created"
    hidden = client.get(f"{DELIVERIES}/{one}", headers=auth_header("read")).json
    assert hidden["body"] is None and hidden["tries"][0]["response"] is None

    assert client.post(f"{DELIVERIES}/{one}/replay", headers=admin).status_code == 202
    assert client.post(f"{DELIVERIES}/{one}/replay", headers=admin).status_code == 409
    since = {"since": (utcnow() - dt.timedelta(hours=1)).isoformat()}
    replayed = client.post(f"{ENDPOINTS}/{made['id']}/replay", json=since, headers=admin)
    assert (replayed.status_code, replayed.json) == (202, {"replayed": 1})
    worker.drain("webhooks")

    states = client.get(DELIVERIES, headers=admin).json["data"]
    assert [row["state"] for row in states] == ["delivered", "delivered"]
    assert len({got.headers["webhook-id"] for got in receiver.requests}) == 2
    late = {"since": (utcnow() + dt.timedelta(hours=1)).isoformat()}
    assert client.post(f"{ENDPOINTS}/{made['id']}/replay", json=late, headers=admin).json == {"replayed": 0}


def test_a_list_leads_on(client: FlaskClient, admin: Header, receiver: Receiver) -> None:
    subscribe(client, admin, receiver.url)
    for _ in range(3):
        report(client, admin)

    first = client.get(f"{DELIVERIES}?limit=2", headers=admin).json
    rest = client.get(f"{DELIVERIES}?limit=2&cursor={first['nextCursor']}", headers=admin).json

    assert (len(first["data"]), len(rest["data"]), rest["nextCursor"]) == (2, 1, None)
    assert len({row["id"] for row in first["data"] + rest["data"]}) == 3
    for query in ("cursor=forged", "limit=0", "limit=x", "state=odd", "unknown=1"):
        assert client.get(f"{DELIVERIES}?{query}", headers=admin).status_code == 422


def test_a_delivery_whose_job_was_cancelled_has_failed(client: FlaskClient, admin: Header, receiver: Receiver) -> None:
    subscribe(client, admin, receiver.url)
    report(client, admin)
    [pending] = client.get(DELIVERIES, headers=admin).json["data"]

    assert client.post(f"/api/jobs/{pending['jobId']}/cancel", headers=admin).status_code in {200, 202}

    [row] = client.get(DELIVERIES, headers=admin).json["data"]
    assert (row["state"], row["error"]) == ("failed", "its_job_ended")


@pytest.mark.requirement("P03", "P04")
def test_another_organisation_s_webhooks_do_not_exist(
    client: FlaskClient, admin: Header, auth_header_b: Headers, receiver: Receiver
) -> None:
    made = subscribe(client, admin, receiver.url)["endpoint"]["id"]
    report(client, admin)
    delivery = client.get(DELIVERIES, headers=admin).json["data"][0]["id"]
    theirs = auth_header_b("read", "payload", "enqueue", "operate", "admin")
    since = {"since": utcnow().isoformat()}

    for method, path, body in (
        ("GET", f"{ENDPOINTS}/%s", None),
        ("PATCH", f"{ENDPOINTS}/%s", {"enabled": False}),
        ("DELETE", f"{ENDPOINTS}/%s", None),
        ("POST", f"{ENDPOINTS}/%s/rotate", {}),
        ("POST", f"{ENDPOINTS}/%s/test", None),
        ("POST", f"{ENDPOINTS}/%s/replay", since),
        ("GET", f"{ENDPOINTS}/%s/deliveries", None),
        ("GET", f"{DELIVERIES}/%s", None),
        ("POST", f"{DELIVERIES}/%s/replay", None),
    ):
        own = delivery if path.startswith(DELIVERIES) else made
        answers = []
        for id in (own, "00000000-0000-0000-0000-000000000000", "1%20OR%201=1", "%00", "x" * 5_000):
            answer = client.open(path % id, method=method, json=body, headers=theirs)
            answers.append((answer.status_code, answer.json["detail"]))
        assert set(answers) == {(404, "There is nothing here under this id.")}, path
    assert client.get(ENDPOINTS, headers=theirs).json == {"data": []}
    assert client.get(f"{DELIVERIES}?endpoint={made}", headers=theirs).json["data"] == []
    assert client.get(f"{ENDPOINTS}/{made}", headers=admin).json["enabled"] is True


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


def test_a_url_s_query_is_for_those_who_may_change_it(
    client: FlaskClient, admin: Header, auth_header: Headers, receiver: Receiver
) -> None:
    subscribe(client, admin, f"{receiver.url}?key=hidden")

    assert "hidden" in client.get(ENDPOINTS, headers=admin).text
    assert "hidden" not in client.get(ENDPOINTS, headers=auth_header("read")).text


def test_an_organisation_has_fifty_endpoints_at_the_most(
    app: Flask, client: FlaskClient, admin: Header, user_a: User
) -> None:
    with app.app_context():
        for _ in range(50):
            webhooks.endpoints.create(user_a.tenant_id, "https://example.com", ["*"])
        db.session.commit()

    answer = client.post(ENDPOINTS, json={"url": "https://example.com", "events": ["*"]}, headers=admin)

    assert answer.status_code == 409
    assert "50" in answer.json["detail"]


def test_tests_are_counted(make_app: AppFactory, sqlite_url: str) -> None:
    from app.models.base import new_id
    from app.models.tenant import Tenant
    from app.services import tokens

    app = make_app(sqlite_url, RATELIMIT_ENABLED=True)
    with app.app_context():
        tenant = Tenant(id=new_id(), slug="cedar", name="Cedar")
        db.session.add(tenant)
        db.session.flush()
        _, secret = tokens.create(tenant_id=tenant.id, name="t", scopes=["operate"])
        endpoint, _ = webhooks.endpoints.create(tenant.id, "https://example.com", ["*"])
        db.session.commit()
        path = f"{ENDPOINTS}/{endpoint.id}/test"
    client, header = app.test_client(), {"Authorization": f"Bearer {secret}"}

    statuses = [client.post(path, headers=header).status_code for _ in range(11)]

    assert statuses == [202] * 10 + [429]


def test_webhooks_stand_in_the_openapi_document(client: FlaskClient) -> None:
    described = client.get("/api/jobs/openapi.json").json
    validate(described)

    assert {"/api/jobs/webhooks", ENDPOINTS, f"{ENDPOINTS}/{{endpoint_id}}/rotate"} <= set(described["paths"])
    assert jobs.broker.get_actor("webhook:send").queue_name == "webhooks"
