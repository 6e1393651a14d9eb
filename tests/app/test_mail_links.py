"""Where the links in the service's mails lead: to pages that a person's browser shows."""

import datetime as dt
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from app.actors import email
from app.actors.digest import send_digest
from app.actors.examples import send_reminder, send_report
from app.actors.exports import generate_export
from app.actors.payroll import queue_payroll_processing
from app.actors.reports import queue_report
from app.extensions import db, jobs
from app.models.base import new_id, utcnow
from app.models.employee import Employee
from app.models.export_job import ExportJob, ExportStatus
from app.models.payroll_period import PayrollPeriod, PayrollStatus
from app.models.user import User
from app.models.wiki_page import WikiPage
from app.services import digest, payroll, verification
from app.services import email as mails
from app.services.exports import lifecycle
from flask_understudy import Principal, acting_as
from flask_understudy.testing import TestWorker
from tests.app.conftest import AppFactory
from tools.smtp import SmtpCatcher

HOME = "https://app.example.com"
#: Filled by whoever calls the functions, with a link of their own or none.
OF_CALLERS = {"leave-approved", "payslip-ready"}


@pytest.fixture
def app(make_app: AppFactory, sqlite_url: str, smtp_server: SmtpCatcher) -> Flask:
    settings = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": smtp_server.port, "MAIL_SUPPRESS_SEND": False}
    return make_app(sqlite_url, APP_URL=HOME, **settings)


@pytest.fixture
def worker(app: Flask) -> Iterator[TestWorker]:
    with app.app_context(), TestWorker(jobs) as worker:
        yield worker


def files_of(person: User) -> None:
    """Two files, each once complete and once failed."""
    caller = Principal(person.id, person.tenant_id)
    for fails in (False, True):
        made = [lifecycle.order(caller, "MEMBERS", {}, "csv")]
        made[0].notify_email = person.email
        made[0].job_id = generate_export.send(made[0].id).message_id
        made.append(
            queue_report(type="audits", organization_id=person.tenant_id, user_id=person.id, notify_email=person.email)
        )
        db.session.commit()
        for export in made if fails else ():
            jobs.cancel(str(export.job_id))
            lifecycle.settle(export)


def payroll_of(person: User) -> None:
    fields = {"tenant_id": person.tenant_id, "name": "May"}
    db.session.add(Employee(**fields, email="e@x.example", salary_cents=1, hired_on=dt.date(2020, 1, 1)))
    may = PayrollPeriod(**fields, starts_on=dt.date(2026, 5, 1), ends_on=dt.date(2026, 5, 31))
    june = PayrollPeriod(
        **fields,
        starts_on=dt.date(2026, 6, 1),
        ends_on=dt.date(2026, 6, 30),
        status=PayrollStatus.PROCESSING,
        initiated_by=person.id,
    )
    db.session.add_all([may, june])
    db.session.commit()
    queue_payroll_processing(may.id, person.tenant_id, person.id)
    payroll.fail(june.id, "The disk is full.")


def news_of(person: User) -> None:
    yesterday = digest.period_of("daily", utcnow()).since + dt.timedelta(hours=1)
    db.session.execute(db.update(User).values(email_verified_at=yesterday))
    db.session.add(WikiPage(tenant_id=person.tenant_id, slug=new_id(), title="x", body="x", created_at=yesterday))
    db.session.commit()
    send_digest.send("daily")


@pytest.mark.requirement("A38", "A47", "H11")
def test_every_link_in_a_mail_opens_a_page(
    app: Flask, worker: TestWorker, user_a: User, smtp_server: SmtpCatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: dict[str, Any] = {}

    def write(name: str, data: Any) -> mails.Text:
        text = original(name, data)
        written.setdefault(name, []).append(text)
        return text

    original = mails.write
    monkeypatch.setattr(mails, "write", write)
    files_of(user_a)
    payroll_of(user_a)
    news_of(user_a)
    email.send_welcome_email(user_a.email, user_a.name)
    email.send_verification_email(user_a.email, user_a.name, verification.make_token(user_a))
    email.request_password_reset.send(user_a.email)
    email.send_invitation_email("new@x.example", "New", "Aster Ltd", "s" * 40)
    with acting_as(Principal(user_a.id, user_a.tenant_id)):
        send_reminder.send(user_a.id)
        send_report.send("7", [user_a.email])
    db.session.commit()

    worker.drain(raise_errors=True)

    assert set(written) == set(mails.TEMPLATES) - OF_CALLERS
    statuses = set(db.session.scalars(db.select(ExportJob.status)))
    assert statuses == {ExportStatus.COMPLETED, ExportStatus.FAILED}
    found = {
        link for texts in written.values() for mail in texts for link in re.findall(r"https?://[^\s<\"]+", mail.text)
    }
    assert len(found) >= 4
    for link in found:
        assert link.startswith(HOME)
        page = app.test_client().get(link.removeprefix(HOME), headers={"Accept": "text/html"})
        assert (page.status_code, page.mimetype) == (200, "text/html"), link
