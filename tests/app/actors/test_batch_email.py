"""Many mails with one call: ten at a time, and none harmed by another (requirements A10 to A12)."""

from typing import Any

import pytest

from app.actors import email
from app.extensions import jobs
from flask_understudy.contrib.mail import InvalidMail
from flask_understudy.testing import TestWorker
from tools.smtp import SmtpCatcher


def payslip(name: str, **changes: Any) -> dict[str, Any]:
    data = {"name": name, "period": "May", "link": "/payslips/1"}
    return {"to": f"{name}@example.com", "type": "payslip-ready", "data": data, **changes}


@pytest.mark.requirement("A10", "A11")
def test_many_mails_are_one_batch_that_sends_ten_at_a_time(worker: TestWorker, smtp_server: SmtpCatcher) -> None:
    batch = email.queue_batch_emails([payslip(f"person-{n}") for n in range(12)], name="Payslips of May")

    assert (batch.progress().total, batch.progress().concurrency) == (12, 10)
    worker.drain(raise_errors=True)
    assert sorted(mail["To"] for mail in smtp_server.wait(12)) == sorted(f"person-{n}@example.com" for n in range(12))
    assert (batch.progress().state, batch.progress().completed) == ("completed", 12)


@pytest.mark.requirement("A12")
def test_failed_addresses_are_told_and_the_others_have_their_mail(worker: TestWorker, smtp_server: SmtpCatcher) -> None:
    smtp_server.refuse("person-1@example.com", "550 no such user")
    batch = email.queue_batch_emails([payslip(f"person-{n}") for n in range(3)])

    worker.drain()

    [failed] = email.failed_of_batch(batch.id)
    assert (failed["to"], failed["type"]) == ("person-1@example.com", "payslip-ready")
    assert "550 no such user" in failed["error"]
    assert {mail["To"] for mail in smtp_server.wait(2)} == {"person-0@example.com", "person-2@example.com"}
    [report] = [job for job in worker.sent(queue="email") if job.actor == "email:send-batch"]
    told = jobs.get(report.id)
    assert told is not None
    assert told.result == {"batch": batch.id, "total": 3, "sent": 2, "failed": [failed]}


@pytest.mark.requirement("A08", "A10")
@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (payslip("ada", type="payslip-redy"), r"emails\[1\]: 'payslip-redy' is no mail.*'payslip-ready'"),
        (payslip("ada", data={"name": "A"}), r"emails\[1\]: 'link' is missing"),
        (payslip("ada", to="nobody"), r"emails\[1\]: .*no mail address"),
        (payslip("ada", to=None), r"emails\[1\]: None is no mail address"),
        (payslip("ada", to=["a@b.example"]), r"emails\[1\]: \['a@b.example'\] is no mail address"),
        (payslip("ada", type=["x"]), r"emails\[1\]: \['x'\] is no mail"),
        (payslip("ada", cc="x@y.example"), r"emails\[1\]: it takes to, type and data"),
        ("ada@example.com", r"emails\[1\]: it takes to, type and data"),
    ],
)
def test_one_wrong_mail_refuses_the_batch_by_its_place(worker: TestWorker, entry: Any, said: str) -> None:
    with pytest.raises(InvalidMail, match=said):
        email.queue_batch_emails([payslip("bob"), entry])

    assert worker.sent() == []


def test_a_batch_has_a_mail_and_no_endless_number(worker: TestWorker) -> None:
    for emails in ([], [payslip("ada")] * (email.MOST_OF_A_BATCH + 1)):
        with pytest.raises(InvalidMail, match="1 to 10000 mails"):
            email.queue_batch_emails(emails)
