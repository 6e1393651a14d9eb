"""Jobs that want to know when their worker stops."""

from __future__ import annotations

from typing import Any

from dramatiq import Broker, Worker
from dramatiq.middleware import Middleware, Shutdown
from dramatiq.middleware import ShutdownNotifications as DramatiqShutdownNotifications

from ..claims import ClaimedMessage


class ShutdownNotifications(DramatiqShutdownNotifications):
    """Raises `Shutdown` at once in jobs whose actor or call says `notify_shutdown=True`; others get time (G11)."""

    def __init__(self) -> None:
        Middleware.__init__(self)

    def after_process_boot(self, broker: Broker) -> None:
        """Nothing to check: the platform is CPython."""

    def before_worker_shutdown(self, broker: Any, worker: Worker) -> None:
        """Interrupt the jobs that asked for it."""
        if broker.worker is None:
            return
        for claim in broker.worker.held():
            if self._wants(broker, claim):
                broker.worker.interrupts.raise_in(claim.claimed.id, Shutdown)

    def _wants(self, broker: Broker, claim: ClaimedMessage) -> bool:
        asked = claim.options.get("notify_shutdown")
        return bool(broker.get_actor(claim.actor_name).options.get("notify_shutdown") if asked is None else asked)

    # Nothing to note and to forget: the worker knows its jobs.
    before_process_message = Middleware.before_process_message
    after_process_message = Middleware.after_process_message
    after_skip_message = Middleware.after_skip_message  # type: ignore[assignment]
