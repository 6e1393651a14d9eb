"""How the queues are doing, under the names of the seed documents (requirements L04, L05, N04)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from app.extensions import jobs


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue to ask about. Each answer is read anew."""

    name: str

    def get_waiting_count(self) -> int:
        """Return how many jobs wait for a worker."""
        return self._count("waiting")

    def get_active_count(self) -> int:
        """Return how many jobs run now."""
        return self._count("active")

    def get_failed_count(self) -> int:
        """Return how many jobs failed for good and are still kept."""
        return self._count("failed")

    def _count(self, state: str) -> int:
        return int(jobs.stats().get(self.name, {}).get(state, 0))


def get_email_queue() -> Queue:
    """Return the queue of mail."""
    return Queue("email")


def get_export_queue() -> Queue:
    """Return the queue of users' exports."""
    return Queue("exports")


def get_all_queue_status(tenant: str | None = None) -> dict[str, Any]:
    """Return ``overallStatus``, ``redisConnected``, ``queues`` and ``timestamp`` (L04, C27).

    Args:
        tenant: Count this organisation's jobs only (P04); None counts everybody's.
    """
    status = jobs.health()
    if tenant is not None and status["queues"]:
        counts = jobs.stats(tenant)
        status["queues"] = [{"name": name, **numbers} for name, numbers in counts.items()]
    return status


def cleanup_old_jobs() -> int:
    """Delete finished jobs whose retention is over (N01, N02, N04); return how many."""
    return int(jobs.cleanup_old_jobs())


def retry_failed_jobs(queue: str, newer_than: dt.timedelta | None = None) -> int:
    """Try the failed jobs of a queue again (O01); return how many.

    Args:
        queue: The queue's name, such as ``email``.
        newer_than: Only those sent within this time; None = all that are kept.

    Raises:
        InvalidJob: No queue has the name.
    """
    return int(jobs.retry_failed_jobs(queue, newer_than=newer_than))
