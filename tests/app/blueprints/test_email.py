"""Mail over HTTP (I14): as the seed documents ask for it, and by the name of a mail."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.extensions import jobs
from app.models.user import User
from flask_understudy.testing import TestWorker
from tests.app.conftest import AppFactory
from tools.smtp import SmtpCatcher

Headers = Callable[..., dict[str, str]]

#: The body of the seed document, with an address that may send.
SEED = {
    "to": "user@example.com",
    "subject": "Test Email",
    "html": "<p>Hello!</p>",
    "text": "Hello!",
    "from": "noreply@hse.example",
    "priority": 2,
}
NAMED = {"to": "user@example.com", "type": "welcome", "data": {"name": "Ada"}}


@pytest.fixture
def app(make_app: AppFactory, database_url: str, smtp_server: SmtpCatcher) -> Flask:
    return make_app(
        database_url,
        SMTP_HOST="127.0.0.1",
        SMTP_PORT=smtp_server.port,
        SMTP_FROM="HSE <no-reply@hse.example>",
        MAIL_SUPPRESS_SEND=False,
    )


@pytest.mark.requirement("I14", "C10", "C1", "T10")
@pytest.mark.parametrize(("body", "actor"), [(SEED, "email:send"), (NAMED, "email:welcome")])
def test_a_mail_is_queued_and_sent(
    app: Flask,
    client: FlaskClient,
    auth_header: Headers,
    user_a: User,
    smtp_server: SmtpCatcher,
    body: dict[str, Any],
    actor: str,
) -> None:
    answer = client.post("/api/jobs/email", json=body, headers=auth_header("enqueue"))

    assert (answer.status_code, answer.json["type"], answer.json["queue"]) == (202, actor, "email")  # type: ignore[index]
    with app.app_context(), TestWorker(jobs) as worker:
        [job] = worker.drain(raise_errors=True)
        assert (job.id, job.tenant, job.owner) == (answer.json["jobId"], user_a.tenant_id, user_a.id)  # type: ignore[index]
        assert job.priority == 2
    [mail] = smtp_server.wait()
    assert mail["To"] == "user@example.com"


@pytest.mark.requirement("I14")
def test_the_same_request_sent_twice_is_one_mail(
    app: Flask, client: FlaskClient, auth_header: Headers, smtp_server: SmtpCatcher
) -> None:
    header = auth_header("enqueue") | {"Idempotency-Key": "mail-1"}

    first, second = (client.post("/api/jobs/email", json=SEED, headers=header) for _ in range(2))

    assert first.json == second.json
    with app.app_context(), TestWorker(jobs) as worker:
        assert len(worker.drain(raise_errors=True)) == 1


@pytest.mark.requirement("I14", "A08")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"to": "nobody"}, "no mail address"),
        ({"to": []}, "at least 1 item"),
        ({"subject": None, "html": None, "text": None}, "empty"),
        ({"subject": "a\nBcc: x@y.example"}, "line end"),
        ({"from": "x@bank.example"}, "may not send"),
        ({"priority": 9}, "less than or equal to 5"),
        ({"cc": "x@y.example"}, "cc"),
        ({"type": "welcome"}, "takes one address as to, and data"),
        ({"data": {"name": "Ada"}}, "none is given"),
        ({**dict.fromkeys(SEED), **NAMED, "type": "welcom"}, "'welcom' is no mail"),
        ({**dict.fromkeys(SEED), **NAMED, "type": "invitation"}, "the service sends 'invitation' itself; there are"),
        ({**dict.fromkeys(SEED), **NAMED, "type": "password-reset", "data": {"code": "1"}}, "payslip-ready"),
        ({**dict.fromkeys(SEED), **NAMED, "type": "verification", "data": {"name": "A", "token": "x"}}, "welcome"),
        ({**dict.fromkeys(SEED), **NAMED, "data": {}}, "'name' is missing"),
        ({**dict.fromkeys(SEED), **NAMED, "to": ["a@b.example", "b@b.example"]}, "takes one address"),
    ],
)
def test_a_wrong_mail_is_refused_and_none_is_queued(
    app: Flask, client: FlaskClient, auth_header: Headers, change: dict[str, Any], said: str
) -> None:
    body = {name: value for name, value in (SEED | change).items() if value is not None}

    answer = client.post("/api/jobs/email", json=body, headers=auth_header("enqueue"))

    assert answer.status_code == 422
    assert said in answer.text
    with app.app_context(), TestWorker(jobs) as worker:
        assert worker.drain() == []


@pytest.mark.requirement("I14", "P01")
def test_a_reader_cannot_send_mail(client: FlaskClient, auth_header: Headers) -> None:
    assert client.post("/api/jobs/email", json=SEED).status_code == 401
    assert client.post("/api/jobs/email", json=SEED, headers=auth_header("read")).status_code == 403
