"""Mail as the seed documents ask for it, sent by real jobs to a real SMTP server."""

import socket
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from app.actors import email
from app.extensions import db, jobs
from app.models.base import utcnow
from app.models.tenant import Tenant
from flask_understudy import signals
from flask_understudy.contrib.mail import InvalidMail
from flask_understudy.testing import TestWorker
from tools.smtp import SmtpCatcher

NAMED: dict[str, tuple[Callable[..., Any], tuple[str, ...], str]] = {
    "welcome": (email.send_welcome_email, ("ada@example.com", "Ada"), "email:welcome"),
    "verification": (
        email.send_verification_email,
        ("ada@example.com", "Ada", "token-123"),
        "email:verification",
    ),
    "password-reset": (
        email.send_password_reset_email,
        ("ada@example.com", "123456"),
        "email:password-reset",
    ),
    "invitation": (
        email.send_invitation_email,
        ("ada@example.com", "Ada", "Acorn Bakery", "secret-123"),
        "email:invitation",
    ),
    "notification": (
        email.send_notification_email,
        ("ada@example.com", "Ada", "News", "There is news.", "/news"),
        "email:notification",
    ),
}


@pytest.mark.requirement("A35", "A36", "A37", "A38", "V10", "H10")
@pytest.mark.parametrize("name", sorted(NAMED))
def test_named_mail_is_sent_by_a_job(worker: TestWorker, smtp_server: SmtpCatcher, name: str) -> None:
    send, args, actor = NAMED[name]

    message = send(*args)

    assert smtp_server.messages == []
    job = worker.run(message, raise_errors=True)
    [mail] = smtp_server.wait()
    assert (job.state, job.actor, job.queue) == ("completed", actor, "email")
    assert mail["To"] == "ada@example.com"
    assert mail["From"] == "Cofactor Club <no-reply@cofactor.example>"
    assert mail["Message-ID"] == f"<{message.message_id}@cofactor.example>"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert job.result["accepted"] == 1


@pytest.mark.requirement("A38")
def test_link_of_a_notification_is_absolute(worker: TestWorker, smtp_server: SmtpCatcher) -> None:
    worker.run(email.send_notification_email("a@b.example", "Ada", "News", "Read", "/news?x=1"))

    plain, _ = smtp_server.wait()[0].iter_parts()
    assert "https://app.example.com/news?x=1" in plain.get_content()


@pytest.mark.requirement("C08", "D01", "D07")
@pytest.mark.parametrize("name", sorted(NAMED))
def test_named_mail_has_three_attempts_and_its_priority(mailing: Flask, name: str) -> None:
    send, args, _ = NAMED[name]

    job = jobs.get(send(*args).message_id)

    assert job is not None
    assert job.max_attempts == 3
    assert job.priority == (1 if name == "password-reset" else 2)


@pytest.mark.requirement("D07")
def test_named_mail_is_tried_again_after_one_and_two_seconds(
    make_app: Any, sqlite_url: str, smtp_server: SmtpCatcher
) -> None:
    queues = {"email": {"jitter": 0.0}}
    options = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": smtp_server.port}
    app = make_app(sqlite_url, MAIL_SUPPRESS_SEND=False, UNDERSTUDY_QUEUES=queues, **options)
    smtp_server.answer("451 try again later")
    with app.app_context(), TestWorker(jobs) as worker:
        message = email.send_welcome_email("ada@example.com", "Ada")
        for seconds in (1, 2):
            job = worker.run(message)
            assert job.state == "delayed"
            assert seconds - 0.9 < (job.run_at - utcnow()).total_seconds() <= seconds
        job = worker.run(message)

    assert (job.state, job.attempt, smtp_server.attempts) == ("failed", 3, 3)


@pytest.mark.requirement("D10", "C1")
def test_raw_mail_has_the_five_attempts_of_its_queue(mailing: Flask) -> None:
    job = jobs.get(email.queue_email(to="a@b.example", subject="Hi", text="x").message_id)

    assert job is not None
    assert (job.max_attempts, job.priority, job.queue) == (5, 2, "email")
    actor = jobs.broker.get_actor("email:send")
    assert "min_backoff" not in actor.options and "backoff_factor" not in actor.options


@pytest.mark.requirement("A41")
def test_raw_mail_is_sent_as_it_is(worker: TestWorker, smtp_server: SmtpCatcher) -> None:
    message = email.queue_email(
        to=["ada@example.com", "bob@example.com"],
        subject="Hello",
        html="<h1>Hi {{7*7}}</h1>",
        text="Hi {{7*7}}",
        from_="help@cofactor.example",
    )

    worker.run(message, raise_errors=True)

    [mail] = smtp_server.wait()
    plain, rich = mail.iter_parts()
    assert (mail["From"], mail["Subject"]) == ("help@cofactor.example", "Hello")
    assert mail["X-RcptTo"] == "ada@example.com, bob@example.com"
    assert plain.get_content().strip() == "Hi {{7*7}}"
    assert rich.get_content().strip() == "<h1>Hi {{7*7}}</h1>"
    assert mail["Message-ID"] == f"<{message.message_id}@cofactor.example>"


@pytest.mark.requirement("A41")
def test_raw_mail_comes_from_smtp_from_unless_said(worker: TestWorker, smtp_server: SmtpCatcher) -> None:
    worker.run(email.queue_email(to="ada@example.com", subject="Hello", text="x"))

    assert smtp_server.wait()[0]["From"] == "Cofactor Club <no-reply@cofactor.example>"


@pytest.mark.requirement("C1")
def test_queue_email_takes_the_name_of_a_mail_too(worker: TestWorker, smtp_server: SmtpCatcher) -> None:
    message = email.queue_email("welcome", "ada@example.com", {"name": "Ada"})

    job = worker.run(message, raise_errors=True)
    assert (job.actor, job.max_attempts) == ("email:welcome", 3)
    assert "Hello Ada" in next(smtp_server.wait()[0].iter_parts()).get_content()


@pytest.mark.requirement("A07", "A08", "A09", "D01")
@pytest.mark.parametrize(
    ("name", "data", "subject"),
    [
        ("leave-approved", {"name": "Ada", "starts_on": "1 May", "ends_on": "9 May"}, "Your leave is approved"),
        ("payslip-ready", {"name": "Ada", "period": "May", "link": "/p"}, "Your payslip for May"),
    ],
)
def test_mail_without_an_actor_of_its_own_is_sent_by_its_name(
    worker: TestWorker, smtp_server: SmtpCatcher, name: str, data: dict[str, str], subject: str
) -> None:
    job = worker.run(email.queue_email(name, "ada@example.com", data), raise_errors=True)

    assert (job.actor, job.max_attempts, job.priority, job.fallback) == ("email:template", 3, 2, "sync")
    assert smtp_server.wait()[0]["Subject"] == subject


@pytest.mark.requirement("C10")
def test_priority_can_be_given(mailing: Flask) -> None:
    raw = email.queue_email(to="a@b.example", subject="Hi", text="x", priority=4)
    named = email.queue_email("welcome", "a@b.example", {"name": "Ada"}, priority=5)

    assert [jobs.get(m.message_id).priority for m in (raw, named)] == [4, 5]  # type: ignore[union-attr]


@pytest.mark.requirement("A08")
@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        (("welcom", "a@b.example", {"name": "A"}), {}, "'welcom' is no mail"),
        (("welcome", "a@b.example", {}), {}, "'name' is missing"),
        (("welcome", "nobody", {"name": "A"}), {}, "no mail address"),
        (("leave-approved", "a@b.example", {"name": "A"}), {}, "'ends_on' is missing"),
        (("welcome", "a@b.example"), {}, "takes"),
        (("welcome", "a@b.example", {"name": "A"}), {"subject": "x"}, "takes"),
        ((), {"to": "a@b.example", "subject": "x"}, "empty"),
        ((), {"subject": "x", "text": "x"}, "None"),
        ((), {"to": 5, "subject": "x", "text": "x"}, "5 is no mail address"),
        ((), {"to": ["a@b.example", 5], "subject": "x", "text": "x"}, "5 is no mail address"),
        ((), {"to": [], "subject": "x", "text": "x"}, "recipients"),
        (("welcome", None, {"name": "A"}), {}, "None is no mail address"),
        (("welcome", 5, {"name": "A"}), {}, "5 is no mail address"),
        (("welcome", ["a@b.example"], {"name": "A"}), {}, "'a@b.example'. is no mail address"),
        ((["welcome"], "a@b.example", {"name": "A"}), {}, "'welcome'. is no mail"),
        ((), {"to": "a@b.example", "subject": "a\nBcc: e@b.example", "text": "x"}, "line end"),
        ((), {"to": "a@b.example\r\nBcc: e@b.example", "subject": "x", "text": "x"}, "line end"),
        ((), {"to": "a@b.example", "subject": "x", "text": "x", "from_": "x@bank.example"}, "may not"),
        ((), {"to": ["a@b.example"] * 51, "subject": "x", "text": "x"}, "50"),
        (
            ("notification", "a@b.example", {"name": "A", "title": "a\nb", "message": "", "link": "/"}),
            {},
            "line end",
        ),
        (
            ("notification", "a@b.example", {"name": "A", "title": "", "message": "", "link": "js:x"}),
            {},
            "no link",
        ),
    ],
)
def test_wrong_mail_is_refused_before_it_is_stored(worker: TestWorker, args: Any, kwargs: Any, message: str) -> None:
    with pytest.raises(InvalidMail, match=message):
        email.queue_email(*args, **kwargs)

    assert worker.sent(queue="email") == []


def test_mail_refused_for_good_is_not_tried_again(worker: TestWorker, smtp_server: SmtpCatcher) -> None:
    smtp_server.answer("550 no such user")

    job = worker.run(email.send_welcome_email("ada@example.com", "Ada"))

    assert (job.state, job.attempt) == ("failed", 1)
    assert "550 no such user" in str(job.error)


def test_mail_refused_for_now_is_tried_again(worker: TestWorker, smtp_server: SmtpCatcher) -> None:
    smtp_server.answer("451 try again later")
    message = email.send_welcome_email("ada@example.com", "Ada")
    assert worker.run(message).state == "delayed"

    smtp_server.answer()
    assert worker.run(message).state == "completed"
    assert len(smtp_server.wait()) == 1


def test_mail_waits_for_a_server_that_is_down(mailing: Flask, worker: TestWorker) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        mailing.extensions["mail"].port = unused.getsockname()[1]

        assert worker.run(email.send_welcome_email("ada@example.com", "Ada")).state == "delayed"


def test_mail_of_a_transaction_that_rolls_back_is_never_sent(worker: TestWorker) -> None:
    db.session.add(Tenant(slug="x", name="X"))
    email.send_welcome_email("ada@example.com", "Ada")
    db.session.rollback()

    assert worker.drain() == []
    assert worker.sent() == []


@pytest.mark.parametrize(("name", "secret"), [("verification", "token-123"), ("password-reset", "123456")])
def test_secret_of_a_mail_is_in_no_log_and_no_notice(
    worker: TestWorker,
    smtp_server: SmtpCatcher,
    capsys: pytest.CaptureFixture[str],
    name: str,
    secret: str,
) -> None:
    notices: list[Any] = []

    def note(sender: Any, job: Any) -> None:
        notices.append(job)

    smtp_server.answer("451 try again later")
    with signals.job_added.connected_to(note), signals.job_failed.connected_to(note):
        send, args, _ = NAMED[name]
        worker.run(send(*args))

    assert notices
    assert secret not in repr(notices)
    assert secret not in "".join(capsys.readouterr())


@pytest.mark.requirement("A39", "J01")
def test_mail_is_sent_at_once_while_redis_is_down(make_app: Any, database_url: str, smtp_server: SmtpCatcher) -> None:
    app: Flask = make_app(
        database_url,
        REDIS_URL="redis://127.0.0.1:1/0",
        SMTP_HOST="127.0.0.1",
        SMTP_PORT=smtp_server.port,
        MAIL_SUPPRESS_SEND=False,
    )
    with app.app_context():
        message = email.send_password_reset_email("ada@example.com", "123456")

        assert len(smtp_server.messages) == 1
        job = jobs.get(message.message_id)
        assert job is not None and job.state == "completed"
