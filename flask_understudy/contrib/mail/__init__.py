"""Mail from jobs: Flask-Mail with a queue, time limits, refused header tricks and clear verdicts.

    mail = JobMail(jobs)  # in place of `Mail()`
    mail.send_later(Message("Hello", recipients=["ada@example.com"], body="…"))

or within an actor of your own:

    letter = compose("ada@example.com", "Hello", text="…", html="…", job_id=current_job.id)
    deliver(letter)

What can never succeed raises `InvalidMail` or `MailRejected`; list `PERMANENT` in an actor's
`throws` and it is not tried again. Everything else (an answer of 4xx, no connection, a time-out)
is worth another attempt. The Message-ID comes from the job's id, so that a mail which was sent
twice after a crash can be recognised as one.
"""

from .delivery import BoundedConnection, deliver
from .errors import PERMANENT, InvalidMail, MailError, MailRejected
from .headers import parse_address
from .later import JobMail
from .letter import MOST_RECIPIENTS, Letter, check, check_sender, compose

__all__ = [
    "MOST_RECIPIENTS",
    "PERMANENT",
    "BoundedConnection",
    "InvalidMail",
    "JobMail",
    "Letter",
    "MailError",
    "MailRejected",
    "check",
    "check_sender",
    "compose",
    "deliver",
    "parse_address",
]
