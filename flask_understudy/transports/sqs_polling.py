"""Listening to SQS: one long poll for all queues of a process, in a thread of its own.

A consumer waits for a bell in its own process, so a long poll, which takes up to 20 s, keeps nobody from stopping.
The thread polls only while a consumer waits: a process that is busy leaves the wake-ups to the others. One wake-up
rings for a queue at a time. What else came goes back at once, and is left to the processes that wait for it: for a
little while, and longer each time that it comes again.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import TransportError

logger = logging.getLogger("flask_understudy")

SPENT_SECONDS = 6.0  # an idle worker has looked into the ledger since
SPENT_RECEIVES = 6
LEAVING_SECONDS = 0.2
PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class WakeUp:
    """A message as it was received.

    Attributes:
        handle: What it is deleted by.
        queue: The queue that has work.
        job_id: A job that it has.
        age_seconds: s since it was sent, by two machines' clocks.
        receives: How often it was received, this time included.
    """

    handle: str
    queue: str
    job_id: str
    age_seconds: float
    receives: int

    @property
    def is_spent(self) -> bool:
        """Whether nobody needs it any more: every idle worker has looked by itself, or nobody works for that queue."""
        return self.age_seconds > SPENT_SECONDS or self.receives >= SPENT_RECEIVES


def body_of(queue: str, job_id: str) -> str:
    """Return the text of a message."""
    return json.dumps({"queue": queue, "id": job_id}, separators=(",", ":"))


def wake_up(message: dict[str, Any], now: float) -> WakeUp | None:
    """Read a message; None when it is none of ours.

    Args:
        message: As boto3 returns it.
        now: s since 1970.
    """
    try:
        body = json.loads(message["Body"])
    except ValueError:
        return None
    if not isinstance(body, dict) or body.keys() != {"queue", "id"}:
        return None
    attributes = message.get("Attributes", {})
    return WakeUp(
        message["ReceiptHandle"],
        str(body["queue"]),
        str(body["id"]),
        now - int(attributes.get("SentTimestamp", 0)) / 1000,
        int(attributes.get("ApproximateReceiveCount", 1)),
    )


class Poller:
    """Receives wake-ups for whoever waits in this process.

    Args:
        receive: Waits for wake-ups and returns them; raises TransportError.
        settle: Deletes the first ones, and puts the second ones back; raises TransportError.
    """

    def __init__(
        self,
        receive: Callable[[], list[WakeUp]],
        settle: Callable[[Sequence[WakeUp], Sequence[WakeUp]], None],
    ) -> None:
        self.pid = os.getpid()
        self._receive = receive
        self._settle = settle
        self._changed = threading.Condition()
        self._waiting: Counter[str] = Counter()
        self._came: dict[str, str] = {}
        self._stopped = False
        self._thread: threading.Thread | None = None

    def take(self, queue: str) -> list[str]:
        """Return what came for a queue that waits no more."""
        with self._changed:
            return [self._came.pop(queue)] if queue in self._came else []

    def wait(self, queue: str, timeout: float) -> list[str]:
        """Sleep until a wake-up for a queue comes or `timeout` s are over; return its job."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="understudy-sqs", daemon=True)
                self._thread.start()
            self._waiting[queue] += 1
            self._changed.notify_all()
            try:
                self._changed.wait_for(lambda: queue in self._came or self._stopped, timeout)
            finally:
                self._waiting[queue] -= 1
        return self.take(queue)

    def stop(self) -> None:
        """Wake everybody and listen no more; what a poll under way still receives goes back."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _run(self) -> None:
        while not self._stopped:
            self._sleep(None, lambda: any(self._waiting.values()))
            try:
                if not self._stopped:
                    self._turn()
            except TransportError as problem:
                logger.debug("Not listening: %s", problem)
                self._sleep(PAUSE_SECONDS)
            except Exception:
                logger.exception("Listening to SQS failed; going on.")
                self._sleep(PAUSE_SECONDS)

    def _turn(self) -> None:
        done, others = self._delivered(self._receive())
        self._settle(done, others)
        if others:
            self._sleep(LEAVING_SECONDS * max(each.receives for each in others))

    def _sleep(self, seconds: float | None, until: Callable[[], bool] = lambda: False) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or until(), seconds)

    def _delivered(self, wake_ups: list[WakeUp]) -> tuple[list[WakeUp], list[WakeUp]]:
        """Ring for those who wait; return what is done with, and what somebody else may need."""
        done: list[WakeUp] = []
        others: list[WakeUp] = []
        with self._changed:
            for each in wake_ups:
                if not self._stopped and self._waiting[each.queue] and each.queue not in self._came:
                    self._came[each.queue] = each.job_id
                    done.append(each)
                else:
                    (done if each.is_spent else others).append(each)
            self._changed.notify_all()
        return done, others
