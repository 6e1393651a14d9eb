"""Mail in the background: the actors that send it, and the functions that queue it.

Mail that is given in full is sent by ``email:send``, which `app.extensions.mail` declares.

The functions have the names of the seed documents (A07, A10, A35 to A41) and return at once, with the message of
the job. They use the queue when there is one: with the broker down the mail is sent by the process that
asks (J01). What is wrong with a mail is said here, before anything is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import dramatiq
from flask_mail import Message

from app.extensions import db, jobs, mail
from app.models.tenant import Tenant
from app.services import email as mails
from app.services import passwords
from app.services.ownership import NotOwn, check_own
from flask_understudy import Batch, current_job
from flask_understudy.contrib.mail import PERMANENT, InvalidMail, check

Result = dict[str, Any]
Queued = dramatiq.Message[Any]

QUEUE = "email"
PRIORITY = 2
PRIORITY_OF_PASSWORD_RESETS = 1  # somebody is waiting in front of a form (C08)

_COMMON: dict[str, Any] = {
    "queue_name": QUEUE,
    "time_limit": 30_000,
    "fallback": "sync",
    "throws": PERMANENT,
}
#: How many mails of one batch are sent at a time, by all workers together (A11).
AT_A_TIME = 10
MOST_OF_A_BATCH = 10_000
TWO_DAYS = timedelta(days=2)

#: Three tries, after 1 s and 2 s (D07): these mails are short-lived. Raw mail has the queue's five.
_OF_TEMPLATES: dict[str, Any] = {"max_retries": 2, "min_backoff": 1_000, "backoff_factor": 2}


@jobs.actor(actor_name="email:welcome", priority=PRIORITY, **_COMMON, **_OF_TEMPLATES)
def send_welcome(email: str, name: str) -> Result:
    """Greet somebody who joined."""
    return _send("welcome", email, name=name)


@jobs.actor(
    actor_name="email:verification",
    priority=PRIORITY,
    sensitive=("token",),
    **_COMMON,
    **_OF_TEMPLATES,
)
def send_verification(email: str, name: str, token: str) -> Result:
    """Ask somebody to show that an address is theirs."""
    return _send("verification", email, name=name, token=token)


@jobs.actor(
    actor_name="email:password-reset",
    priority=PRIORITY_OF_PASSWORD_RESETS,
    sensitive=("code",),
    **_COMMON,
    **_OF_TEMPLATES,
)
def send_password_reset(email: str, code: str, organization: str = "") -> Result:
    """Send the code that lets somebody set a new password."""
    return _send("password-reset", email, code=code, organization=organization)


@jobs.actor(
    actor_name="email:password-reset-request",
    queue_name=QUEUE,
    priority=PRIORITY_OF_PASSWORD_RESETS,
    fallback="hold",
    sensitive=("email",),
    **_OF_TEMPLATES,
)
def request_password_reset(email: str) -> None:
    """Make the codes of an address, if it has an account, and queue their mails.

    The request itself does not look: its answer would say by its duration whether there is an account. For the same
    reason it never runs this while the broker is down; a worker does, from the ledger.
    """
    for user, code in passwords.make_codes(email):
        send_password_reset_email(user.email, code, db.session.get_one(Tenant, user.tenant_id).name)
    db.session.commit()


@jobs.actor(
    actor_name="email:invitation",
    priority=PRIORITY,
    sensitive=("link",),
    **_COMMON,
    **_OF_TEMPLATES,
)
def send_invitation(email: str, name: str, organization: str, link: str) -> Result:
    """Invite somebody into an organisation."""
    return _send("invitation", email, name=name, organization=organization, link=link)


@jobs.actor(actor_name="email:notification", priority=PRIORITY, **_COMMON, **_OF_TEMPLATES)
def send_notification(email: str, name: str, title: str, message: str, link: str) -> Result:
    """Tell somebody that something happened."""
    return _send("notification", email, name=name, title=title, message=message, link=link)


@jobs.actor(actor_name="email:template", priority=PRIORITY, **_COMMON, **_OF_TEMPLATES)
def send_named(email: str, mail: str, data: dict[str, Any]) -> Result:
    """Send a mail of ours that has no actor of its own."""
    return _send(mail, email, **data)


@jobs.actor(actor_name="email:send-batch", queue_name=QUEUE, priority=PRIORITY, time_limit=30_000, throws=(NotOwn,))
def report_batch(batch_id: str = "") -> Result:
    """Say at the end of a batch to whom its mails could not be sent."""
    progress = jobs.find_batch(batch_id).progress()
    check_own(progress.tenant, f"batch {batch_id!r:.80}")
    failed = failed_of_batch(batch_id)
    for entry in failed:
        current_job.log("not sent: %s", entry["error"])
    return {"batch": batch_id, "total": progress.total, "sent": progress.completed, "failed": failed}


def send_welcome_email(email: str, name: str) -> Queued:
    """Queue the greeting of somebody who joined (A35).

    Raises:
        InvalidMail: The address is none; the same holds for the functions below.
    """
    return _queue("welcome", email, {"name": name})


def send_verification_email(email: str, name: str, token: str) -> Queued:
    """Queue the mail with the link that verifies an address (A36)."""
    return _queue("verification", email, {"name": name, "token": token})


def send_password_reset_email(email: str, code: str, organization: str = "") -> Queued:
    """Queue the code that lets somebody set a new password, ahead of other mail (A37, C08).

    ``organization`` is the name of the one that the account is of, for people who have several.
    """
    named = {"organization": organization} if organization else {}
    return _queue("password-reset", email, {"code": code, **named})


def send_notification_email(email: str, name: str, title: str, message: str, link: str) -> Queued:
    """Queue a notification; ``link`` is a path of ours or a full address (A38)."""
    fields = {"name": name, "title": title, "message": message, "link": link}
    return _queue("notification", email, fields)


def send_invitation_email(email: str, name: str, organization: str, secret: str) -> Queued:
    """Queue an invitation; ``secret`` is what `accounts.invite` returned, and is shown nowhere else."""
    fields = {"name": name, "organization": organization, "link": "/join?" + urlencode({"invitation": secret})}
    return _queue("invitation", email, fields)


def queue_email(
    *template: Any,
    to: str | list[str] | None = None,
    subject: str | None = None,
    html: str | None = None,
    text: str | None = None,
    from_: str | None = None,
    priority: int | None = None,
) -> Queued:
    """Queue a mail: one that is given in full, or one of ours by its name [C1].

    ``queue_email(to="…", subject="…", html="…", text="…", from_="…")`` is the first form, and
    ``queue_email("welcome", "ada@example.com", {"name": "Ada"})`` the second.

    Args:
        template: The name of a mail, whom it is for, and its fields.
        to: One address, or up to 50.
        subject: The subject, one line.
        html: The mail as HTML.
        text: The mail as text; one of the two has to be there.
        from_: Who sends it, default SMTP_FROM (A41).
        priority: Lower goes first; default 2, and 1 for password resets.

    Raises:
        InvalidMail: Naming what is wrong; nothing was stored.
    """
    if template:
        if len(template) != 3 or any(part is not None for part in (to, subject, html, text, from_)):
            raise InvalidMail("queue_email takes (type, to, data), or to=, subject=, html=, text=, from_=.")
        name, recipient, data = template
        return _queue(name, recipient, data, priority)
    message = Message(subject or "", _recipients(to), text, html, sender=from_)
    return mail.send_later(message, priority=priority)


def queue_batch_emails(
    emails: Iterable[Mapping[str, Any]], *, name: str = "", keys: Sequence[str] | None = None
) -> Batch:
    """Queue many mails of ours, of which ten are sent at a time whatever the number of workers (A10, A11).

    One that cannot be sent harms no other; at the end a job ``email:send-batch`` has the failed ones in its result,
    and `failed_of_batch` tells them at any time (A12).

    Args:
        emails: Up to 10,000, each as ``{"to": address, "type": name of a mail, "data": its fields}``.
        name: For people.
        keys: One for each mail, of which no second one with the same key is queued within two days.

    Raises:
        InvalidMail: Naming the mail by its position, and what is wrong with it; nothing was stored.
    """
    given = list(emails)
    if not 1 <= len(given) <= MOST_OF_A_BATCH:
        raise InvalidMail(f"A batch has 1 to {MOST_OF_A_BATCH} mails, not {len(given)}.")
    if keys is not None and len(keys) != len(given):
        raise InvalidMail(f"There are {len(given)} mails and {len(keys)} keys; each mail takes one.")
    messages = [_entry(number, entry, keys[number] if keys else None) for number, entry in enumerate(given)]
    return jobs.batch(messages, name=name, concurrency=AT_A_TIME, on_complete=report_batch.message())


def failed_of_batch(batch_id: str) -> list[dict[str, str]]:
    """Return ``to``, ``type`` and ``error`` of each mail of a batch that could not be sent so far.

    Raises:
        JobNotFound: There is no such batch.
    """
    found = []
    for job in jobs.find_batch(batch_id).failures(MOST_OF_A_BATCH):
        mail = job.kwargs.get("mail") or job.actor.removeprefix("email:")
        found.append({"to": str(job.kwargs.get("email")), "type": str(mail), "error": job.error or ""})
    return found


_ACTORS: Mapping[str, Any] = {
    "welcome": send_welcome,
    "verification": send_verification,
    "password-reset": send_password_reset,
    "invitation": send_invitation,
    "notification": send_notification,
}


def _entry(number: int, entry: Any, key: str | None) -> Queued:
    try:
        if not isinstance(entry, Mapping) or set(entry) != {"to", "type", "data"}:
            raise InvalidMail(f"it takes to, type and data, and {entry!r:.200} was given.")
        actor, fields = _named(entry["type"], entry["to"], entry["data"])
    except InvalidMail as problem:
        raise InvalidMail(f"emails[{number}]: {problem}") from None
    once = {"dedup_key": key, "throttle": TWO_DAYS} if key else {}
    message: Queued = actor.message_with_options(kwargs=fields, **once)
    return message


def _queue(name: str, to: str, data: Mapping[str, Any], priority: int | None = None) -> Queued:
    actor, fields = _named(name, to, data)
    message: Queued = actor.send_with_options(kwargs=fields, priority=priority)
    return message


def _named(name: str, to: str, data: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the actor that sends a mail of ours, and its arguments."""
    mails.check_template(name, data)
    _check_address(to)
    check(to, str(data.get("title", name)), text="to be written")
    if name in _ACTORS:
        return _ACTORS[name], {"email": to, **data}
    return send_named, {"email": to, "mail": name, "data": dict(data)}


def _recipients(to: Any) -> list[Any]:
    if not isinstance(to, list | tuple):
        to = [to]
    for address in to:
        _check_address(address)
    return list(to)


def _check_address(address: object) -> None:
    """Let pass a text; what is none cannot be read as an address."""
    if not isinstance(address, str):
        raise InvalidMail(f"{address!r:.100} is no mail address such as ada@example.com.")


def _send(template: str, to: str, /, **data: Any) -> Result:
    return mails.send_template(to, template, data, job_id=current_job.id)
