"""Why a mail was not sent, where trying again is of no use."""

from __future__ import annotations

from ...errors import UnderstudyError


class MailError(UnderstudyError):
    """Base of the errors of `contrib.mail`."""


class InvalidMail(MailError, ValueError):
    """The mail cannot be sent as it is written."""


class MailRejected(MailError):
    """The mail server refused the mail for good, with an answer of 500 or above."""


#: What an actor that sends mail lists in `throws`.
PERMANENT: tuple[type[Exception], ...] = (InvalidMail, MailRejected)
