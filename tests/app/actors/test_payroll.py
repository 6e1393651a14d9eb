"""Payroll as the first seed document has it: all employees, ten at a time, once each, whatever happens."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.actors import cleanup
from app.actors.payroll import queue_payroll_processing
from app.extensions import db, jobs
from app.models.base import new_id
from app.models.employee import Employee
from app.models.payroll_detail import PayrollDetail
from app.models.payroll_period import PayrollPeriod
from app.models.tenant import Tenant
from app.models.user import User
from app.services import payroll
from flask_understudy.testing import TestWorker
from tests.app.conftest import AppFactory
from tools.smtp import SmtpCatcher

EMPLOYEES = 23


@pytest.fixture
def app(make_app: AppFactory, database_url: str, smtp_server: SmtpCatcher) -> Flask:
    return make_app(database_url, SMTP_HOST="127.0.0.1", SMTP_PORT=smtp_server.port, MAIL_SUPPRESS_SEND=False)


@pytest.fixture
def worker(app: Flask) -> Iterator[TestWorker]:
    with app.app_context(), TestWorker(jobs) as worker:
        yield worker


@pytest.fixture
def period(worker: TestWorker, tenant_a: Tenant, tenant_b: Tenant) -> PayrollPeriod:
    """May of an organisation with 23 employees, and two who are not paid; another one has people as well."""

    def hire(tenant: Tenant, n: int, **more: Any) -> Employee:
        fields = {"name": f"Person {n}", "email": f"p{n}@x.example", "salary_cents": 300_000 + n, "hired_on": LONG_AGO}
        return Employee(id=new_id(), tenant_id=tenant.id, **(fields | more))

    db.session.add_all([hire(tenant_a, n) for n in range(EMPLOYEES)])
    db.session.add(hire(tenant_a, 98, left_on=dt.date(2026, 4, 30)))
    db.session.add(hire(tenant_a, 99, hired_on=dt.date(2026, 6, 1)))
    db.session.add(hire(tenant_b, 1))
    may = PayrollPeriod(
        tenant_id=tenant_a.id, name="May 2026", starts_on=dt.date(2026, 5, 1), ends_on=dt.date(2026, 5, 31)
    )
    db.session.add(may)
    db.session.commit()
    return may


LONG_AGO = dt.date(2020, 1, 1)


def details() -> list[PayrollDetail]:
    return list(db.session.scalars(sa.select(PayrollDetail)))


def payroll_mails(smtp_server: SmtpCatcher) -> list[Any]:
    return [mail for mail in smtp_server.messages if "Payroll" in mail["Subject"]]


def text_of(mail: Any) -> str:
    [part] = [part for part in mail.walk() if part.get_content_type() == "text/plain"]
    return str(part.get_payload(decode=True).decode())


@pytest.mark.requirement("A01", "A02", "A05", "A06", "K04", "P10", "T05")
def test_everybody_is_paid_and_who_asked_is_told(
    worker: TestWorker, period: PayrollPeriod, user_a: User, smtp_server: SmtpCatcher
) -> None:
    message = queue_payroll_processing(period.id, period.tenant_id, user_a.id)
    worker.drain(raise_errors=True)

    job = jobs.get(message.message_id)
    assert job is not None
    assert (job.state, job.queue, job.tenant, job.progress) == ("completed", "payroll", period.tenant_id, 100)
    db.session.refresh(period)
    assert (period.status, period.progress, period.processed, period.employees) == ("completed", "100%", 23, 23)
    slips = details()
    assert len({slip.employee_id for slip in slips}) == len(slips) == EMPLOYEES
    assert all(slip.earnings["salary"] >= 300_000 and len(slip.deductions) == 3 for slip in slips)
    assert period.net_cents == sum(slip.net_cents for slip in slips) > 0
    assert job.result == {"period": period.id, "employees": EMPLOYEES, "skipped": False}  # operators see it: no sums
    [mail] = smtp_server.wait()
    assert (mail["To"], mail["Subject"]) == (user_a.email, "Payroll May 2026 is complete")


@pytest.mark.requirement("A03", "A04", "A06", "T02", "T04")
@pytest.mark.parametrize("after", [10, 20, 23])
def test_a_run_that_is_interrupted_goes_on_and_recounts_nothing(
    worker: TestWorker,
    period: PayrollPeriod,
    user_a: User,
    smtp_server: SmtpCatcher,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    seen: list[str] = []
    advance = payroll._advance

    def note(period: PayrollPeriod, done: int) -> None:
        advance(period, done)
        seen.append(period.progress)

    monkeypatch.setattr(payroll, "_advance", note)
    message = queue_payroll_processing(period.id, period.tenant_id, user_a.id)
    with monkeypatch.context() as patch:
        patch.setattr(payroll, "_unpaid", failing_after(after, payroll._unpaid))
        assert worker.run(message).state == "delayed"
    before = {slip.employee_id: (slip.id, slip.created_at) for slip in details()}
    assert len(before) == after
    db.session.execute(sa.update(Employee).values(salary_cents=1))  # what is counted stays
    db.session.commit()

    worker.run(message, raise_errors=True)
    worker.drain(raise_errors=True)

    slips = details()
    assert len(slips) == len({slip.employee_id for slip in slips}) == EMPLOYEES
    assert all((slip.id, slip.created_at) == before.get(slip.employee_id, (slip.id, slip.created_at)) for slip in slips)
    assert sum(slip.gross_cents > 1 for slip in slips) == after
    assert seen == sorted(seen, key=lambda percent: int(percent.rstrip("%")))
    assert len(payroll_mails(smtp_server)) == 1


def failing_after(n: int, unpaid: Any) -> Any:
    def find(period: PayrollPeriod) -> Any:
        if len(details()) >= n:
            raise ConnectionError("the power is off")
        return unpaid(period)

    return find


@pytest.mark.requirement("A04", "A05", "T02")
def test_run_again_after_its_end_it_pays_and_tells_nobody(
    worker: TestWorker, period: PayrollPeriod, user_a: User, smtp_server: SmtpCatcher
) -> None:
    message = queue_payroll_processing(period.id, period.tenant_id, user_a.id)
    worker.drain(raise_errors=True)
    again = jobs.broker.get_actor("payroll:process").send(payroll_period_id=period.id, initiated_by=user_a.id)
    worker.drain(raise_errors=True)

    job = jobs.get(again.message_id)
    assert job is not None
    assert job.id != message.message_id
    assert job.result == {"period": period.id, "skipped": True}
    assert (len(details()), len(payroll_mails(smtp_server))) == (EMPLOYEES, 1)


@pytest.mark.requirement("A04", "D02")
def test_after_four_tries_the_period_has_failed_and_can_be_tried_again(
    worker: TestWorker,
    period: PayrollPeriod,
    user_a: User,
    smtp_server: SmtpCatcher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    message = queue_payroll_processing(period.id, period.tenant_id, user_a.id)
    with monkeypatch.context() as patch:
        patch.setattr(payroll, "_unpaid", failing_after(0, payroll._unpaid))
        states = [worker.run(message).state for _ in range(4)]
        worker.drain()

    assert states == ["delayed", "delayed", "delayed", "failed"]
    db.session.refresh(period)
    why = "It failed 4 times; the last time: ConnectionError: the power is off"
    assert (period.status, period.error) == ("failed", why)
    payroll.settle(period)
    worker.drain()
    [mail] = payroll_mails(smtp_server)
    assert (mail["To"], mail["Subject"], why in text_of(mail)) == (user_a.email, "Payroll May 2026 has failed", True)
    queue_payroll_processing(period.id, period.tenant_id, user_a.id)
    worker.drain(raise_errors=True)
    db.session.refresh(period)
    assert (period.status, period.error) == ("completed", None)


@pytest.mark.requirement("A01", "C05")
def test_asked_twice_it_is_one_job(worker: TestWorker, period: PayrollPeriod, user_a: User) -> None:
    first, second = (queue_payroll_processing(period.id, period.tenant_id, user_a.id) for _ in range(2))

    assert first.message_id == second.message_id


@pytest.mark.requirement("A01", "P04", "P10")
def test_what_cannot_be_paid_is_refused_at_once(
    worker: TestWorker, period: PayrollPeriod, tenant_b: Tenant, user_a: User, user_b: User
) -> None:
    for period_id, company, person, said in (
        ("none", period.tenant_id, user_a.id, "no payroll period 'none'"),
        (period.id, tenant_b.id, user_b.id, "no payroll period"),
        (period.id, period.tenant_id, user_b.id, "no user"),
    ):
        with pytest.raises(payroll.PayrollRefused, match=said):
            queue_payroll_processing(period_id, company, person)
    assert worker.sent() == []

    queue_payroll_processing(period.id, period.tenant_id, user_a.id)
    worker.drain(raise_errors=True)
    with pytest.raises(payroll.PayrollRefused, match="is complete"):
        queue_payroll_processing(period.id, period.tenant_id, user_a.id)


@pytest.mark.requirement("A04", "A06")
@pytest.mark.parametrize("looked_at_by", ["somebody", "upkeep"])
@pytest.mark.parametrize(("end", "why"), [("cancel", "It was cancelled."), ("delete", "Its job is gone.")])
def test_a_payroll_whose_job_ends_between_two_tries_has_failed(
    worker: TestWorker,
    period: PayrollPeriod,
    user_a: User,
    smtp_server: SmtpCatcher,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
    why: str,
    looked_at_by: str,
) -> None:
    message = queue_payroll_processing(period.id, period.tenant_id, user_a.id)
    with monkeypatch.context() as patch:
        patch.setattr(payroll, "_unpaid", failing_after(10, payroll._unpaid))
        assert worker.run(message).state == "delayed"
    payroll.settle_all()
    db.session.refresh(period)
    assert period.status == "processing"  # it is to be tried again
    jobs.cancel(message.message_id)
    if end == "delete":
        db.session.execute(sa.text("DELETE FROM understudy_jobs WHERE id = :id"), {"id": message.message_id})
        db.session.commit()

    for _ in range(2):
        payroll.settle(period) if looked_at_by == "somebody" else cleanup.clean_up()

    db.session.refresh(period)
    assert (period.status, period.error) == ("failed", why)
    worker.drain()
    [mail] = payroll_mails(smtp_server)
    assert why in text_of(mail)


@pytest.mark.requirement("A05")
def test_a_payroll_is_paid_though_who_started_it_has_left(
    worker: TestWorker,
    period: PayrollPeriod,
    user_a: User,
    smtp_server: SmtpCatcher,
    caplog: pytest.LogCaptureFixture,
) -> None:
    message = queue_payroll_processing(period.id, period.tenant_id, user_a.id)
    db.session.execute(sa.delete(User).where(User.id == user_a.id))
    db.session.commit()

    assert worker.run(message, raise_errors=True).state == "completed"

    db.session.refresh(period)
    assert (period.status, len(details())) == ("completed", EMPLOYEES)
    worker.drain()
    assert payroll_mails(smtp_server) == []
    assert "who started it has left" in caplog.text
