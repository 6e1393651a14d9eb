"""Writing a mail: checked recipients, one subject line, a text and an HTML part."""

from __future__ import annotations

from collections.abc import Sequence
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime, make_msgid

import flask_mail
from flask import current_app

from .errors import InvalidMail
from .headers import one_line, parse_address

#: Recipients of one mail at the most.
MOST_RECIPIENTS = 50

#: Characters of a subject at the most; no standard has a limit, mail servers do.
LONGEST_SUBJECT = 500


class Letter(flask_mail.Message):
    """A mail ready to be sent; `compose` makes it.

    Attributes:
        author: Whom it is from.
        addressees: Whom it is for.
    """

    def __init__(
        self,
        author: Address,
        addressees: Sequence[Address],
        subject: str,
        *,
        text: str | None,
        html: str | None,
        reply_to: Address | None,
        message_id: str,
    ) -> None:
        recipients: list[str | tuple[str, str]] = [str(address) for address in addressees]
        super().__init__(subject, recipients, body=text, html=html, sender=str(author))
        self.author = author
        self.addressees = list(addressees)
        self.msgId = message_id
        self._reply_to = reply_to

    def as_email(self) -> EmailMessage:
        """Return the mail as the standard library's message."""
        message = EmailMessage(policy=SMTP)
        message["Subject"] = self.subject
        message["From"] = self.author
        message["To"] = self.addressees
        if self._reply_to:
            message["Reply-To"] = self._reply_to
        message["Date"] = format_datetime(localtime())
        message["Message-ID"] = self.msgId
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office replies
        if self.body is not None:
            message.set_content(self.body)
            if self.html is not None:
                message.add_alternative(self.html, subtype="html")
        else:
            message.set_content(self.html or "", subtype="html")
        return message

    def as_bytes(self) -> bytes:
        """Return the mail as it goes over the wire."""
        return self.as_email().as_bytes()

    def as_string(self) -> str:
        """Return the mail as text."""
        return self.as_email().as_string()


def compose(
    to: str | Sequence[str],
    subject: str,
    *,
    text: str | None = None,
    html: str | None = None,
    sender: str | None = None,
    reply_to: str | None = None,
    job_id: str | None = None,
) -> Letter:
    """Write a mail; needs an application context.

    Args:
        to: One address or up to 50, each as `ada@example.com` or `Ada <ada@example.com>`.
        subject: One line of text.
        text: The mail as plain text.
        html: The mail as HTML. With both given, the reader's program chooses.
        sender: The address it comes from; default `MAIL_DEFAULT_SENDER`.
        reply_to: Where answers go.
        job_id: The job that sends it; makes the Message-ID. Default: a random one.

    Raises:
        InvalidMail: An address is wrong, a header has a line end in it, there are no or too many
            recipients, there is no content, or the sender is not allowed (`check_sender`).
    """
    addressees = check(to, subject, text=text, html=html)
    author = check_sender(sender)
    return Letter(
        author,
        addressees,
        subject,
        text=text or None,
        html=html or None,
        reply_to=parse_address(reply_to) if reply_to else None,
        message_id=(f"<{one_line('job id', job_id)}@{author.domain}>" if job_id else make_msgid(domain=author.domain)),
    )


def check(to: str | Sequence[str], subject: str, *, text: str | None = None, html: str | None = None) -> list[Address]:
    """Return the recipients of a mail that can be sent; to be asked before a job is queued.

    Raises:
        InvalidMail: As `compose` says.
    """
    recipients = [to] if isinstance(to, str) else list(to)
    if not 1 <= len(recipients) <= MOST_RECIPIENTS:
        raise InvalidMail(f"A mail has 1 to {MOST_RECIPIENTS} recipients, not {len(recipients)}.")
    if len(one_line("subject", subject)) > LONGEST_SUBJECT:
        raise InvalidMail(f"A subject has {LONGEST_SUBJECT} characters at most, not {len(subject)}.")
    if not text and not html:
        raise InvalidMail("The mail is empty; give text, html or both.")
    return [parse_address(recipient) for recipient in recipients]


def check_sender(sender: str | None) -> Address:
    """Return the author of a mail: the default one, or `sender` where he is one of us.

    Nobody can send in a stranger's name: allowed are addresses at the domain of `MAIL_DEFAULT_SENDER`
    and the addresses and domains that the configuration lists in `MAIL_ALLOWED_SENDERS`.

    Raises:
        InvalidMail: The sender is none of these, or there is no default to fall back to.
    """
    default = _default_sender()
    if sender is None:
        if default is None:
            raise InvalidMail("There is no sender; give one or set MAIL_DEFAULT_SENDER.")
        return default
    author = parse_address(sender)
    allowed = {entry.lower() for entry in current_app.config.get("MAIL_ALLOWED_SENDERS") or ()}
    if default:
        allowed.add(default.domain.lower())
    if not {author.addr_spec.lower(), author.domain.lower()} & allowed:
        raise InvalidMail(
            f"{author.addr_spec!r} may not send; {', '.join(sorted(allowed))} may. "
            "MAIL_ALLOWED_SENDERS takes more addresses and domains."
        )
    return author


def _default_sender() -> Address | None:
    configured: str | tuple[str, str] | None = current_app.extensions["mail"].default_sender
    if isinstance(configured, tuple):
        return Address(one_line("sender", configured[0]), addr_spec=configured[1])
    return parse_address(configured) if configured else None
