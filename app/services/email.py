"""What the mails of the service say, and handing one to the mail server.

A mail of ours has a name and a folder, ``templates/email/<name>/``, with ``subject.txt``, ``body.txt``
and ``body.html``. The name and the fields are checked when a mail is queued, the text is written when
it is sent. Templates are files only: nobody's text is ever run as one.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flask import current_app, render_template

from flask_understudy.contrib.mail import InvalidMail, compose, deliver

#: The fields of each mail, by the name of its folder (requirements A08, A31, A35 to A38).
TEMPLATES: dict[str, frozenset[str]] = {
    "digest": frozenset({"name", "organization", "period", "figures", "link"}),
    "export-failed": frozenset({"title", "error"}),
    "export-ready": frozenset({"title", "link"}),
    "invitation": frozenset({"name", "organization", "link"}),
    "leave-approved": frozenset({"name", "starts_on", "ends_on"}),
    "payroll-completed": frozenset({"name", "period", "employees", "total"}),
    "payroll-failed": frozenset({"name", "period", "error"}),
    "payslip-ready": frozenset({"name", "period", "link"}),
    "report-failed": frozenset({"title", "error"}),
    "report-ready": frozenset({"title", "link"}),
    "welcome": frozenset({"name"}),
    "verification": frozenset({"name", "token"}),
    "password-reset": frozenset({"code"}),
    "notification": frozenset({"name", "title", "message", "link"}),
}

#: Mails with a secret that the service makes: nobody else's may look like them.
WITH_A_SECRET = frozenset({"invitation", "password-reset", "verification"})

_OF_SOMEBODY_IN_SEVERAL = ("export-failed", "export-ready", "password-reset", "report-failed", "report-ready")
#: Fields that a mail can do without; told of the organisation, it is known which of several it is about.
OPTIONAL: dict[str, frozenset[str]] = dict.fromkeys(_OF_SOMEBODY_IN_SEVERAL, frozenset({"organization"}))


@dataclass(frozen=True, slots=True)
class Text:
    """A mail, written."""

    subject: str
    text: str
    html: str


def check_open(name: str) -> None:
    """Let a mail pass that others than the service itself may send.

    Raises:
        InvalidMail: It carries a secret that the service makes; says which mails there are.
    """
    if name in WITH_A_SECRET:
        others = ", ".join(sorted(TEMPLATES.keys() - WITH_A_SECRET))
        raise InvalidMail(f"the service sends {name!r} itself; there are {others}")


def check_template(name: str, data: Mapping[str, Any]) -> None:
    """Let pass a mail that is known and has all of its fields, and no others.

    Raises:
        InvalidMail: Naming what is unknown or missing, and what is valid.
    """
    if not isinstance(data, Mapping):
        raise InvalidMail(f"The fields of a mail are a mapping of names, and {data!r:.80} was given.")
    if not isinstance(name, str) or name not in TEMPLATES:
        near = difflib.get_close_matches(str(name), TEMPLATES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InvalidMail(f"{name!r} is no mail; there are {', '.join(sorted(TEMPLATES))}.{hint}")
    fields, optional = TEMPLATES[name], OPTIONAL.get(name, frozenset())
    wrong = sorted(map(str, fields.symmetric_difference(data.keys() - optional)))
    if wrong:
        state = "is missing" if wrong[0] in fields else "is unknown"
        raise InvalidMail(f"{wrong[0]!r} {state}: the mail {name!r} takes {', '.join(sorted(fields | optional))}.")
    for field, value in data.items():
        if not _is_printed(value, nested=field == "figures"):
            raise InvalidMail(f"{field!r} is {value!r:.80}; it takes a text or a number.")
    if "link" in fields:
        check_link(str(data["link"]))


def write(name: str, data: Mapping[str, Any]) -> Text:
    """Write the mail ``name``; the HTML is escaped, links are made absolute."""
    check_template(name, data)
    folder = f"email/{name}"
    values = {**dict.fromkeys(OPTIONAL.get(name, ()), ""), **data, "absolute_url": absolute_url}
    return Text(
        subject=" ".join(render_template(f"{folder}/subject.txt", **values).split()),
        text=render_template(f"{folder}/body.txt", **values),
        html=render_template(f"{folder}/body.html", **values),
    )


def send_template(to: str, name: str, data: Mapping[str, Any], *, job_id: str) -> dict[str, Any]:
    """Write a mail and hand it to the mail server; the Message-ID is made of ``job_id``.

    Raises:
        InvalidMail: It cannot be sent as it is.
        MailRejected: The mail server will never take it.
    """
    mail = write(name, data)
    return deliver(compose(to, mail.subject, text=mail.text, html=mail.html, job_id=job_id))


def absolute_url(link: str) -> str:
    """Return ``link`` as a full address: a path is one of ours (requirements A38, H11).

    Raises:
        InvalidMail: It is neither a path nor an http address.
    """
    check_link(link)
    if urlsplit(link).scheme:
        return link
    return current_app.config["APP_URL"].rstrip("/") + "/" + link.lstrip("/")


def check_link(link: str) -> None:
    """Let pass a path, or an address that starts with http:// or https://.

    Raises:
        InvalidMail: It is something else, such as ``javascript:…`` or ``//another.host``.
    """
    try:
        parts = urlsplit(link)
    except ValueError:
        parts = None
    is_path = parts is not None and not parts.scheme and not parts.netloc
    is_address = parts is not None and parts.scheme in {"http", "https"} and bool(parts.hostname)
    if not (is_path or is_address) or not link.isprintable() or " " in link or "\\" in link:
        raise InvalidMail(f"{link[:100]!r} is no link; it takes a path or an http address.")


def _is_printed(value: Any, *, nested: bool = False) -> bool:
    """Tell whether a field is what a template prints as it is; figures are such values by their labels."""
    if nested:
        return isinstance(value, Mapping) and all(_is_printed(item) for item in value.values())
    return isinstance(value, str | int | float) and not isinstance(value, bool)
