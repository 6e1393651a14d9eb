"""Ordering an organisation over HTTP (I18): for operators of the whole service, who follow it."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app.extensions import db, jobs
from app.models.audit_log import AuditLog
from app.models.invitation import Invitation
from app.models.tenant import Tenant
from app.models.user import User
from flask_understudy.testing import TestWorker
from tests.app.conftest import AppFactory
from tools.smtp import SmtpCatcher

Headers = Callable[..., dict[str, str]]

#: The body of the seed document.
ORDER: dict[str, Any] = {
    "organizationName": "Acme Corp",
    "adminEmail": "admin@acme.com",
    "adminName": "John Doe",
    "tier": "professional",
}
DOOR = "/api/jobs/tenant-onboarding"


@pytest.fixture
def app(make_app: AppFactory, database_url: str, smtp_server: SmtpCatcher) -> Flask:
    return make_app(database_url, SMTP_HOST="127.0.0.1", SMTP_PORT=smtp_server.port, MAIL_SUPPRESS_SEND=False)


@pytest.fixture
def operator(auth_header: Headers) -> dict[str, str]:
    return auth_header("read", "payload", "tenants")


def work(app: Flask) -> list[str]:
    """Run what is queued; return the types of the jobs, sorted."""
    with app.app_context(), TestWorker(jobs) as worker:
        return sorted(job.actor for job in worker.drain(raise_errors=True))


def stored(app: Flask) -> tuple[int, int]:
    """How many jobs, and records of orders, there are."""
    with app.app_context():
        records = sa.select(sa.func.count()).select_from(AuditLog).where(AuditLog.action == "tenant.onboard")
        return db.session.scalar(sa.text("SELECT count(*) FROM understudy_jobs")) or 0, db.session.scalar(records) or 0


@pytest.mark.requirement("I18", "A49", "V12", "P03", "P04")
def test_an_organisation_is_ordered_and_its_making_followed(
    app: Flask,
    client: FlaskClient,
    operator: dict[str, str],
    auth_header: Headers,
    auth_header_b: Headers,
    smtp_server: SmtpCatcher,
) -> None:
    answer = client.post(DOOR, json=ORDER, headers=operator)
    assert (answer.status_code, answer.json["type"], answer.json["queue"]) == (  # type: ignore[index]
        202,
        "tenant:onboard",
        "tenant-onboarding",
    )
    id_ = answer.json["jobId"]  # type: ignore[index]
    assert stored(app) == (1, 1)
    assert work(app) == ["email:invitation", "on:tenant.onboarded:count_onboarding", "tenant:onboard"]

    shown = client.get(f"/api/queues/status/{id_}", headers=operator).json
    assert shown is not None
    assert (shown["state"], shown["result"]["slug"]) == ("completed", "acme-corp")
    run = client.get(f"/api/jobs/workflows/runs/{id_}", headers=operator).json
    assert run is not None
    assert (run["tenant"], len(run["steps"])) == (shown["result"]["tenant"], 6)
    for path in (f"/api/queues/status/{id_}", f"/api/jobs/workflows/runs/{id_}", f"/api/jobs/{id_}"):
        for stranger in (auth_header_b("read", "payload", "operate"), auth_header("read", "payload", "operate")):
            assert client.get(path, headers=stranger).status_code == 404
    [mail] = smtp_server.wait()
    assert mail["To"] == "admin@acme.com"


@pytest.mark.requirement("A49")
def test_the_invitation_is_shown_to_nobody(
    app: Flask, client: FlaskClient, operator: dict[str, str], smtp_server: SmtpCatcher
) -> None:
    id_ = client.post(DOOR, json=ORDER, headers=operator).json["jobId"]  # type: ignore[index]
    work(app)
    [mail] = smtp_server.wait()
    secret = mail.get_body(("plain",)).get_content().partition("invitation=")[2].split()[0]  # type: ignore[union-attr]
    assert len(secret) > 30

    with app.app_context():
        ids = db.session.scalars(sa.text("SELECT id FROM understudy_jobs")).all()
        steps = db.session.scalars(sa.text("SELECT result FROM understudy_steps")).all()
    paths = [f"/api/jobs/{id}" for id in ids] + [f"/api/jobs/workflows/runs/{id_}", f"/api/queues/status/{id_}"]
    answers = [client.get(path, headers=operator) for path in paths]

    assert [answer.status_code for answer in answers] == [200] * len(answers)
    assert not [answer.text for answer in answers if secret in answer.text]
    assert secret not in str(steps)


@pytest.mark.requirement("I18", "A50")
def test_the_same_order_is_one_job_and_a_key_answers_as_before(
    app: Flask, client: FlaskClient, operator: dict[str, str]
) -> None:
    keyed = operator | {"Idempotency-Key": "order-1"}
    first = client.post(DOOR, json=ORDER, headers=keyed)
    again = client.post(DOOR, json=ORDER, headers=keyed)
    other = client.post(DOOR, json=ORDER, headers=operator)
    taken = client.post(DOOR, json=ORDER | {"tier": "free"}, headers=keyed)

    assert first.json == again.json == other.json
    assert again.headers["Idempotent-Replayed"] == "true"
    assert taken.status_code == 422
    assert stored(app) == (1, 2)


@pytest.mark.requirement("I18")
def test_an_order_that_is_known_with_other_data_is_refused(
    app: Flask, client: FlaskClient, operator: dict[str, str]
) -> None:
    order = ORDER | {"stripeSubscriptionId": "sub_1"}
    assert client.post(DOOR, json=order, headers=operator).status_code == 202

    waiting = client.post(DOOR, json=order | {"tier": "free"}, headers=operator)
    work(app)
    made = client.post(DOOR, json=order | {"organizationName": "Other"}, headers=operator)

    assert (waiting.status_code, "under way with 'professional'" in waiting.text) == (409, True)
    assert (made.status_code, "is the subscription of 'Acme Corp'" in made.text) == (409, True)
    assert stored(app)[1] == 1


@pytest.mark.requirement("C32", "I18")
def test_who_orders_is_known_from_the_token_alone(
    app: Flask, client: FlaskClient, operator: dict[str, str], user_a: User, user_b: User
) -> None:
    own = {"organizationId": user_a.tenant_id, "userId": user_a.id}
    for claim in ({"organizationId": user_b.tenant_id}, {"userId": user_b.id}, own | {"userId": ""}):
        assert client.post(DOOR, json=ORDER | claim, headers=operator).status_code == 403
    assert stored(app) == (0, 0)

    id_ = client.post(DOOR, json=ORDER | own, headers=operator).json["jobId"]  # type: ignore[index]
    with app.app_context():
        job = jobs.get(id_)
        assert job is not None
        assert (job.owner, user_a.tenant_id in str(job.kwargs)) == (user_a.id, False)


@pytest.mark.requirement("I18", "P01", "P04")
@pytest.mark.parametrize("scopes", [["read", "enqueue"], ["read", "payload", "enqueue", "operate", "admin"]])
def test_nobody_else_orders(app: Flask, client: FlaskClient, auth_header: Headers, scopes: list[str]) -> None:
    assert client.post(DOOR, json=ORDER).status_code == 401
    refused = client.post(DOOR, json=ORDER, headers=auth_header(*scopes))
    by_type = client.post("/api/jobs", json={"type": "tenant:onboard", "payload": {}}, headers=auth_header(*scopes))
    as_run = client.post("/api/jobs/workflows/tenant:onboard/runs", json={"payload": {}}, headers=auth_header(*scopes))

    assert (refused.status_code, "'tenants'" in refused.text) == (403, True)
    assert [by_type.status_code, as_run.status_code] == [422, 422]
    assert stored(app) == (0, 0)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"organizationName": ""}, "/organizationName"),
    ({"organizationName": "x" * 201}, "/organizationName"),
    ({"organizationName": "a\r\nBcc: x@y.example"}, "/organizationName"),
    ({"organizationName": "\u202eemca"}, "/organizationName"),
    ({"organizationName": None}, "/organizationName"),
    ({"organizationName": ["Acme"]}, "/organizationName"),
    ({"adminEmail": "nobody"}, "/adminEmail"),
    ({"adminEmail": "a@b.example\r\nBcc: c@d.example"}, "/adminEmail"),
    ({"adminEmail": "x" * 300 + "@b.example"}, "/adminEmail"),
    ({"adminName": " "}, "/adminName"),
    ({"adminName": 7}, "/adminName"),
    ({"tier": "gold"}, "'free', 'starter', 'professional' or 'enterprise'"),
    ({"tier": None}, "/tier"),
    ({"stripeCustomerId": "123"}, "a customer of Stripe's is cus_"),
    ({"stripeSubscriptionId": "sub_'; DROP TABLE"}, "a subscription of Stripe's is sub_"),
    ({"tenant": "x"}, "/tenant"),
    ({"__proto__": {}}, "__proto__"),
]


@pytest.mark.requirement("I18", "A49")
@pytest.mark.parametrize(("change", "said"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_order_is_refused_and_nothing_is_stored(
    app: Flask, client: FlaskClient, operator: dict[str, str], change: dict[str, Any], said: str
) -> None:
    answer = client.post(DOOR, json=ORDER | change, headers=operator)

    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    assert said in answer.text
    assert stored(app) == (0, 0)


@pytest.mark.requirement("I18")
@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"null", "application/json", 422),
        (b"[]", "application/json", 422),
        (b'{"tier": ', "application/json", 400),
        (b'{"tier": "free", "tier": "starter"}', "application/json", 400),
        (b'{"organizationName": "a\\u0000"}', "application/json", 400),
        (b'{"organizationName": "\\ud800"}', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 1000, "application/json", 400),
        (b"organizationName=Acme", "application/x-www-form-urlencoded", 415),
        (b'{"a": "' + b"x" * 300_000 + b'"}', "application/json", 413),
    ],
    ids=range(11),
)
def test_what_is_no_order_is_refused(
    app: Flask, client: FlaskClient, operator: dict[str, str], body: bytes, kind: str, status: int
) -> None:
    answer = client.post(DOOR, data=body, content_type=kind, headers=operator)

    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert stored(app) == (0, 0)


@pytest.mark.requirement("P04")
def test_an_organisation_sees_nothing_of_another_s_making(
    app: Flask, client: FlaskClient, operator: dict[str, str], auth_header_b: Headers, user_b: User
) -> None:
    client.post(DOOR, json=ORDER, headers=operator)
    work(app)
    theirs = auth_header_b("read", "payload", "operate", "admin")

    for path in ("/api/jobs/tenant-onboarding/jobs", "/api/jobs/workflows/runs", "/api/jobs/events"):
        answer = client.get(path, headers=theirs)
        assert (answer.status_code, "acme" in answer.text.lower()) == (200, False)
    with app.app_context():
        assert db.session.scalars(sa.select(Invitation.tenant_id)).one() != user_b.tenant_id
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Tenant)) == 3
