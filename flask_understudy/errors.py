"""What can go wrong, by name: every exception the library raises on purpose."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dramatiq.errors import Retry
from sqlalchemy.exc import SQLAlchemyError

LONGEST_REASON = 300
LONGEST_SNOOZE_SECONDS = 366 * 86_400
_STATEMENT = re.compile(r"\s*\[(?:SQL|parameters): .*", re.DOTALL)


class UnderstudyError(Exception):
    """Base of every exception that Flask-Understudy raises on purpose."""


class ConfigError(UnderstudyError):
    """A setting is unknown, of the wrong type or contradicts another one."""


class NotInitialised(UnderstudyError):
    """The extension is used before `init_app`, or the tables are missing."""


class JobNotFound(UnderstudyError, LookupError):
    """No job has the given id (or the caller may not know of it)."""


class JobConflict(UnderstudyError):
    """The job's state does not allow the operation, or a live twin holds its dedup key."""


class InvalidJob(UnderstudyError, ValueError):
    """The job cannot be accepted as given; nothing was stored."""


class InvalidEvent(InvalidJob):
    """The event cannot be published or heard as given; nothing was stored.

    Args:
        message: What is wrong, and what would be right.
        wrong: The fields that are wrong, each with its path and why.
    """

    def __init__(self, message: str, wrong: Sequence[tuple[tuple[int | str, ...], str]] = ()) -> None:
        super().__init__(message)
        self.wrong = list(wrong)


class InvalidSchedule(ConfigError, InvalidJob):
    """A schedule's expression, zone, policy or payload makes no sense; nothing was stored (requirement F07)."""


class ScheduleNotFound(UnderstudyError, LookupError):
    """No schedule has the given name (or the caller may not know of it)."""


class ScheduleConflict(UnderstudyError):
    """The code declares the schedule, so it cannot be changed or deleted while the application runs."""


class PayloadTooLarge(InvalidJob):
    """The encoded arguments exceed `UNDERSTUDY_MAX_PAYLOAD_BYTES` (requirement C12)."""


class BrokerUnavailable(UnderstudyError):
    """The broker is down and the actor's fallback is `fail`; nothing was stored (HTTP 503)."""


class TransportError(UnderstudyError):
    """The transport could not carry an announcement; the ledger still holds the job."""


class JobCancelled(UnderstudyError):
    """Raised inside an actor by `current_job.check_cancelled()`; the job ends as cancelled."""


class LeaseLost(UnderstudyError):
    """This worker no longer owns the job: it could not renew its lease in time."""


class InvalidStep(UnderstudyError, ValueError):
    """A step is asked for in a place or with a value that it cannot have."""


class StepFailed(UnderstudyError):
    """A step failed for the last time; raised in the actor now and whenever it runs again.

    Args:
        name: The step.
        error: Type and message of what it raised.
    """

    def __init__(self, name: str, error: str) -> None:
        super().__init__(f"Step {name!r} failed: {error}")
        self.name = name
        self.error = error


class StepsChanged(UnderstudyError):
    """The actor asks for other steps than this job has done; the job fails, and goes on once the code fits again."""


class Snooze(UnderstudyError, Retry):
    """Raised inside an actor to be run again later; costs no attempt, however often.

    Args:
        seconds: s until then, 0 or more.
        why: Kept in the job's log.

    Raises:
        ValueError: `seconds` is out of range.
    """

    def __init__(self, seconds: float, why: str = "") -> None:
        if not 0 <= seconds <= LONGEST_SNOOZE_SECONDS:
            raise ValueError(f"seconds is {seconds!r}; it takes a number from 0 to {LONGEST_SNOOZE_SECONDS}.")
        super().__init__(why or "It goes on later.", delay=int(seconds * 1000))
        self.seconds = seconds
        self.why = why


def described(exception: BaseException) -> str:
    """Return an exception's type and text, fit to be shown to users; the text as `reason_of` has it."""
    return f"{type(exception).__name__}: {reason_of(exception)}"


def without_statements(text: str, exception: BaseException) -> str:
    """Return a formatted traceback of an exception without what `described` leaves out."""
    seen: set[int] = set()
    stack: list[BaseException | None] = [exception]
    while stack:
        error = stack.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        stack += [error.__cause__, error.__context__, *getattr(error, "exceptions", ())]
        if isinstance(error, SQLAlchemyError):
            driver = getattr(error, "orig", None)
            text = text.replace(str(error), reason_of(error))
            if driver is not None and str(driver):
                text = text.replace(str(driver), _first_line(str(driver)))
    return text


def reason_of(exception: BaseException) -> str:
    """Return an exception's text, fit to be shown to users.

    Of what the database refused it is the short reason: neither the statement nor its parameters, nor the rows that a
    database quotes in the lines that follow (security row S27).
    """
    try:
        text = str(exception)
    except Exception:
        return "(its text cannot be read)"
    if isinstance(exception, SQLAlchemyError):
        driver = getattr(exception, "orig", None)
        return _first_line(text if driver is None else f"{type(driver).__name__}: {driver}")
    return _STATEMENT.sub("", text)


def _first_line(text: str) -> str:
    return _STATEMENT.sub("", text).strip().partition("\n")[0][:LONGEST_REASON]
