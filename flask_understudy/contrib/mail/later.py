"""Flask-Mail with a queue: whatever a `Message` says is sent by a job.

    mail = JobMail(jobs)                       # in place of `mail = Mail()`
    mail.send_later(Message("Hello", recipients=["ada@example.com"], body="…"))

`mail.send` is Flask-Mail's own and sends at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dramatiq
import flask_mail
from flask import Flask, current_app

from ...context import current_job
from ...errors import PayloadTooLarge
from . import parts
from .delivery import deliver
from .errors import PERMANENT, InvalidMail
from .letter import Letter, compose

if TYPE_CHECKING:
    from ...extension import Understudy

TIME_LIMIT_MS = 30_000
#: What of a mail is shown to nobody who may not see payloads.
SENSITIVE = ("html", "text", "alternatives", "attachments", "bcc", "headers")

Entry = str | tuple[str, str]


class JobMail(flask_mail.Mail):
    """Flask-Mail whose messages can be sent by jobs; everything that Flask-Mail documents holds.

    Args:
        jobs: The application's `Understudy`. The actor is declared on it at once.
        app: The application, unless `init_app` is called later.
        queue_name: The queue of the mails.
        actor_name: The actor's name.
        **options: Options of the actor, as `jobs.actor` takes them. By default a mail is sent by the process that
            asks while the broker is down (`fallback="sync"`), and an attempt takes 30 s at the most.

    Attributes:
        actor: What sends the mails; takes the fields of `compose`.
    """

    def __init__(
        self,
        jobs: Understudy,
        app: Flask | None = None,
        *,
        queue_name: str = "email",
        actor_name: str = "email:send",
        **options: Any,
    ) -> None:
        super().__init__(app)
        declared = {"fallback": "sync", "time_limit": TIME_LIMIT_MS, "throws": PERMANENT, "sensitive": SENSITIVE}
        declare: Any = jobs.actor(queue_name=queue_name, actor_name=actor_name, **{**declared, **options})
        self.actor: Any = declare(send_message)

    def send_later(self, message: flask_mail.Message, **options: Any) -> dramatiq.Message[Any]:
        """Queue a message; while the broker is down it is sent before this returns.

        It joins the caller's transaction when that has uncommitted writes, as every send does. The Message-ID is the
        job's id, whatever the message says; texts are sent as UTF-8.

        Args:
            message: Flask-Mail's message, attachments included as far as the payload's limit goes.
            **options: Options of the send: `delay`, `run_at`, `priority`, `dedup_key`, `tenant`, …

        Returns:
            The message of the job; `message_id` is the job's id.

        Raises:
            InvalidMail: It cannot be sent as it is; names what is wrong. Nothing was stored.
            PayloadTooLarge: The mail with its attachments takes more than `UNDERSTUDY_MAX_PAYLOAD_BYTES`.
        """
        fields = fields_of(message)
        _letter(**fields)
        try:
            sent: dramatiq.Message[Any] = self.actor.send_with_options(kwargs=fields, **options)
        except PayloadTooLarge as problem:
            if not message.attachments:
                raise
            raise PayloadTooLarge(
                f"The mail is too large for a job: {problem} Attachments count by a third more than their bytes; "
                "link to the file, or attach it in an actor of your own."
            ) from None
        return sent


def send_message(
    to: str | list[str],
    subject: str = "",
    html: str | None = None,
    text: str | None = None,
    sender: str | None = None,
    cc: list[str] | None = None,
    bcc: list[str] | None = None,
    reply_to: str | None = None,
    headers: dict[str, str] | None = None,
    attachments: list[dict[str, Any]] | None = None,
    alternatives: dict[str, str] | None = None,
    date: float | None = None,
) -> dict[str, Any]:
    """Send a mail that the caller wrote."""
    letter = _letter(
        to=to,
        subject=subject,
        html=html,
        text=text,
        sender=sender,
        cc=cc,
        bcc=bcc,
        reply_to=reply_to,
        headers=headers,
        attachments=attachments,
        alternatives=alternatives,
        date=date,
        job_id=current_job.id,
    )
    return deliver(letter)


def fields_of(message: flask_mail.Message) -> dict[str, Any]:
    """Return what a message says, as JSON; what it does not say is left out.

    Raises:
        InvalidMail: It asks for what a job cannot do.
    """
    if message.mail_options or message.rcpt_options:
        raise InvalidMail("mail_options and rcpt_options do not travel to a job; send such a mail by send().")
    default = current_app.extensions["mail"].default_sender
    is_default = message.sender in (default, _as_written(default))
    fields = {
        "to": _texts(message.recipients),
        "subject": str(message.subject or ""),
        "html": str(message.html or ""),
        "text": str(message.body or ""),
        "sender": None if is_default else _text(message.sender),
        "cc": _texts(message.cc),
        "bcc": _texts(message.bcc),
        "reply_to": _text(message.reply_to) if message.reply_to else None,
        "headers": dict(message.extra_headers or {}),
        "attachments": parts.as_json(message.attachments),
        "alternatives": {kind: str(content) for kind, content in message.alts.items() if kind != "html"},
        "date": message.date,
    }
    return {name: value for name, value in fields.items() if name in ("to", "subject") or value}


def _letter(*, attachments: Any = None, cc: Any = None, bcc: Any = None, **fields: Any) -> Letter:
    return compose(cc=cc or (), bcc=bcc or (), attachments=parts.from_json(attachments or ()), **fields)


def _texts(entries: Sequence[Entry]) -> list[str]:
    return [_text(entry) for entry in entries]


def _text(entry: Entry) -> str:
    if isinstance(entry, str):
        return entry
    name, address = entry
    return f'"{name}" <{address}>' if name else address


def _as_written(default: Entry | None) -> str | None:
    """Return the default sender as Flask-Mail writes it into each message."""
    return f"{default[0]} <{default[1]}>" if isinstance(default, tuple) else default
