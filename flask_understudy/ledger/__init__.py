"""The ledger: every job, attempt, worker, queue and schedule as rows in the application's database."""

from .alert import AlertEpisode
from .approval import Approval
from .attempt import Attempt, JobEvent
from .audit import AuditLine
from .base import Base, metadata
from .batch import Batch
from .bulk import Bulk
from .database import Database
from .event import PublishedEvent
from .failure import FailureVerdict
from .idempotency import IdempotencyKey
from .job import ACTIVE, CANCELLED, COMPLETED, DELAYED, FAILED, LIVE, STATES, TERMINAL, WAITING, Job
from .limit import KeyLimit, Pass
from .queue import Queue
from .schedule import Schedule, ScheduleFire
from .step import Step
from .tally import Count, Rate, Tally
from .tenant import Tenant
from .threshold import AlertThreshold
from .wait import Wait
from .window import Window
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
    "AlertThreshold",
    "Approval",
    "Attempt",
    "AuditLine",
    "Base",
    "Batch",
    "Bulk",
    "Count",
    "Database",
    "FailureVerdict",
    "IdempotencyKey",
    "Job",
    "JobEvent",
    "KeyLimit",
    "Lease",
    "Pass",
    "PublishedEvent",
    "Queue",
    "Rate",
    "Schedule",
    "ScheduleFire",
    "Step",
    "Tally",
    "Tenant",
    "Wait",
    "Window",
    "Worker",
    "metadata",
]
