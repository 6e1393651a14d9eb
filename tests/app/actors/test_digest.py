"""The daily digest: whom it is sent to, what it says, and that nobody gets it twice."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from app.actors import digest as actors
from app.actors import email
from app.extensions import db, jobs
from app.models.base import new_id, utcnow
from app.models.export_job import ExportJob, ExportStatus, ExportType
from app.models.user import User
from app.models.wiki_page import WikiPage
from app.services import digest
from flask_understudy.clock.declared import declare
from flask_understudy.contrib.mail import InvalidMail
from flask_understudy.testing import TestWorker
from tests.app.conftest import AppFactory
from tools.smtp import SmtpCatcher

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def app(make_app: AppFactory, database_url: str, smtp_server: SmtpCatcher) -> Flask:
    return make_app(
        database_url,
        SMTP_HOST="127.0.0.1",
        SMTP_PORT=smtp_server.port,
        MAIL_SUPPRESS_SEND=False,
        APP_URL="https://app.example.com",
    )


@pytest.fixture
def worker(app: Flask) -> Iterator[TestWorker]:
    with app.app_context(), TestWorker(jobs) as worker:
        yield worker


@pytest.fixture
def period() -> digest.Period:
    return digest.period_of("daily", utcnow())


@pytest.fixture
def people(worker: TestWorker, user_a: User, other_user_a: User, user_b: User) -> None:
    """Two of Aster and one of Birch, their addresses verified, and one of Aster whose address is not."""
    db.session.execute(sa.update(User).values(email_verified_at=utcnow()))
    db.session.add(User(tenant_id=user_a.tenant_id, email="new@aster.example", name="New", role="member"))
    db.session.commit()


def page(tenant_id: str, author_id: str | None, at: dt.datetime) -> WikiPage:
    return WikiPage(tenant_id=tenant_id, author_id=author_id, slug=new_id(), title="x", body="x", created_at=at)


def export(user: User, status: ExportStatus, ordered: dt.datetime, completed: dt.datetime | None = None) -> ExportJob:
    fields: dict[str, Any] = {"type": ExportType.MEMBERS, "status": status, "format": "csv"}
    return ExportJob(tenant_id=user.tenant_id, user_id=user.id, created_at=ordered, completed_at=completed, **fields)


def run(worker: TestWorker, digest_type: Any = "daily") -> Any:
    """Make the digest and send its mails."""
    job = worker.run(actors.send_digest.send(digest_type=digest_type), raise_errors=True)
    worker.drain(raise_errors=True)
    return job.result


def told(smtp_server: SmtpCatcher, n: int) -> dict[str, str]:
    """The texts of the mails by their recipients."""
    return {mail["To"]: next(mail.iter_parts()).get_content() for mail in smtp_server.wait(n)}  # type: ignore[attr-defined]


@pytest.mark.requirement("A31", "P04")
def test_each_person_is_told_what_is_new_in_their_own_organisation(
    worker: TestWorker,
    people: None,
    user_a: User,
    other_user_a: User,
    user_b: User,
    period: digest.Period,
    smtp_server: SmtpCatcher,
) -> None:
    within, before = period.until - 2 * HOUR, period.since - HOUR / 60
    db.session.add_all(
        [
            page(user_a.tenant_id, user_a.id, within),
            page(user_a.tenant_id, other_user_a.id, within),
            page(user_a.tenant_id, None, period.since),
            page(user_a.tenant_id, user_a.id, before),
            page(user_a.tenant_id, user_a.id, period.until),
            page(user_b.tenant_id, user_b.id, within),
            export(user_a, ExportStatus.COMPLETED, before, period.since),
            export(user_a, ExportStatus.COMPLETED, before, before),
            export(user_b, ExportStatus.FAILED, within),
            export(user_b, ExportStatus.FAILED, period.until - HOUR / 2),
            export(user_b, ExportStatus.PROCESSING, within),
        ]
    )
    db.session.commit()

    assert run(worker) == {"period": period.name, "people": 3}

    texts = told(smtp_server, 3)
    assert len(smtp_server.messages) == 3
    assert set(texts) == {"ada@aster.example", "alan@aster.example", "bea@birch.example"}
    figures = {to: [line for line in text.splitlines() if line.startswith("- ")] for to, text in texts.items()}
    assert figures == {
        "ada@aster.example": ["- New pages of others in the wiki: 2", "- Your exports that are ready: 1"],
        "alan@aster.example": ["- New pages of others in the wiki: 2"],
        "bea@birch.example": ["- Your exports that failed: 1"],
    }
    assert "Hello Ada" in texts["ada@aster.example"] and "https://app.example.com/" in texts["ada@aster.example"]
    subjects = {mail["To"]: mail["Subject"] for mail in smtp_server.messages}
    assert subjects["bea@birch.example"] == f"What is new at Birch GmbH: {period.name}"
    tenants = {job.tenant for job in worker.sent("email:template")}
    assert tenants == {user_a.tenant_id, user_b.tenant_id}
    batches = {job.batch_id for job in worker.sent("email:template")}
    assert len(batches) == 2 and None not in batches


@pytest.mark.requirement("A31")
def test_who_has_no_news_gets_no_mail(worker: TestWorker, people: None, smtp_server: SmtpCatcher) -> None:
    assert run(worker)["people"] == 0

    assert smtp_server.messages == [] and worker.sent("email:template") == []


@pytest.mark.requirement("A31", "T02")
def test_a_digest_that_is_made_twice_is_sent_once_a_day(
    worker: TestWorker,
    people: None,
    user_a: User,
    other_user_a: User,
    user_b: User,
    period: digest.Period,
    smtp_server: SmtpCatcher,
) -> None:
    smtp_server.refuse(other_user_a.email, "550 no such user")
    news = (page(tenant, None, period.until - HOUR) for tenant in (user_a.tenant_id, user_b.tenant_id))
    db.session.add_all(news)
    db.session.commit()

    worker.run(actors.send_digest.send("daily"))
    worker.drain()
    jobs.clean("email")  # whatever is still known of the mails
    jobs.clean("email", "failed")
    later = User(tenant_id=user_b.tenant_id, email="late@birch.example", name="L", email_verified_at=utcnow())
    db.session.add(later)
    db.session.commit()
    run(worker)
    assert sorted(told(smtp_server, 3)) == ["ada@aster.example", "bea@birch.example", "late@birch.example"]
    assert smtp_server.attempts == 4  # the refused one once

    with time_machine.travel(utcnow() + dt.timedelta(days=1)):
        db.session.add(page(user_b.tenant_id, None, period.until + HOUR))
        db.session.commit()
        run(worker)
    assert len(smtp_server.wait(5)) == 5


def test_an_address_that_is_none_keeps_nobody_from_their_digest(
    worker: TestWorker, people: None, user_b: User, period: digest.Period, smtp_server: SmtpCatcher
) -> None:
    db.session.add(User(tenant_id=user_b.tenant_id, email="nobody", name="N", email_verified_at=utcnow()))
    db.session.add(page(user_b.tenant_id, None, period.until - HOUR))
    db.session.commit()

    assert run(worker)["people"] == 1
    assert list(told(smtp_server, 1)) == ["bea@birch.example"]


@pytest.mark.requirement("A31")
def test_a_digest_that_is_none_is_refused(worker: TestWorker, client: FlaskClient) -> None:
    job = worker.run(actors.send_digest.send(digest_type="hourly"))  # type: ignore[arg-type]

    assert (job.state, job.attempt) == ("failed", 1)
    assert "'hourly' is no digest; there is 'daily'" in str(job.error)


@pytest.mark.requirement("E08", "U06", "C20")
def test_the_digest_is_sent_every_morning_at_nine_in_new_york(
    worker: TestWorker, people: None, user_b: User, period: digest.Period, smtp_server: SmtpCatcher
) -> None:
    db.session.add(page(user_b.tenant_id, None, period.until - HOUR))
    db.session.commit()
    declare(jobs.state)  # as a clock does when it begins to lead

    schedule = jobs.schedules.get("daily-digest")
    jobs.schedules.run("daily-digest")
    worker.drain(raise_errors=True)

    assert (schedule.schedule, schedule.timezone, schedule.type) == ("0 9 * * *", "America/New_York", "email:digest")
    assert (schedule.payload, schedule.enabled) == ({"digest_type": "daily"}, True)
    next_run = schedule.next_run_at
    assert next_run is not None and next_run.astimezone(digest.ZONE).time() == dt.time(9)
    assert list(told(smtp_server, 1)) == ["bea@birch.example"]


@pytest.mark.parametrize(
    ("now", "until", "hours"),
    [
        ("2026-11-29T14:00:00Z", "2026-11-29T14:00:00Z", 24),
        ("2026-11-29T13:59:30Z", "2026-11-29T14:00:00Z", 24),  # a clock that is behind
        ("2026-11-29T13:50:00Z", "2026-11-28T14:00:00Z", 24),
        ("2026-11-30T04:00:00Z", "2026-11-29T14:00:00Z", 24),
        ("2026-03-08T13:00:00Z", "2026-03-08T13:00:00Z", 23),  # summer time begins
        ("2026-11-01T20:00:00Z", "2026-11-01T14:00:00Z", 25),  # and ends
    ],
)
def test_a_day_ends_at_nine_in_new_york(now: str, until: str, hours: int) -> None:
    found = digest.period_of("daily", dt.datetime.fromisoformat(now))

    assert found.until == dt.datetime.fromisoformat(until)
    assert found.until.astimezone(dt.UTC) - found.since.astimezone(dt.UTC) == hours * HOUR


def test_mails_and_their_keys_are_as_many(worker: TestWorker) -> None:
    mail = {"to": "ada@example.com", "type": "welcome", "data": {"name": "Ada"}}

    with pytest.raises(InvalidMail, match="1 mails and 2 keys"):
        email.queue_batch_emails([mail], keys=["a", "b"])
    assert worker.sent() == []
