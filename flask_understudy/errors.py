"""What can go wrong, by name: every exception the library raises on purpose."""

from __future__ import annotations


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
