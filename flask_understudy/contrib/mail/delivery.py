"""Handing a mail to the mail server, within a time limit and with a clear answer."""

from __future__ import annotations

import logging
import smtplib
import socket
import ssl
from collections.abc import Iterable
from types import TracebackType
from typing import Any

import flask_mail
from flask import current_app

from .errors import MailRejected
from .headers import parse_address
from .letter import Letter

logger = logging.getLogger(__name__)

#: Ports that mean TLS, whatever else is configured.
STARTTLS_PORT = 587
TLS_PORT = 465


#: s to wait for the mail server at each step, unless `MAIL_TIMEOUT` says otherwise.
TIMEOUT_SECONDS = 10.0


def deliver(letter: Letter, *, timeout_seconds: float | None = None) -> dict[str, Any]:
    """Hand a mail to the mail server of the current application.

    Args:
        letter: What `compose` returned.
        timeout_seconds: s to wait for the server at each step; default `MAIL_TIMEOUT`, else 10.

    Returns:
        `messageId`; `accepted`, the number of recipients the server took; and `refused`, its answer
        for each recipient that it did not take although it took others. Of those whom nobody else
        is to see it says no more than `bcc`.

    Raises:
        MailRejected: The server will never take it.
        smtplib.SMTPException, OSError: The server is not there, or asks to try again later.
    """
    if timeout_seconds is None:
        timeout_seconds = float(current_app.config.get("MAIL_TIMEOUT") or TIMEOUT_SECONDS)
    with BoundedConnection(current_app.extensions["mail"], timeout_seconds) as connection:
        connection.send(letter)
    refused = connection.refused
    if refused:
        logger.warning("%d of %d recipients were refused", len(refused), len(refused) + connection.accepted)
    return {"messageId": letter.msgId, "accepted": connection.accepted, "refused": refused}


class BoundedConnection(flask_mail.Connection):
    """A connection that does not wait for ever, and uses TLS where the port says so.

    Port 587 means STARTTLS and port 465 TLS from the start. The server's certificate is checked
    unless `MAIL_VERIFY_TLS` is False.

    Attributes:
        accepted: How many recipients of the last mail the server took.
        refused: The server's answer for each recipient of the last mail that it did not take.
    """

    def __init__(self, mail: Any, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        super().__init__(mail)
        self.timeout_seconds = timeout_seconds
        self.accepted = 0
        self.refused: dict[str, str] = {}

    def configure_host(self) -> smtplib.SMTP | smtplib.SMTP_SSL:
        """Connect, and sign in where there is a user name."""
        state: Any = self.mail
        options: dict[str, Any] = {
            "timeout": self.timeout_seconds,
            "local_hostname": _own_name(),
        }
        is_tls = bool(state.use_ssl) or state.port == TLS_PORT
        if is_tls:
            options["context"] = _tls_context()
        host = (smtplib.SMTP_SSL if is_tls else smtplib.SMTP)(state.server, state.port, **options)
        try:
            if not is_tls and (state.use_tls or state.port == STARTTLS_PORT):
                host.starttls(context=_tls_context())
            if state.username and state.password:
                host.login(state.username, state.password)
        except BaseException:
            host.close()
            raise
        return host

    def send(
        self,
        message: flask_mail.Message,
        envelope_from: str | tuple[str, str] | None = None,
    ) -> None:
        """Send one mail.

        Raises:
            MailRejected: The server will never take it.
        """
        sender = envelope_from or message.sender
        author = parse_address(sender if isinstance(sender, str) else sender[1]).addr_spec
        seen = _addresses([*message.recipients, *message.cc])
        unseen = [address for address in _addresses(message.bcc) if address not in seen]
        content = message.as_bytes()
        answers: dict[str, tuple[int, bytes]] = {}
        if self.host is not None:
            try:
                answers = self.host.sendmail(author, seen + unseen, content)
            except smtplib.SMTPException as error:
                if verdict := _final(error):
                    reason = f"The mail server refused the mail: {_hidden(verdict, unseen)}"
                    raise MailRejected(reason) from (None if unseen else error)
                if unseen and isinstance(error, smtplib.SMTPRecipientsRefused):
                    raise smtplib.SMTPException("The mail server takes none of the recipients now.") from None
                raise
        self.accepted = len(seen) + len(unseen) - len(answers)
        said = ((_hidden(to, unseen), _hidden(_readable(*answer), unseen)) for to, answer in answers.items())
        self.refused = dict(said)
        app = current_app._get_current_object()  # type: ignore[attr-defined]
        flask_mail.email_dispatched.send(app, message=message)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Say goodbye. The mail is with the server by now: a failure here must not repeat it."""
        if self.host is None:
            return
        try:
            if exc_type is None:
                self.host.quit()
        except (smtplib.SMTPException, OSError):
            logger.debug("The mail server hung up first.")
        finally:
            self.host.close()


def _addresses(entries: Iterable[str | tuple[str, str]]) -> list[str]:
    """Return the bare addresses, each once."""
    found = [parse_address(entry if isinstance(entry, str) else entry[1]).addr_spec for entry in entries]
    return list(dict.fromkeys(found))


def _hidden(text: str, addresses: list[str]) -> str:
    for address in addresses:
        text = text.replace(address, "bcc")
    return text


def _final(error: smtplib.SMTPException) -> str | None:
    """Return the server's last word, or None where another attempt may succeed."""
    answers: list[tuple[int, bytes | str]]
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        answers = list(error.recipients.values())
    elif isinstance(error, smtplib.SMTPSenderRefused | smtplib.SMTPDataError):
        answers = [(error.smtp_code, error.smtp_error)]
    else:
        return None
    if not all(code >= 500 for code, _ in answers):
        return None
    return "; ".join(sorted({_readable(*answer) for answer in answers}))[:500]


def _readable(code: int, answer: bytes | str) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    return f"{code} {' '.join(text.split())}"[:200]


def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not current_app.config.get("MAIL_VERIFY_TLS", True):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _own_name() -> str:
    # smtplib would ask the name server, which can take longer than the mail and has no time limit.
    name = socket.gethostname()
    return name if "." in name else "[127.0.0.1]"
