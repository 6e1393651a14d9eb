"""Jobs driven from outside: a request runs what is due for as long as it may take, and leaves nothing behind.

For hosts that keep no process between requests (G15, R04). The request is a worker for its length: it enters the
ledger, takes one round of the clock's turns, claims under the same guards as any other worker, and takes its leave. So
requests at the same time, and workers beside them, never run the same job.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from itertools import cycle

from .clock import Clock
from .consumer import UNKNOWN_ACTOR_MS
from .ledger import Job, limits, queries
from .ledger.transitions import Claimed
from .policy import time_limit_ms
from .processing import process
from .state import State
from .worker import WorkerProcess

logger = logging.getLogger("flask_understudy")

GRACE_SECONDS = 2.0

#: Share of the budget after which no other job is begun, as it would be cut off.
LAST_BEGIN = 0.75


@dataclass(frozen=True, slots=True)
class Order:
    """What a request shall run.

    Attributes:
        job: The only job; None = what is due.
        queues: The queues to look at, when no job is named.
        most: Jobs at the most.
        seconds: s it may take.
    """

    job: str | None = None
    queues: tuple[str, ...] = ()
    most: int = 10
    seconds: float = 10.0


class Invoker:
    """Runs jobs for the length of a request.

    Args:
        state: The application's side of the library.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self._healthy_since: float | None = None

    def run(self, order: Order) -> list[Job]:
        """Run jobs; return those that were begun as they are then, in that order.

        A job that does not heed its end is `active` still: it goes on in this process, and its end is recorded.

        Raises:
            SQLAlchemyError: The database cannot be used.
        """
        worker = WorkerProcess(self.state, "web", [], 1)
        worker.start()
        round_ = _Round(self.state, worker, order, self._healthy_since)
        thread = threading.Thread(target=round_.run, name="understudy-invoke", daemon=True)
        thread.start()
        thread.join(order.seconds + GRACE_SECONDS)
        self._healthy_since = round_.healthy_since
        found = (queries.find(self.state.database, id) for id in list(round_.begun))
        return [job for job in found if job is not None]


class _Round:
    """One request's work, in a thread of its own, so that the request's session and context stay the request's."""

    def __init__(self, state: State, worker: WorkerProcess, order: Order, healthy_since: float | None) -> None:
        self.state = state
        self.worker = worker
        self.order = order
        self.healthy_since = healthy_since
        self.begun: list[str] = []
        self._began = time.monotonic()

    def run(self) -> None:
        """Take the clock's turns, run jobs, and leave."""
        try:
            clock = Clock(self.state, self.worker)
            self.healthy_since = clock.round(self.healthy_since)
            self._run_jobs()
        except Exception:
            logger.exception("The invocation ended early; what it did not run stays waiting.")
        finally:
            self.worker.stop()

    def _run_jobs(self) -> None:
        if self.order.job is not None:
            with self.worker.claiming() as connection:
                claimed = limits.claim(connection, self.worker.id, [self.order.job])
            for claim in claimed:
                self._process(claim)
            return
        idle = 0
        for queue in cycle(self.order.queues):
            has_time = time.monotonic() - self._began < LAST_BEGIN * self.order.seconds
            if idle == len(self.order.queues) or len(self.begun) >= self.order.most or not has_time:
                return
            with self.worker.claiming() as connection:
                claimed = limits.claim_next(connection, self.worker.id, queue, 1).claimed
            idle = 0 if claimed else idle + 1
            for claim in claimed:
                self._process(claim)

    def _process(self, claim: Claimed) -> None:
        self.begun.append(claim.id)
        message = self.worker.hold(claim, None)
        actor = self.state.broker.actors.get(claim.actor)
        if actor is None:
            message.hand_back(UNKNOWN_ACTOR_MS, LookupError(f"No actor is named {claim.actor!r} in this release"))
            message.finish()
        else:
            left = self.order.seconds - (time.monotonic() - self._began)
            limit = time_limit_ms(claim.options, actor.options, self.state.config.queues.get(claim.queue))
            message.options["time_limit"] = max(1.0, min(limit, left * 1000))
            process(message)
        self.worker.writer.flush(GRACE_SECONDS)


__all__ = ["Invoker", "Order"]
