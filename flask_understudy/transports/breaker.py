"""The breaker: after one failure nobody asks the broker again until a probe in the background got through."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

from ..signals import broker_lost, broker_restored, emit

logger = logging.getLogger("flask_understudy")

PROBE_SECONDS = 0.5


class Breaker:
    """Keeps one process from waiting for a broker that is down (promise G9).

    Args:
        probe: Asks the broker; raises while it is down.
    """

    def __init__(self, probe: Callable[[], None]) -> None:
        self._probe = probe
        self._closed = True
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    @property
    def is_closed(self) -> bool:
        """Whether the broker may be asked."""
        if not self._closed and self._pid != os.getpid():  # forked while open: the probe stayed behind
            self._watch()
        return self._closed

    def open(self, problem: BaseException) -> None:
        """Note a failure; the first one starts the probe."""
        with self._lock:
            if not self._closed or self._stopped.is_set():
                return
            self._closed = False
        logger.warning(
            "The broker is down, the ledger goes on without it: %s",
            problem or type(problem).__name__,
        )
        emit(broker_lost, self, error=str(problem))
        self._watch()

    def _watch(self) -> None:
        self._pid = os.getpid()
        threading.Thread(target=self._probe_until_up, name="understudy-probe", daemon=True).start()

    def _probe_until_up(self) -> None:
        while not self._stopped.wait(PROBE_SECONDS):
            try:
                self._probe()
            except Exception as problem:
                logger.debug("The broker is still down: %s", problem)
                continue
            self._closed = True
            logger.info("The broker is back.")
            emit(broker_restored, self)
            return

    def stop(self) -> None:
        """End the probe."""
        self._stopped.set()
