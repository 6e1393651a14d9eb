"""The transport without a broker: a bell inside the process, and the ledger for everything else."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from ..ledger.transitions import Due


class DatabaseTransport:
    """Wakes the threads of this process; workers of other processes look at the ledger by themselves."""

    name = "database"
    keeps_order = False
    is_up = True

    def __init__(self) -> None:
        self._bells: dict[str, threading.Event] = {}

    def _bell(self, queue: str) -> threading.Event:
        return self._bells.setdefault(queue, threading.Event())

    def check(self) -> bool:
        """Return True: there is no broker that could be down."""
        return True

    def announce(self, jobs: Sequence[Due]) -> None:
        """Wake whoever waits for these jobs' queues in this process."""
        for queue in {job.queue for job in jobs}:
            self._bell(queue).set()

    def take(self, queue: str, n: int) -> list[str]:
        """Return nothing, as no ids are held; what was announced up to now is about to be found in the ledger."""
        self._bell(queue).clear()
        return []

    def wait(self, queue: str, timeout: float) -> list[str]:
        """Sleep until the bell rings or `timeout` s are over."""
        self._bell(queue).wait(timeout)
        return []

    def depths(self, queues: Sequence[str]) -> dict[str, int]:
        """Return nothing: there is no broker to compare with."""
        return {}

    def close(self) -> None:
        """Wake everybody, so that they see that it is over."""
        for bell in self._bells.values():
            bell.set()
