"""The ledger: every job, attempt, worker, queue and schedule as rows in the application's database."""

from .alert import AlertEpisode
from .attempt import Attempt, JobEvent
from .audit import AuditLine
from .base import Base, metadata
from .bulk import Bulk
from .database import Database
from .event import PublishedEvent
from .failure import FailureVerdict
from .idempotency import IdempotencyKey
from .job import ACTIVE, CANCELLED, COMPLETED, DELAYED, FAILED, LIVE, STATES, TERMINAL, WAITING, Job
from .queue import Queue
from .schedule import Schedule, ScheduleFire
from .tally import Count, Rate, Tally
from .tenant import Tenant
from .worker import Lease, Worker

__all__ = [
    "ACTIVE",
    "CANCELLED",
    "COMPLETED",
    "DELAYED",
    "FAILED",
    "LIVE",
    "STATES",
    "TERMINAL",
    "WAITING",
    "AlertEpisode",
    "Attempt",
    "AuditLine",
    "Base",
    "Bulk",
    "Count",
    "Database",
    "FailureVerdict",
    "IdempotencyKey",
    "Job",
    "JobEvent",
    "Lease",
    "PublishedEvent",
    "Queue",
    "Rate",
    "Schedule",
    "ScheduleFire",
    "Tally",
    "Tenant",
    "Worker",
    "metadata",
]
