"""The ledger: every job, attempt, worker, queue and schedule as rows in the application's database."""

from .attempt import Attempt, JobEvent
from .base import Base, metadata
from .database import Database
from .job import ACTIVE, CANCELLED, COMPLETED, DELAYED, FAILED, LIVE, STATES, TERMINAL, WAITING, Job
from .queue import Queue
from .schedule import Schedule, ScheduleFire
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
    "Attempt",
    "Base",
    "Database",
    "Job",
    "JobEvent",
    "Lease",
    "Queue",
    "Schedule",
    "ScheduleFire",
    "Worker",
    "metadata",
]
