"""The ledger: every job, attempt, worker, queue and schedule as rows in the application's database."""

from .alert import AlertEpisode
from .approval import Approval
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
from .step import Step
from .tally import Count, Rate, Tally
from .tenant import Tenant
from .wait import Wait
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
    "Approval",
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
    "Step",
    "Tally",
    "Tenant",
    "Wait",
    "Worker",
    "metadata",
]
