"""Telling people of alerts: the log at once, all others from a thread, so that none of them holds up the clock."""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass

from ..operations.channels import Channel, Channels, log
from ..signals import AlertNotice
from ..state import State

logger = logging.getLogger("flask_understudy")

TRIES = 5
MOST_PENDING = 1000
LAST_WORD_SECONDS = 1.0


@dataclass(slots=True)
class Errand:
    """A notice on its way to one destination."""

    channel: Channel
    notice: AlertNotice
    tries: int = 0


class Telling:
    """Tells alerts to the log and to all channels.

    A destination that fails is tried again with the next evaluation, five times in all.

    Args:
        state: The application's side of the library.
    """

    def __init__(self, state: State) -> None:
        self.channels = Channels(state)
        self._inbox: queue.SimpleQueue[Errand | threading.Event] = queue.SimpleQueue()
        self._failed: queue.SimpleQueue[Errand] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def tell(self, notices: list[AlertNotice]) -> None:
        """Tell what is new, and once more what could not be delivered before; returns at once."""
        errands: list[Errand] = []
        while not self._failed.empty():
            errands.append(self._failed.get())
        for notice in notices:
            log(notice)
            errands += [Errand(channel, notice) for channel in self.channels.of(notice)]
        if not errands:
            return
        if self._inbox.qsize() > MOST_PENDING:
            logger.error("%d notices of alerts are dropped: too many wait to be delivered.", len(errands))
            return
        for errand in errands:
            self._inbox.put(errand)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="understudy-alerts", daemon=True)
            self._thread.start()

    def flush(self, timeout: float) -> bool:
        """Wait until all that was handed in so far was tried; tell whether it was, within `timeout` s."""
        if self._thread is None:
            return True
        done = threading.Event()
        self._inbox.put(done)
        return done.wait(timeout)

    def stop(self) -> None:
        """Deliver what is left, for a second at the most."""
        self.flush(LAST_WORD_SECONDS)

    def _run(self) -> None:
        while True:
            errand = self._inbox.get()
            if isinstance(errand, threading.Event):
                errand.set()
                continue
            errand.tries += 1
            try:
                errand.channel.deliver(errand.notice)
            except Exception as problem:
                again = errand.tries < TRIES
                logger.log(
                    logging.WARNING if again else logging.ERROR,
                    "Alert %d could not be told by %s (try %d of %d): %s",
                    errand.notice.id,
                    errand.channel.name,
                    errand.tries,
                    TRIES,
                    self.channels.reason(problem),
                )
                if again:
                    self._failed.put(errand)
