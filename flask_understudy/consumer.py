"""What a Dramatiq worker consumes: jobs that this process has just claimed, never more than it is about to run."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Iterable

from dramatiq import Consumer
from dramatiq.broker import MessageProxy
from sqlalchemy.exc import SQLAlchemyError

from .claims import ClaimedMessage
from .errors import TransportError
from .isolation import MOST_ISOLATED, Isolated, can_isolate
from .ledger import limits, transitions
from .ledger.transitions import Claimed
from .worker import WorkerProcess

logger = logging.getLogger("flask_understudy")

BATCH = 128
LEDGER_LOOK_SECONDS = 5.0
AHEAD_SECONDS = 0.05
MOST_AHEAD = 15
STOPPING_PAUSE_SECONDS = 0.1
HELD_BACK_SECONDS = 0.25
UNKNOWN_ACTOR_MS = 72_000  # 50 hand-backs of it are an hour: a deploy's worth of patience


class Capacity:
    """How many more jobs a process may claim, over all its queues.

    A thread that ends a short job must find the next one claimed already; a long job claimed ahead would only be kept
    from an idle process. So the jobs claimed ahead are as many as the threads run in `AHEAD_SECONDS`, by the average
    of late, and at most `MOST_AHEAD` for each thread.

    Args:
        threads: Jobs that run at a time.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._taken = 0
        self._average: float | None = None
        self._changed = threading.Condition()

    @property
    def size(self) -> int:
        """Jobs that may be claimed at a time, running ones included."""
        if self._average is None:
            return self._threads
        ahead = self._threads * MOST_AHEAD
        if self._average > 0:
            ahead = min(ahead, int(self._threads * AHEAD_SECONDS / self._average))
        return self._threads + ahead

    @property
    def _enough(self) -> int:
        """Places taken at which claiming is worth its cost: half of what may be claimed ahead is used up."""
        size = self.size
        return max(min(size - 1, self._threads), size // 2) if size > self._threads else size - 1

    def acquire(self, most: int, timeout: float) -> int:
        """Take up to `most` places, waiting up to `timeout` s until it is worth it; return how many."""
        with self._changed:
            self._changed.wait_for(lambda: self._taken <= self._enough, timeout)
            n = max(0, min(most, self.size - self._taken))
            self._taken += n
            return n

    def release(self, n: int = 1) -> None:
        """Give places back."""
        with self._changed:
            self._give_back(n)

    def _give_back(self, n: int) -> None:
        self._taken -= n
        if self._taken <= self._enough:  # before that nobody would do more than look at the clock
            self._changed.notify()

    def ran(self, seconds: float) -> None:
        """A job ran for so long; its place is free."""
        with self._changed:
            self._average = seconds if self._average is None else 0.9 * self._average + 0.1 * seconds
            self._give_back(1)


class LedgerConsumer(Consumer):
    """Claims the jobs of one queue for one process.

    Args:
        worker: The process.
        capacity: Shared by all its queues.
        queue: The queue.
        timeout: s to wait for work before the caller may look around.
    """

    def __init__(self, worker: WorkerProcess, capacity: Capacity, queue: str, timeout: float) -> None:
        self.worker = worker
        self.capacity = capacity
        self.queue = queue
        self.timeout = timeout
        self._buffer: deque[ClaimedMessage] = deque()
        self._looked = 0.0
        self._announced: list[str] = []
        self._held_back = False

    def __next__(self) -> MessageProxy | None:
        """Return the next claimed job, or None when there was none for a while."""
        if not self._buffer:
            self._fetch()
        return self._buffer.popleft() if self._buffer else None

    def _fetch(self) -> None:
        if self.worker.stopping.is_set() or self.worker.drained.is_set():
            time.sleep(STOPPING_PAUSE_SECONDS)
            return
        places = self.capacity.acquire(BATCH, STOPPING_PAUSE_SECONDS if self._announced else self.timeout)
        if not places or self.worker.drained.is_set() or self.worker.stopping.is_set():
            # Places may have become free because their jobs were just handed back.
            self.capacity.release(places)
            self._announced.clear()  # another worker will hear of it: the clock sees that the broker holds too few
            return
        claimed: list[Claimed] = []
        try:
            claimed = self._claim(places)
        except SQLAlchemyError as problem:
            logger.warning("Queue %s: the ledger cannot be asked: %s", self.queue, type(problem).__name__)
            self.worker.stopping.wait(self.timeout)
        finally:
            self.capacity.release(places - len(claimed))
        if claimed and self.worker.stopping.is_set():  # asked before the stop, answered after it
            self.worker.hand_back([self.worker.hold(job, self.capacity.ran) for job in claimed])
            return
        for job in self._known(claimed):
            message = self.worker.hold(job, self.capacity.ran)
            if job.crashes and can_isolate(self.worker, job):
                message.release()  # it occupies none of our threads
                Isolated(self.worker, job).start()
            else:
                self._buffer.append(message)
        if not claimed:
            self._wait()

    def _claim(self, places: int) -> list[Claimed]:
        transport = self.worker.state.transport
        ids, self._announced = self._announced, []
        try:
            if len(ids) < places:
                ids += transport.take(self.queue, places - len(ids))
        except TransportError:
            pass
        if not ids and not self._should_look():
            return []
        suspects = self.worker.isolated < MOST_ISOLATED
        with self.worker.claiming() as connection:
            if self.worker.limits.exist(connection):  # then the ids are no more than a sign that there may be work
                look = limits.claim_next(connection, self.worker.id, self.queue, places, suspects=suspects)
                self._held_back = look.held_back
                return look.claimed
            self._held_back = False
            if ids and transport.keeps_order:
                claimed = transitions.claim(connection, self.worker.id, ids, queue=self.queue, suspects=suspects)
                if claimed:
                    self._looked = 0.0
                    return claimed
            self._looked = time.monotonic()
            claimed = transitions.claim_next(connection, self.worker.id, self.queue, places, suspects=suspects)
            if claimed:
                self._looked = 0.0
            return claimed

    def _should_look(self) -> bool:
        """Whether to ask the ledger though nothing was announced: right after work, then every few seconds.

        Under limits at each look, as nobody announces that there is room again.
        """
        if self.worker.limits.limited:
            return True
        if not self.worker.state.transport.is_up or self.worker.state.transport.name == "database":
            return True
        return time.monotonic() - self._looked > LEDGER_LOOK_SECONDS * random.uniform(1.0, 1.2)

    def _wait(self) -> None:
        poll = self.worker.config.poll_interval_ms / 1000
        if self._held_back:  # what is announced may be just what has no room: do not be woken by it again and again
            self.worker.stopping.wait(min(poll, self.timeout, HELD_BACK_SECONDS))
            return
        try:
            if self.worker.state.transport.is_up:
                self._announced = self.worker.state.transport.wait(self.queue, min(poll, self.timeout))
                return
        except TransportError:
            pass
        self.worker.stopping.wait(min(poll, self.timeout))

    def _known(self, claimed: list[Claimed]) -> Iterable[Claimed]:
        """Hand jobs back whose actor this process does not know: a newer release sent them."""
        for job in claimed:
            if job.actor in self.worker.broker.actors:
                yield job
                continue
            logger.warning("Job %s is for the unknown actor %r and is handed back.", job.id, job.actor)
            message = self.worker.hold(job, self.capacity.ran)
            message.hand_back(UNKNOWN_ACTOR_MS, LookupError(f"No actor is named {job.actor!r} in this release"))
            message.finish()

    def ack(self, message: MessageProxy) -> None:
        """Record a job's end."""
        assert isinstance(message, ClaimedMessage)
        message.finish()

    nack = ack

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Hand jobs back that were claimed and not started."""
        self.worker.hand_back([m for m in messages if isinstance(m, ClaimedMessage)])

    def close(self) -> None:
        """Hand back what is still buffered."""
        left = list(self._buffer)
        self._buffer.clear()
        self.worker.hand_back(left)
