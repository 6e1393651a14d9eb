"""What a mail has besides its text: headers of one's own, and attachments, as JSON and as parts of the mail."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

from flask_mail import Attachment

from .errors import InvalidMail
from .headers import one_line

MOST_HEADERS = 50
MOST_ATTACHMENTS = 50
LONGEST_HEADER = 2_000
LONGEST_FILENAME = 255

# Printable ASCII without the colon (RFC 5322, 2.2).
_NAME = re.compile(r"[!-9;-~]{1,76}")
_TYPE = re.compile(r"(?!multipart/)[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*(\s*;.*)?", re.I)
#: What the mail's own fields say, or the mail server.
_TAKEN = frozenset(
    {
        "from",
        "to",
        "cc",
        "bcc",
        "subject",
        "date",
        "message-id",
        "reply-to",
        "sender",
        "return-path",
        "received",
        "mime-version",
    }
)
_TAKEN_OF_PARTS = frozenset({"content-type", "content-disposition", "content-transfer-encoding"})
_OPTIONAL = ("content_type", "disposition", "filename", "headers")


def check_headers(headers: Mapping[str, str] | None, taken: frozenset[str] = _TAKEN) -> dict[str, str]:
    """Return headers that can stand beside the mail's own.

    Raises:
        InvalidMail: One is no header, has a line end in it, or is said otherwise.
    """
    given = dict(headers or {})
    if len(given) > MOST_HEADERS:
        raise InvalidMail(f"A mail has {MOST_HEADERS} headers of its own at the most, not {len(given)}.")
    for name, value in given.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidMail(f"{name!r:.80} is no name of a header; it takes one such as List-Unsubscribe.")
        if not isinstance(value, str) or len(one_line(f"header {name}", value)) > LONGEST_HEADER:
            raise InvalidMail(f"The header {name} takes a text of {LONGEST_HEADER} characters at the most.")
        is_of_parts = taken is _TAKEN and name.lower().startswith(("content-", "resent-"))
        if name.lower() in taken or is_of_parts:
            raise InvalidMail(f"The header {name} is made from the mail's fields; set those instead.")
    return given


def check_attachments(attachments: Iterable[Attachment]) -> list[Attachment]:
    """Return attachments that can be sent.

    Raises:
        InvalidMail: A name has a line end in it, a type is none, or there are too many.
    """
    given = list(attachments)
    if len(given) > MOST_ATTACHMENTS:
        raise InvalidMail(f"A mail has {MOST_ATTACHMENTS} attachments at the most, not {len(given)}.")
    for attachment in given:
        name = attachment.filename
        if name is not None and len(one_line("name of an attachment", name)) > LONGEST_FILENAME:
            raise InvalidMail(f"The name of an attachment has {LONGEST_FILENAME} characters at the most.")
        if not _TYPE.fullmatch(one_line("type of an attachment", attachment.content_type)):
            raise InvalidMail(f"{attachment.content_type[:80]!r} is no type of an attachment such as text/csv.")
        if attachment.disposition not in ("attachment", "inline"):
            raise InvalidMail(f"{attachment.disposition!r:.80} is neither 'attachment' nor 'inline'.")
        check_headers(attachment.headers, _TAKEN_OF_PARTS)
    return given


def attach(message: EmailMessage, attachment: Attachment) -> None:
    """Put an attachment into a mail."""
    kind: Any = SMTP.header_factory("Content-Type", _kind(attachment))
    message.add_attachment(
        _bytes(attachment),
        maintype=kind.maintype,
        subtype=kind.subtype,
        disposition=attachment.disposition,
        filename=attachment.filename,
        params=dict(kind.params),
        headers=[f"{name}: {value}" for name, value in attachment.headers.items()],
    )


def as_json(attachments: Sequence[Attachment]) -> list[dict[str, Any]]:
    """Return attachments as they travel to a job, their bytes as base64."""
    return [
        {
            "filename": attachment.filename,
            "content_type": _kind(attachment),
            "data": base64.b64encode(_bytes(attachment)).decode(),
            "disposition": attachment.disposition,
            "headers": dict(attachment.headers),
        }
        for attachment in attachments
    ]


def _bytes(attachment: Attachment) -> bytes:
    return attachment.data.encode() if isinstance(attachment.data, str) else attachment.data


def _kind(attachment: Attachment) -> str:
    """Return the type; of a text it says how its letters became bytes here."""
    kind = attachment.content_type
    is_text = isinstance(attachment.data, str) and kind.lower().startswith("text/") and ";" not in kind
    return f"{kind}; charset=utf-8" if is_text else kind


def from_json(attachments: Iterable[Mapping[str, Any]]) -> list[Attachment]:
    """Return attachments that travelled.

    Raises:
        InvalidMail: One has no data, unknown fields, or is no base64.
    """
    found = []
    for number, given in enumerate(attachments):
        if not isinstance(given, Mapping) or "data" not in given or not set(given) <= {"data", *_OPTIONAL}:
            raise InvalidMail(f"attachments[{number}] takes data and, if wanted, {', '.join(_OPTIONAL)}.")
        try:
            data = base64.b64decode(given["data"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise InvalidMail(f"The data of attachments[{number}] is no base64.") from None
        found.append(Attachment(**{**given, "data": data}))
    return found
