"""What a mail looks like, and what is refused before it is one."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from flask import Flask

from flask_understudy.contrib.mail import InvalidMail, check, compose

JOB = "6d1f3a52-5d0e-4d43-a3c1-6a3f3f3f3f3f"


def parsed(letter: Any) -> EmailMessage:
    return message_from_bytes(letter.as_bytes(), policy=policy.default)


@pytest.mark.requirement("A41")
def test_text_and_html_are_alternatives_of_one_mail(context: Flask) -> None:
    mail = parsed(compose("ada@example.com", "Hello", text="Plain ü", html="<p>Rich ü</p>"))

    assert mail.get_content_type() == "multipart/alternative"
    plain, rich = mail.iter_parts()
    assert (plain.get_content_type(), plain.get_content().strip()) == ("text/plain", "Plain ü")
    assert (rich.get_content_type(), rich.get_content().strip()) == ("text/html", "<p>Rich ü</p>")


@pytest.mark.parametrize(("part", "kind"), [("text", "text/plain"), ("html", "text/html")])
def test_one_part_alone_is_a_plain_mail(context: Flask, part: str, kind: str) -> None:
    mail = parsed(compose("ada@example.com", "Hello", **{part: "content"}))

    assert mail.get_content_type() == kind
    assert mail.get_content().splitlines() == ["content"]


def test_message_id_is_made_of_the_job(context: Flask) -> None:
    mail = parsed(compose("ada@example.com", "Hello", text="x", job_id=JOB))

    assert mail["Message-ID"] == f"<{JOB}@service.example>"


def test_message_id_is_random_without_a_job(context: Flask) -> None:
    first, second = (compose("ada@example.com", "Hello", text="x").msgId for _ in range(2))

    assert first != second
    assert first.endswith("@service.example>")


@pytest.mark.requirement("A41", "H10")
def test_sender_is_the_configured_one_with_its_name(context: Flask) -> None:
    mail = parsed(compose("ada@example.com", "Hello", text="x"))

    assert mail["From"] == "The Service <no-reply@service.example>"


def test_configured_sender_may_be_a_pair(make_app: Any) -> None:
    app = make_app()
    app.extensions["mail"].default_sender = ("Süd, West", "south@service.example")
    with app.app_context():
        mail = parsed(compose("ada@example.com", "Hello", text="x"))

    assert mail["From"].addresses[0].display_name == "Süd, West"
    assert mail["From"].addresses[0].addr_spec == "south@service.example"


def test_sender_of_our_domain_may_be_chosen(context: Flask) -> None:
    mail = parsed(compose("ada@example.com", "Hi", text="x", sender="Help <help@Service.example>"))

    assert mail["From"] == "Help <help@Service.example>"


@pytest.mark.parametrize("sender", ["ceo@bank.example", "no-reply@evil-service.example", "a@service.example.evil.com"])
def test_stranger_cannot_be_the_sender(context: Flask, sender: str) -> None:
    with pytest.raises(InvalidMail, match="may not send; service.example may"):
        compose("ada@example.com", "Hello", text="x", sender=sender)


def test_more_senders_can_be_allowed(make_app: Any) -> None:
    app = make_app(MAIL_ALLOWED_SENDERS=["Partner.example", "one@shared.example"])
    with app.app_context():
        for sender in ("x@partner.example", "one@shared.example", "x@service.example"):
            compose("ada@example.com", "Hello", text="x", sender=sender)
        with pytest.raises(InvalidMail):
            compose("ada@example.com", "Hello", text="x", sender="two@shared.example")


def test_no_sender_at_all_is_an_error_with_the_remedy(make_app: Any) -> None:
    app = make_app()
    app.extensions["mail"].default_sender = None
    with app.app_context(), pytest.raises(InvalidMail, match="MAIL_DEFAULT_SENDER"):
        compose("ada@example.com", "Hello", text="x")


def test_subject_and_names_beyond_ascii_arrive(context: Flask) -> None:
    mail = parsed(compose("Zoë Ünal <zoe@example.com>", "Grüße — 你好 " + "ä" * 200, text="x"))

    assert mail["Subject"] == "Grüße — 你好 " + "ä" * 200
    assert mail["To"].addresses[0].display_name == "Zoë Ünal"


def test_mail_says_that_a_machine_wrote_it(context: Flask) -> None:
    mail = parsed(compose("ada@example.com", "Hello", text="x", reply_to="help@example.com"))

    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Reply-To"] == "help@example.com"
    assert mail["Date"].datetime.tzinfo is not None


@pytest.mark.parametrize("field", ["to", "subject", "sender", "reply_to", "job_id"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\x00", "\u2028"])
def test_no_header_can_be_broken(context: Flask, field: str, end: str) -> None:
    good = {"to": "ada@example.com", "subject": "Hello", "sender": "x@service.example"}
    good |= {"reply_to": "r@example.com", "job_id": JOB}

    with pytest.raises(InvalidMail):
        compose(**(good | {field: good[field] + end + "Bcc: eve@example.com"}), text="x")  # type: ignore[arg-type]


def test_body_may_have_any_line(context: Flask) -> None:
    text = "one\r\ntwo\n.\nFrom here\u2028on"

    mail = parsed(compose("ada@example.com", "Hello", text=text))

    assert mail.get_content().splitlines() == text.splitlines()


def test_fifty_recipients_are_the_most() -> None:
    many = [f"a{number}@example.com" for number in range(51)]

    assert len(check(many[:50], "Hello", text="x")) == 50
    with pytest.raises(InvalidMail, match="1 to 50 recipients, not 51"):
        check(many, "Hello", text="x")
    with pytest.raises(InvalidMail, match="not 0"):
        check([], "Hello", text="x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"to": "nobody"}, "'nobody' is no mail address"),
        ({"subject": "x" * 501}, "500 characters"),
        ({"text": None}, "empty"),
        ({"text": ""}, "empty"),
    ],
)
def test_mail_that_cannot_be_sent_is_refused_with_the_reason(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"to": "ada@example.com", "subject": "Hello", "text": "x"}

    with pytest.raises(InvalidMail, match=message):
        check(**(good | change))
