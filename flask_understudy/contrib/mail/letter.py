"""Writing a mail: checked recipients, one subject line, a text and an HTML part, attachments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime, make_msgid

import flask_mail
from flask import current_app

from .errors import InvalidMail
from .headers import one_line, parse_address
from .parts import attach, check_attachments, check_headers

#: Recipients of one mail at the most, copies included.
MOST_RECIPIENTS = 50

#: Characters of a subject at the most; no standard has a limit, mail servers do.
LONGEST_SUBJECT = 500


class Letter(flask_mail.Message):
    """A mail ready to be sent; `compose` makes it.

    Attributes:
        author: Whom it is from.
        addressees: Whom it is for, openly.
        copied: Who gets a copy, openly.
    """

    def __init__(
        self,
        author: Address,
        addressees: Sequence[Address],
        subject: str,
        *,
        text: str | None,
        alternatives: Mapping[str, str],
        reply_to: Address | None,
        message_id: str,
        copied: Sequence[Address] = (),
        copied_unseen: Sequence[Address] = (),
        headers: Mapping[str, str] | None = None,
        attachments: Sequence[flask_mail.Attachment] = (),
        date: float | None = None,
    ) -> None:
        to, cc, bcc = (list(map(str, addresses)) for addresses in (addressees, copied, copied_unseen))
        super().__init__(
            subject,
            [*to],
            text,
            alternatives.get("html"),
            dict(alternatives),
            str(author),
            [*cc],
            [*bcc],
            list(attachments),
        )
        self.author = author
        self.addressees = list(addressees)
        self.copied = list(copied)
        self.msgId = message_id
        self.date = date
        self.extra_headers = dict(headers or {})
        self._reply_to = reply_to

    def as_email(self) -> EmailMessage:
        """Return the mail as the standard library's message. Who gets a copy unseen stands nowhere in it."""
        message = EmailMessage(policy=SMTP)
        message["Subject"] = self.subject
        message["From"] = self.author
        if self.addressees:
            message["To"] = self.addressees
        if self.copied:
            message["Cc"] = self.copied
        if self._reply_to:
            message["Reply-To"] = self._reply_to
        moment = None if self.date is None else datetime.fromtimestamp(self.date, UTC)
        message["Date"] = format_datetime(localtime(moment))
        message["Message-ID"] = self.msgId
        headers = {"Auto-Submitted": "auto-generated"}  # RFC 3834: no out-of-office replies
        for name, value in (headers | (self.extra_headers or {})).items():
            message[name] = value
        texts = [("plain", self.body)] if self.body is not None else []
        (subtype, first), *others = [*texts, *self.alts.items()] or [("plain", "")]
        message.set_content(first, subtype=subtype)
        for subtype, content in others:
            message.add_alternative(content, subtype=subtype)
        for attachment in self.attachments:
            attach(message, attachment)
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
    cc: Sequence[str] = (),
    bcc: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
    attachments: Sequence[flask_mail.Attachment] = (),
    alternatives: Mapping[str, str] | None = None,
    date: float | None = None,
) -> Letter:
    """Write a mail; needs an application context.

    Args:
        to: One address or up to 50, copies included, each as `ada@example.com` or `Ada <ada@example.com>`.
        subject: One line of text.
        text: The mail as plain text.
        html: The mail as HTML. With both given, the reader's program chooses.
        sender: The address it comes from; default `MAIL_DEFAULT_SENDER`.
        reply_to: Where answers go.
        job_id: The job that sends it; makes the Message-ID. Default: a random one.
        cc: Who gets a copy.
        bcc: Who gets a copy that nobody else sees.
        headers: Further headers.
        attachments: As Flask-Mail has them.
        alternatives: Further forms of the text by the second half of their type, such as `calendar`.
        date: s since 1970 that the mail says it was written; default when it is sent.

    Raises:
        InvalidMail: An address is wrong, a header has a line end in it, there are no or too many
            recipients, there is no content, or the sender is not allowed (`check_sender`).
    """
    others = {"html": html, **(alternatives or {})}
    forms = {kind: content for kind, content in others.items() if content}
    for kind in forms:
        if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]{0,70}", kind):
            raise InvalidMail(f"{kind[:80]!r} is no form of a text; it takes one such as html or calendar.")
    attached = check_attachments(attachments)
    addressees = _addresses(to)
    copied, copied_unseen = _addresses(cc), _addresses(bcc)
    _check_count(len(addressees) + len(copied) + len(copied_unseen))
    _check_text(subject, has_content=bool(text or forms or attached))
    author = check_sender(sender)
    return Letter(
        author,
        addressees,
        subject,
        text=text or None,
        alternatives=forms,
        reply_to=parse_address(reply_to) if reply_to else None,
        message_id=(f"<{one_line('job id', job_id)}@{author.domain}>" if job_id else make_msgid(domain=author.domain)),
        copied=copied,
        copied_unseen=copied_unseen,
        headers=check_headers(headers),
        attachments=attached,
        date=date,
    )


def check(to: str | Sequence[str], subject: str, *, text: str | None = None, html: str | None = None) -> list[Address]:
    """Return the recipients of a mail that can be sent; to be asked before a job is queued.

    Raises:
        InvalidMail: As `compose` says.
    """
    recipients = [to] if isinstance(to, str) else list(to)
    _check_count(len(recipients))
    _check_text(subject, has_content=bool(text or html))
    return _addresses(recipients)


def _addresses(given: str | Sequence[str]) -> list[Address]:
    return [parse_address(text) for text in ([given] if isinstance(given, str) else given)]


def _check_count(n: int) -> None:
    if not 1 <= n <= MOST_RECIPIENTS:
        raise InvalidMail(f"A mail has 1 to {MOST_RECIPIENTS} recipients, not {n}.")


def _check_text(subject: str, *, has_content: bool) -> None:
    if len(one_line("subject", subject)) > LONGEST_SUBJECT:
        raise InvalidMail(f"A subject has {LONGEST_SUBJECT} characters at most, not {len(subject)}.")
    if not has_content:
        raise InvalidMail("The mail is empty; give text, html or both.")


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
        who = f"{', '.join(sorted(allowed))} may" if allowed else "nobody may without MAIL_DEFAULT_SENDER"
        raise InvalidMail(
            f"{author.addr_spec!r} may not send; {who}. MAIL_ALLOWED_SENDERS takes more addresses and domains."
        )
    return author


def _default_sender() -> Address | None:
    configured: str | tuple[str, str] | None = current_app.extensions["mail"].default_sender
    if isinstance(configured, tuple):
        return Address(one_line("sender", configured[0]), addr_spec=configured[1])
    return parse_address(configured) if configured else None
