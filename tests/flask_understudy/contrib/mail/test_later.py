"""Any message of Flask-Mail, queued with one line: what arrives, what is refused, and what nobody gets to see."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask_mail import Attachment, Message

from flask_understudy import signals
from flask_understudy.contrib.mail import InvalidMail, JobMail
from flask_understudy.errors import PayloadTooLarge
from flask_understudy.redaction import redacted_arguments
from tests.flask_understudy.conftest import MakeSite, Site
from tools.smtp import SmtpCatcher

SENDER = ("The Service, Inc", "no-reply@service.example")


class Post:
    """A site with mail."""

    def __init__(self, site: Site, server: SmtpCatcher, **options: Any) -> None:
        site.app.config |= {"MAIL_SERVER": server.host, "MAIL_PORT": server.port, "MAIL_SUPPRESS_SEND": False}
        site.app.config.setdefault("MAIL_DEFAULT_SENDER", SENDER)
        self.site = site
        self.mail = JobMail(site.jobs, **options)
        self.mail.init_app(site.app)

    def queue(self, subject: str = "Hello", *to: str, options: dict[str, Any] | None = None, **fields: Any) -> str:
        with self.site.app.app_context():
            message = Message(subject, [*(to or ("ada@example.com",))], **({"body": "Hi"} | fields))
            return str(self.mail.send_later(message, **(options or {})).message_id)


@pytest.fixture
def post(make_site: MakeSite, sqlite_ledger: str, smtp_server: SmtpCatcher) -> Post:
    return Post(make_site(sqlite_ledger), smtp_server)


@pytest.mark.requirement("A24", "A41")
def test_a_message_is_sent_by_a_job_with_all_it_says(
    make_site: MakeSite, ledger_url: str, smtp_server: SmtpCatcher
) -> None:
    post = Post(make_site(ledger_url), smtp_server)

    id = post.queue(
        "Figures für Mai",
        "Ada <ada@example.com>",
        ("Bob", "bob@example.com"),  # type: ignore[arg-type]
        body="See below ü",
        html="<p>See below ü</p>",
        alts={"calendar": "BEGIN:VCALENDAR"},
        cc=["cy@example.com"],
        reply_to="help@service.example",
        sender=("Accounts", "accounts@service.example"),
        extra_headers={"List-Unsubscribe": "<https://service.example/leave>", "X-Groesse": "ü"},
        date=1_700_000_000,
        attachments=[
            Attachment("figures ü.csv", "text/csv", "a;b\n1;2ü\n"),
            Attachment("logo.png", "image/png", b"\x89PNG\x00\xff", "inline", {"Content-ID": "<logo>"}),
        ],
    )
    assert smtp_server.messages == []
    job = post.site.worker.run(id, raise_errors=True)

    assert (job.state, job.actor, job.queue, job.fallback) == ("completed", "email:send", "email", "sync")
    assert job.result == {"messageId": f"<{id}@service.example>", "accepted": 3, "refused": {}}
    [mail] = smtp_server.wait()
    assert mail["Message-ID"] == f"<{id}@service.example>"
    assert (mail["Subject"], mail["From"]) == ("Figures für Mai", "Accounts <accounts@service.example>")
    assert (mail["To"], mail["Cc"]) == ("Ada <ada@example.com>, Bob <bob@example.com>", "cy@example.com")
    assert mail["X-RcptTo"] == "ada@example.com, bob@example.com, cy@example.com"
    assert (mail["Reply-To"], mail["X-Groesse"]) == ("help@service.example", "ü")
    assert mail["List-Unsubscribe"] == "<https://service.example/leave>"
    assert mail["Date"].datetime.timestamp() == 1_700_000_000
    text, table, logo = mail.iter_parts()
    kinds = [part.get_content_type() for part in text.iter_parts()]  # type: ignore[attr-defined]
    assert kinds == ["text/plain", "text/html", "text/calendar"]
    assert (table.get_filename(), table.get_content_type()) == ("figures ü.csv", "text/csv")  # type: ignore[attr-defined]
    assert table.get_content() == "a;b\n1;2ü\n"  # type: ignore[attr-defined]
    assert logo.get_content() == b"\x89PNG\x00\xff"  # type: ignore[attr-defined]
    assert (logo["Content-ID"], logo.get_content_disposition()) == ("<logo>", "inline")  # type: ignore[attr-defined]


def test_the_default_sender_is_that_of_the_time_it_is_sent(post: Post, smtp_server: SmtpCatcher) -> None:
    id = post.queue()
    assert post.site.job(id).kwargs == {"to": ["ada@example.com"], "subject": "Hello", "text": "Hi"}

    post.site.worker.run(id, raise_errors=True)

    assert smtp_server.wait()[0]["From"] == '"The Service, Inc" <no-reply@service.example>'


@pytest.mark.requirement("J01")
def test_a_message_is_sent_at_once_while_the_broker_is_down(
    make_site: MakeSite, ledger_url: str, smtp_server: SmtpCatcher
) -> None:
    post = Post(make_site(ledger_url, "redis://127.0.0.1:1/0"), smtp_server)

    id = post.queue(attachments=[Attachment("a.txt", "text/plain", "x")], bcc=["eve@example.com"])

    [mail] = smtp_server.messages
    assert mail["Message-ID"] == f"<{id}@service.example>"
    assert post.site.job(id).state == "completed"


def test_a_message_of_a_transaction_that_rolls_back_is_never_sent(post: Post, smtp_server: SmtpCatcher) -> None:
    with post.site.app.app_context():
        for end in (post.site.db.session.rollback, post.site.db.session.commit):
            post.site.db.session.add(post.site.Note(text="x"))
            post.mail.send_later(Message("Hello", ["ada@example.com"], body="x"))
            end()

    assert len(post.site.worker.drain(raise_errors=True)) == 1
    assert len(smtp_server.wait()) == 1


def test_an_unseen_copy_is_seen_by_nobody(
    post: Post, smtp_server: SmtpCatcher, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    notices: list[Any] = []

    def note(sender: Any, job: Any) -> None:
        notices.append(job)

    with signals.job_added.connected_to(note), signals.job_completed.connected_to(note):
        id = post.queue(bcc=["eve@example.com", "Ada <ada@example.com>"])
        job = post.site.worker.run(id, raise_errors=True)

    [mail] = smtp_server.wait()
    assert mail["X-RcptTo"] == "ada@example.com, eve@example.com"
    del mail["X-RcptTo"]
    logged = [record.getMessage() for record in caplog.records if record.name != "mail.log"]  # that is the server's
    assert notices and logged and "eve" not in f"{mail.as_string()} {notices!r} {logged} {job.result}"
    actor = post.site.jobs.broker.get_actor("email:send")
    assert "eve" not in str(redacted_arguments(actor, job.args, job.kwargs))


def told_of(site: Site, job_id: str) -> str:
    """What the ledger keeps of failed attempts."""
    with site.db_session() as session:
        return str(
            session.execute(sa.text("SELECT * FROM understudy_attempts WHERE job_id = :id"), {"id": job_id}).all()
        )


@pytest.mark.parametrize("others", [["ada@example.com"], ["550@example.com"]], ids=["taken", "refused"])
def test_an_unseen_copy_that_is_refused_is_not_named(
    make_site: MakeSite, sqlite_ledger: str, serve: Callable[..., int], others: list[str], smtp_server: SmtpCatcher
) -> None:
    class Refusing:
        async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
            if address[:3].isdigit():
                return f"550 no <{address}>"
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(self, *_: Any) -> str:
            return "250 OK"

    post = Post(make_site(sqlite_ledger), smtp_server)
    post.site.app.extensions["mail"].port = serve(Refusing())

    job = post.site.worker.run(post.queue("Hello", *others, bcc=["551-eve@example.com"]))

    assert "eve" not in f"{job.result} {job.error} {told_of(post.site, job.id)}"
    if others == ["ada@example.com"]:
        assert job.result["refused"] == {"bcc": "550 no <bcc>"}
    else:
        assert job.state == "failed" and "550 no <550@example.com>" in str(job.error)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"recipients": ["ada@example.com\r\nBcc: eve@example.com"]}, "line end"),
        ({"recipients": [("Ada\nBcc: eve@example.com", "ada@example.com")]}, "line end"),
        ({"recipients": []}, "recipients"),
        ({"recipients": ["nobody"]}, "no mail address"),
        ({"subject": "a\nBcc: eve@example.com"}, "line end"),
        ({"subject": "=?utf-8?q?a=0ABcc:_eve@example.com?="}, "line end"),
        ({"cc": ["a@example.com\nX: y"]}, "line end"),
        ({"bcc": ["a@example.com\nX: y"]}, "line end"),
        ({"bcc": ["a@example.com"] * 50}, "50"),
        ({"reply_to": "a@example.com\nX: y"}, "line end"),
        ({"sender": "a@service.example\nX: y"}, "line end"),
        ({"sender": "ceo@bank.example"}, "may not send"),
        ({"extra_headers": {"X-A": "b\r\nBcc: eve@example.com"}}, "line end"),
        ({"extra_headers": {"X-A\nBcc": "b"}}, "no name of a header"),
        ({"extra_headers": {"X:": "b"}}, "no name of a header"),
        ({"extra_headers": {"bcc": "eve@example.com"}}, "set those instead"),
        ({"extra_headers": {"Resent-To": "eve@example.com"}}, "set those instead"),
        ({"extra_headers": {"Content-Type": "text/html"}}, "set those instead"),
        ({"extra_headers": {f"X-{n}": "b" for n in range(51)}}, "50 headers"),
        ({"body": ""}, "empty"),
        ({"alts": {"html\nX: y": "x"}}, "no form of a text"),
        ({"attachments": [Attachment("a\r\nX: y.csv", "text/csv", "x")]}, "line end"),
        ({"attachments": [Attachment("a.csv", "nonsense", "x")]}, "no type of an attachment"),
        ({"attachments": [Attachment("a.csv", "text/csv\nX: y", "x")]}, "line end"),
        ({"attachments": [Attachment("a.csv", "multipart/mixed", "x")]}, "no type of an attachment"),
        ({"attachments": [Attachment("a.csv", "text/csv", "x", "form-data; a=b")]}, "neither 'attachment' nor"),
        ({"attachments": [Attachment("a.csv", "text/csv", "x", headers={"X": "a\nb"})]}, "line end"),
        ({"attachments": [Attachment("a.csv", "text/csv", "x")] * 51}, "50 attachments"),
        ({"mail_options": ["SMTPUTF8"]}, "send such a mail by send"),
    ],
)
def test_a_message_that_cannot_be_sent_is_refused_where_it_is_queued(
    post: Post, fields: dict[str, Any], said: str
) -> None:
    with post.site.app.app_context():
        message = Message(**({"subject": "Hello", "recipients": ["ada@example.com"], "body": "Hi"} | fields))
        with pytest.raises(InvalidMail, match=said):
            post.mail.send_later(message)

    assert post.site.all_jobs() == []


@pytest.mark.parametrize(
    ("attachment", "said"),
    [
        ({"filename": "a.csv"}, r"attachments\[0\] takes data"),
        ({"data": "eA==", "path": "/etc/passwd"}, r"attachments\[0\] takes data"),
        ({"data": "no base64"}, r"attachments\[0\] is no base64"),
        ("eA==", r"attachments\[0\] takes data"),
    ],
)
def test_an_attachment_that_is_none_fails_for_good(post: Post, attachment: Any, said: str) -> None:
    with post.site.app.app_context():
        id = post.mail.actor.send(to="ada@example.com", attachments=[attachment]).message_id

    job = post.site.worker.run(id)

    assert (job.state, job.attempt) == ("failed", 1)
    with pytest.raises(InvalidMail, match=said):
        raise InvalidMail(str(job.error))


def test_what_is_too_large_for_a_job_is_refused_with_a_way_out(post: Post) -> None:
    with pytest.raises(PayloadTooLarge, match=r"The mail is too large for a job: .* are accepted.*link to the file"):
        post.queue(attachments=[Attachment("a.bin", "application/octet-stream", bytes(300_000))])
    with pytest.raises(PayloadTooLarge, match=r"^The arguments"):
        post.queue(body="x" * 300_000)

    assert post.site.all_jobs() == []
    post.queue(attachments=[Attachment("a.bin", None, bytes(150_000))])


def test_the_actor_and_the_send_take_options(make_site: MakeSite, sqlite_ledger: str, smtp_server: SmtpCatcher) -> None:
    post = Post(make_site(sqlite_ledger), smtp_server, queue_name="post", actor_name="post:send", max_retries=1)

    job = post.site.job(post.queue(options={"priority": 1, "tenant": "aster", "delay": 60_000}))

    assert (job.queue, job.actor, job.max_attempts) == ("post", "post:send", 2)
    assert (job.priority, job.tenant, job.state) == (1, "aster", "delayed")


def test_nobody_may_send_without_a_sender_of_ours(
    make_site: MakeSite, sqlite_ledger: str, smtp_server: SmtpCatcher
) -> None:
    post = Post(make_site(sqlite_ledger, MAIL_DEFAULT_SENDER=None), smtp_server)

    with pytest.raises(InvalidMail, match="nobody may without MAIL_DEFAULT_SENDER"):
        post.queue(sender="ada@example.com")
    with pytest.raises(InvalidMail, match="There is no sender"):
        post.queue()


def test_sending_at_once_is_still_flask_mail_s(post: Post, smtp_server: SmtpCatcher) -> None:
    with post.site.app.app_context():
        post.mail.send(Message("Now", ["ada@example.com"], body="x", sender="ada@anywhere.example"))

    assert smtp_server.wait()[0]["Subject"] == "Now"
    assert post.site.all_jobs() == []
