"""The understudy itself: while the broker is down, jobs of `sync` actors are run by the process that sent them.

It claims the job like any worker, so whoever is first runs it and nobody else ever does (promise G9). It runs in
threads of its own: the caller's session, context and transaction stay the caller's.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence

from .ledger import limits
from .ledger.transitions import Claimed, NewJob
from .policy import time_limit_ms
from .processing import process
from .state import State
from .worker import WorkerProcess

logger = logging.getLogger("flask_understudy")


class StandIn:
    """Runs jobs of the `sync` fallback in this process.

    Args:
        state: The application's side of the library.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self._slots = threading.BoundedSemaphore(state.config.sync_slots)
        self._worker: WorkerProcess | None = None
        self._lock = threading.Lock()

    def run(self, jobs: Sequence[NewJob]) -> None:
        """Run jobs one after the other, for as long as a request may wait; what is left stays waiting.

        A job that fails is recorded as a failed attempt and retried by the workers; nothing is raised.
        """
        deadline = time.monotonic() + self.state.config.sync_budget_seconds
        for job in jobs:
            if not self._slots.acquire(timeout=max(0.0, deadline - time.monotonic())):
                logger.warning("No time is left to run job %s in the request; it stays waiting.", job.id)
                return
            left = deadline - time.monotonic()
            thread = threading.Thread(
                target=self._run_one, args=(job.id, left), name="understudy-stand-in", daemon=True
            )
            thread.start()
            thread.join(max(0.0, left))

    def _run_one(self, job_id: str, seconds: float) -> None:
        try:
            worker = self._worker_of_this_process()
            with worker.claiming() as connection:
                claimed: list[Claimed] = limits.claim(connection, worker.id, [job_id])
            for claim in claimed:
                logger.info(
                    "The broker is down: job %s (%s) runs in the web process.",
                    claim.id,
                    claim.actor,
                )
                actor = self.state.broker.get_actor(claim.actor)
                limit = time_limit_ms(claim.options, actor.options, self.state.config.queues.get(claim.queue))
                claim.options["time_limit"] = min(limit, seconds * 1000)
                process(worker.hold(claim, None))
            worker.writer.flush(self.state.config.sync_budget_seconds)
        except Exception:
            logger.exception("Job %s could not run in the web process; it stays waiting.", job_id)
        finally:
            self._slots.release()

    def _worker_of_this_process(self) -> WorkerProcess:
        with self._lock:
            if self._worker is None or self._worker.pid != os.getpid():
                self._worker = WorkerProcess(self.state, "web", [], self.state.config.sync_slots)
                self._worker.start()
            return self._worker

    def stop(self) -> None:
        """Leave the ledger."""
        with self._lock:
            if self._worker is not None:
                self._worker.stop()
                self._worker = None
