"""Handing mail to real servers: what is final, what is tried again, and that nothing hangs."""

from __future__ import annotations

import smtplib
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask_mail
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from flask import Flask

from flask_understudy.contrib.mail import PERMANENT, BoundedConnection, MailRejected, compose, deliver
from tools.smtp import SmtpCatcher

Serve = Callable[..., int]
MakeApp = Callable[..., Flask]


def send(app: Flask, *to: str, timeout_seconds: float = 5.0, **options: Any) -> dict[str, Any]:
    with app.app_context():
        letter = compose(to or "ada@example.com", "Hello", text="x", **options)
        return deliver(letter, timeout_seconds=timeout_seconds)


class Picky:
    """Answers each recipient with the code its address begins with, and the mail with `data`."""

    def __init__(self, data: str = "250 OK", sender: str = "250 OK") -> None:
        self.data = data
        self.sender = sender
        self.taken: list[list[str]] = []

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.sender.startswith("2"):
            envelope.mail_from = address
        return self.sender

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address[:3].isdigit():
            return f"{address[:3]} not <{address}>"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.data.startswith("2"):
            self.taken.append(list(envelope.rcpt_tos))
        return self.data


@pytest.mark.requirement("A41")
def test_mail_arrives(context: Flask, smtp_server: SmtpCatcher) -> None:
    letter = compose(["ada@example.com", "Bob <bob@example.com>"], "Hello", text="x", job_id="j1")

    result = deliver(letter)

    [mail] = smtp_server.wait()
    assert mail["Subject"] == "Hello"
    assert mail["X-MailFrom"] == "no-reply@service.example"
    assert mail["X-RcptTo"] == "ada@example.com, bob@example.com"
    assert result == {"messageId": "<j1@service.example>", "accepted": 2, "refused": {}}


def test_address_with_odd_dots_is_written_as_it_is(context: Flask, smtp_server: SmtpCatcher) -> None:
    deliver(compose("ada..l.@example.com", "Hello", text="x"))

    assert smtp_server.wait()[0]["X-RcptTo"] == "ada..l.@example.com"


def test_line_of_one_dot_does_not_end_the_mail(context: Flask, smtp_server: SmtpCatcher) -> None:
    deliver(compose("ada@example.com", "Hello", text="one\n.\ntwo\n"))

    assert smtp_server.wait()[0].get_content().splitlines() == ["one", ".", "two"]


@pytest.mark.parametrize(
    "server", [Picky("550 no"), Picky("554 spam"), Picky(sender="553 who"), Picky(sender="550 no")]
)
def test_final_answer_is_final(make_app: MakeApp, serve: Serve, server: Picky) -> None:
    with pytest.raises(MailRejected, match=r"refused the mail: 55\d"):
        send(make_app(serve(server)))


@pytest.mark.parametrize("server", [Picky("451 later"), Picky("421 busy"), Picky(sender="450 no")])
def test_answer_for_now_is_worth_another_attempt(make_app: MakeApp, serve: Serve, server: Picky) -> None:
    with pytest.raises(smtplib.SMTPException) as caught:
        send(make_app(serve(server)))

    assert not isinstance(caught.value, PERMANENT)


def test_recipient_refused_for_good_is_final(make_app: MakeApp, serve: Serve) -> None:
    app = make_app(serve(Picky()))

    with pytest.raises(MailRejected, match="550 not <550@example.com>; 553 not"):
        send(app, "550@example.com", "553@example.com")


@pytest.mark.parametrize("to", [["450@example.com"], ["550@example.com", "450@example.com"]])
def test_recipient_refused_for_now_is_worth_another_attempt(make_app: MakeApp, serve: Serve, to: list[str]) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(make_app(serve(Picky())), *to)


def test_recipients_refused_among_others_are_reported(make_app: MakeApp, serve: Serve) -> None:
    server = Picky()

    result = send(make_app(serve(server)), "ada@example.com", "550@example.com")

    assert server.taken == [["ada@example.com"]]
    assert result["accepted"] == 1
    assert result["refused"] == {"550@example.com": "550 not <550@example.com>"}


def test_server_that_is_not_there_is_worth_another_attempt(make_app: MakeApp) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            send(make_app(unused.getsockname()[1]))


def test_silent_server_is_given_up_in_time(make_app: MakeApp) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        with pytest.raises((TimeoutError, smtplib.SMTPException)):
            send(make_app(silent.getsockname()[1]), timeout_seconds=0.3)

    assert time.monotonic() - began < 3


class HangsUp(Picky):
    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        server.transport.abort()
        return "221 bye"


def test_server_that_hangs_up_after_the_mail_took_it(make_app: MakeApp, serve: Serve) -> None:
    server = HangsUp()

    result = send(make_app(serve(server)))

    assert result["accepted"] == 1
    assert len(server.taken) == 1


def test_error_is_not_hidden_by_the_goodbye(make_app: MakeApp, serve: Serve) -> None:
    class HangsUpEarly(HangsUp):
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
            return "451 later"

    with pytest.raises(smtplib.SMTPDataError):
        send(make_app(serve(HangsUpEarly())))


def test_flask_mails_own_way_of_recording_works(context: Flask, smtp_server: SmtpCatcher) -> None:
    with flask_mail.Mail().record_messages() as sent:
        deliver(compose("ada@example.com", "Hello", text="x", html="<p>x</p>"))

    assert [(mail.subject, mail.body, mail.html) for mail in sent] == [("Hello", "x", "<p>x</p>")]


def test_nothing_is_sent_where_flask_mail_is_told_not_to(make_app: MakeApp) -> None:
    result = send(make_app(9, MAIL_SUPPRESS_SEND=True))

    assert result["accepted"] == 1


# TLS ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return key, cert


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[1], certificate[0])
    return context


@pytest.fixture
def trusted(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))


class SignedIn(Picky):
    """Wants a user name and a password."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[bytes] = []

    def __call__(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
        self.names.append(data.login)
        return AuthResult(success=data.password == b"secret", handled=False)


@pytest.mark.requirement("H10")
def test_starttls_comes_before_the_password(
    make_app: MakeApp, serve: Serve, tls: ssl.SSLContext, trusted: None
) -> None:
    server = SignedIn()
    port = serve(server, tls_context=tls, require_starttls=True, authenticator=server, auth_required=True)

    send(make_app(port, MAIL_USE_TLS=True, MAIL_USERNAME="ada", MAIL_PASSWORD="secret"))

    assert server.names == [b"ada"]
    assert len(server.taken) == 1


@pytest.mark.requirement("H10")
def test_port_587_means_starttls_whatever_is_configured(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    app = make_app(serve(Picky()), MAIL_USE_TLS=False)
    monkeypatch.setattr("flask_understudy.contrib.mail.delivery.STARTTLS_PORT", app.extensions["mail"].port)

    with pytest.raises(smtplib.SMTPNotSupportedError, match="STARTTLS"):
        send(app)


@pytest.mark.requirement("H10")
def test_port_465_means_tls_from_the_start(
    make_app: MakeApp,
    monkeypatch: pytest.MonkeyPatch,
    tls: ssl.SSLContext,
    trusted: None,
    serve: Serve,
) -> None:
    server = Picky()
    port = serve(server, ssl_context=tls)
    monkeypatch.setattr("flask_understudy.contrib.mail.delivery.TLS_PORT", port)

    send(make_app(port))

    assert len(server.taken) == 1


def test_unknown_certificate_is_refused(make_app: MakeApp, serve: Serve, tls: ssl.SSLContext) -> None:
    server = Picky()
    app = make_app(serve(server, tls_context=tls), MAIL_USE_TLS=True)

    with pytest.raises(ssl.SSLCertVerificationError):
        send(app)
    assert server.taken == []

    app.config["MAIL_VERIFY_TLS"] = False
    send(app)
    assert len(server.taken) == 1


def test_connection_is_closed_when_signing_in_fails(
    make_app: MakeApp, serve: Serve, tls: ssl.SSLContext, trusted: None
) -> None:
    server = SignedIn()
    port = serve(server, tls_context=tls, authenticator=server, auth_required=True)
    app = make_app(port, MAIL_USE_TLS=True, MAIL_USERNAME="ada", MAIL_PASSWORD="wrong")

    with app.app_context(), pytest.raises(smtplib.SMTPAuthenticationError):
        BoundedConnection(app.extensions["mail"], 5.0).configure_host()
