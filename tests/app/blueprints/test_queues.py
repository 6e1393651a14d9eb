import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.actors.cleanup import delete_old_sessions
from app.extensions import jobs
from app.models.tenant import Tenant
from app.models.user import User
from flask_understudy.contrib.webhooks import sign

Headers = Callable[..., dict[str, str]]
Bearer = Callable[..., str]


@pytest.fixture
def job_id(app: Flask, user_a: User) -> str:
    """A job that `user_a` asked for."""
    with app.app_context():
        message = delete_old_sessions.send_with_options(tenant=user_a.tenant_id, owner=user_a.id, priority=4)
        return message.message_id


@pytest.mark.requirement("I04", "C13")
def test_owner_sees_the_job(client: FlaskClient, auth_header: Headers, job_id: str) -> None:
    answer = client.get(f"/api/queues/status/{job_id}", headers=auth_header("read"))

    assert answer.status_code == 200
    status = answer.json
    assert (status["id"], status["state"]) == (job_id, "waiting")
    assert (status["type"], status["queue"]) == ("cleanup:sessions", "cleanup")
    assert (status["attemptsMade"], status["maxAttempts"], status["progress"]) == (0, 3, 0)
    assert status["createdAt"].endswith("Z")
    assert status["finishedAt"] is None and status["error"] is None


@pytest.mark.requirement("C34", "P01")
def test_nobody_sees_it_without_a_login(client: FlaskClient, job_id: str) -> None:
    assert client.get(f"/api/queues/status/{job_id}").status_code == 401


@pytest.mark.requirement("P03", "P09")
def test_others_cannot_tell_the_job_from_none_at_all(
    client: FlaskClient,
    make_token: Bearer,
    auth_header_b: Headers,
    other_user_a: User,
    tenant_a: Tenant,
    job_id: str,
) -> None:
    def ask(headers: dict[str, str], wanted: str) -> tuple[int, str]:
        answer = client.get(f"/api/queues/status/{wanted}", headers=headers)
        return answer.status_code, answer.json["detail"]

    colleague = {"Authorization": f"Bearer {make_token(other_user_a, 'read', 'admin')}"}
    machine = {"Authorization": f"Bearer {make_token(tenant_a, 'read', 'admin')}"}
    stranger = auth_header_b("read", "admin")
    unknown = "00000000-0000-0000-0000-000000000000"

    answers = {ask(headers, job_id) for headers in (colleague, machine, stranger)}
    assert answers == {ask(stranger, unknown)}
    assert answers.pop()[0] == 404


@pytest.mark.parametrize("odd", ["1 OR 1=1", "{x}", "a%00b", "x" * 10_240, "..%2f..", "%F0%9F%98%80", "a'b"])
def test_odd_id_is_not_found(client: FlaskClient, auth_header: Headers, odd: str) -> None:
    answer = client.get(f"/api/queues/status/{odd}", headers=auth_header("read"))

    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"


# -- the end of a job that another system did --------------------------------------------------------------------------

SECRET = "shared with the other system"


def report(
    client: FlaskClient, body: object, *, secret: str = SECRET, at: float | None = None, change: bytes = b""
) -> Any:
    raw = json.dumps(body).encode()
    timestamp = str(int(time.time() if at is None else at))
    headers = {"X-Webhook-Timestamp": timestamp, "X-Webhook-Signature": sign(secret, timestamp, raw)}
    return client.post("/api/queues/webhook", data=raw + change, headers=headers, content_type="application/json")


@pytest.fixture
def reporting(app: Flask) -> Flask:
    app.config["UNDERSTUDY_SIGNING_KEY"] = SECRET
    return app


@pytest.mark.requirement("I05", "P11")
def test_a_job_done_elsewhere_is_completed_once(reporting: Flask, client: FlaskClient, job_id: str) -> None:
    body = {"jobId": job_id, "attempt": 1, "status": "completed", "result": {"rows": 3}}

    first, again = report(client, body), report(client, body)

    assert (first.status_code, first.json["duplicate"]) == (200, False)
    assert (again.status_code, again.json["duplicate"]) == (200, True)
    with reporting.app_context():
        job = jobs.get(job_id)
        assert job is not None
        assert (job.state, job.result, job.attempt, job.worker_id) == ("completed", {"rows": 3}, 1, "external")
    assert report(client, {**body, "status": "failed"}).status_code == 409


@pytest.mark.requirement("I05", "H01")
@pytest.mark.parametrize("name", ["UNDERSTUDY_SIGNING_KEY", "JOBS_SIGNING_KEY", "INNGEST_SIGNING_KEY"])
def test_the_environment_opens_the_reports(
    make_app: Callable[..., Flask], sqlite_url: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, SECRET)
    app = make_app(sqlite_url)
    with app.app_context():
        id = delete_old_sessions.send().message_id

    answer = report(app.test_client(), {"jobId": id, "attempt": 1, "status": "completed"})

    assert answer.status_code == 200


@pytest.mark.requirement("H01")
def test_reports_are_closed_without_a_key_and_say_which(make_app: Callable[..., Flask], sqlite_url: str) -> None:
    answer = report(make_app(sqlite_url).test_client(), {"jobId": "x", "attempt": 1, "status": "completed"})

    assert answer.status_code == 404
    assert "UNDERSTUDY_SIGNING_KEY" in answer.json["detail"]


@pytest.mark.requirement("I05")
def test_a_job_that_failed_elsewhere_is_failed(reporting: Flask, client: FlaskClient, job_id: str) -> None:
    answer = report(client, {"jobId": job_id, "attempt": 1, "status": "failed", "error": "no paper"})

    assert answer.status_code == 200
    with reporting.app_context():
        job = jobs.get(job_id)
        assert job is not None
        assert (job.state, job.error) == ("failed", "no paper")


@pytest.mark.requirement("I05", "P11")
def test_a_report_that_is_not_signed_is_refused(reporting: Flask, client: FlaskClient, job_id: str) -> None:
    body = {"jobId": job_id, "attempt": 1, "status": "completed"}

    assert client.post("/api/queues/webhook", json=body).status_code == 401
    assert report(client, body, secret="another").status_code == 401
    assert report(client, body, at=time.time() - 400).status_code == 401
    assert report(client, body, at=time.time() + 400).status_code == 401
    assert report(client, body, change=b" ").status_code == 401
    reporting.config["UNDERSTUDY_SIGNING_KEY"] = ""
    assert report(client, body).status_code == 404
    with reporting.app_context():
        job = jobs.get(job_id)
        assert job is not None
        assert job.state == "waiting"


@pytest.mark.requirement("I05")
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"jobId": "unknown"}, 404),
        ({"attempt": 2}, 409),
        ({"attempt": 0}, 422),
        ({"status": "gone"}, 422),
        ({"jobId": "../etc"}, 422),
        ({"more": 1}, 422),
    ],
)
def test_a_wrong_report_changes_nothing(
    reporting: Flask, client: FlaskClient, job_id: str, change: dict[str, Any], status: int
) -> None:
    answer = report(client, {"jobId": job_id, "attempt": 1, "status": "completed", **change})

    assert answer.status_code == status
    with reporting.app_context():
        job = jobs.get(job_id)
        assert job is not None
        assert job.state == "waiting"
