"""The second seed document's examples, tried as it writes them, over HTTP (A26 to A33, U06)."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import dramatiq
import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.extensions import jobs
from app.models.base import utcnow
from app.models.user import User
from flask_understudy.testing import TestWorker
from tests.app.conftest import AppFactory
from tools.smtp import SmtpCatcher
from tools.waiting import wait_for

Headers = Callable[..., dict[str, str]]
Send = Callable[..., str]


@pytest.fixture
def app(make_app: AppFactory, database_url: str, smtp_server: SmtpCatcher) -> Flask:
    return make_app(database_url, SMTP_HOST="127.0.0.1", SMTP_PORT=smtp_server.port, MAIL_SUPPRESS_SEND=False)


@pytest.fixture
def send(client: FlaskClient, auth_header: Headers) -> Send:
    """Sends a job as a client of the API, and returns its id."""

    def post(type_: str, payload: dict[str, Any] | None = None, **options: Any) -> str:
        answer = client.post(
            "/api/jobs",
            json={"type": type_, "payload": payload or {}, **options},
            headers=auth_header("read", "enqueue"),
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json["id"])  # type: ignore[index]

    return post


@pytest.fixture
def worker(app: Flask) -> Iterator[TestWorker]:
    with app.app_context(), TestWorker(jobs) as worker:
        yield worker


def job_of(id_: str) -> Any:
    return jobs.get(id_)


@pytest.mark.requirement("A26", "U06", "C01", "T05")
def test_a_reminder_comes_after_a_minute(
    worker: TestWorker, send: Send, user_a: User, smtp_server: SmtpCatcher
) -> None:
    id_ = send("reminder:send", {"user_id": user_a.id}, delay=60_000)

    job = job_of(id_)
    assert job.state == "delayed"
    assert 50 < (job.run_at - utcnow()).total_seconds() <= 60
    worker.run(id_, raise_errors=True)
    worker.drain(raise_errors=True)
    [mail] = smtp_server.wait()
    assert (mail["To"], mail["Subject"]) == (user_a.email, "A reminder")


@pytest.mark.requirement("P04")
def test_nobody_is_reminded_by_another_organisation(
    worker: TestWorker, send: Send, user_a: User, user_b: User, smtp_server: SmtpCatcher
) -> None:
    job = worker.run(send("reminder:send", {"user_id": user_b.id}), raise_errors=True)

    assert job.state == "completed"
    assert worker.drain() == []
    assert smtp_server.messages == []


@pytest.mark.requirement("A28", "B10")
def test_a_flaky_job_is_tried_six_times_at_most(worker: TestWorker, send: Send, user_a: User) -> None:
    job = job_of(send("flaky:job", {"chance": 1.0}))
    assert (job.max_attempts, jobs.broker.get_actor(job.actor).options["time_limit"]) == (6, 60_000)

    states = [worker.run(job.id).state for _ in range(6)]

    assert states == ["delayed"] * 5 + ["failed"]
    assert "Random failure" in job_of(job.id).error
    assert worker.run(send("flaky:job", {"chance": 0.0}), raise_errors=True).result == "success"
    assert worker.run(send("flaky:job", {"chance": 0.5, "seed": 0})).state == "delayed"


@pytest.mark.requirement("A29", "B07", "T06")
def test_a_long_task_ends_when_it_is_cancelled(app: Flask, send: Send, user_a: User) -> None:
    id_ = send("long:task", {"items": 10_000, "milliseconds": 5})
    with app.app_context():
        threads = dramatiq.Worker(jobs.broker, worker_threads=1, worker_timeout=100)
        threads.start()
        try:
            wait_for(lambda: job_of(id_).state == "active", "the task to run")
            assert jobs.cancel(id_) == "requested"
            wait_for(lambda: job_of(id_).state == "cancelled", "the task to end")
        finally:
            threads.stop()


@pytest.mark.requirement("A29", "B06")
def test_a_long_task_that_is_left_alone_works_on_all(worker: TestWorker, send: Send, user_a: User) -> None:
    job = worker.run(send("long:task", {"items": 3, "milliseconds": 0}), raise_errors=True)

    assert (job.state, job.result, job.progress) == ("completed", 3, 100)


@pytest.mark.requirement("A30", "C02", "F01")
def test_a_report_is_sent_at_a_date_and_at_once_when_that_has_just_passed(
    worker: TestWorker, send: Send, user_a: User, smtp_server: SmtpCatcher
) -> None:
    payload = {"report_id": "123", "recipients": ["user@example.com", "other@example.com"]}
    later = send("report:send", payload, scheduledFor=(utcnow() + dt.timedelta(days=30)).isoformat())
    at_once = send("report:send", payload, scheduledFor=(utcnow() - dt.timedelta(seconds=30)).isoformat())

    assert job_of(at_once).run_at <= utcnow() < job_of(later).run_at
    worker.run(at_once, raise_errors=True)
    worker.drain(raise_errors=True)
    assert sorted(mail["To"] for mail in smtp_server.wait(2)) == ["other@example.com", "user@example.com"]


@pytest.mark.requirement("A30", "A08")
def test_a_report_for_nobody_fails_at_once_and_is_sent_to_no_one(
    worker: TestWorker, send: Send, user_a: User, smtp_server: SmtpCatcher
) -> None:
    job = worker.run(send("report:send", {"report_id": "123", "recipients": ["user@example.com", "nobody"]}))

    assert (job.state, job.attempt) == ("failed", 1)
    assert "emails[1]" in job.error
    assert worker.drain() == []


@pytest.mark.requirement("A33", "B05", "B10", "T03")
@pytest.mark.parametrize(
    ("outcome", "state", "said"),
    [
        ("done", "completed", None),
        ("unreachable", "delayed", "the warehouse cannot be reached"),
        ("refused", "failed", "the order 7 was refused"),
    ],
)
def test_a_critical_job_raises_what_is_worth_another_try(
    worker: TestWorker,
    send: Send,
    user_a: User,
    client: FlaskClient,
    auth_header: Headers,
    outcome: str,
    state: str,
    said: str | None,
) -> None:
    job = worker.run(send("critical:job", {"order_id": "7", "outcome": outcome}))

    assert (job.state, job.attempt) == (state, 1)
    assert said is None or said in f"{job.error} {job.reason}"
    shown = client.get(f"/api/jobs/{job.id}/logs", headers=auth_header("read", "enqueue"))
    assert "working on order 7, attempt 1" in shown.text
