"""The clock: what has to happen by itself, done by one leader of all worker processes.

Two leaders at once are harmless: leadership saves work, the rows decide.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC

from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy.exc import SQLAlchemyError

from ..errors import TransportError
from ..state import State
from ..worker import WorkerProcess
from .alerts import Alerts
from .announce import announce
from .batches import close_batches, mend_gates
from .bulks import bulks
from .declared import declare
from .lease import ClockLease
from .prune import forget, prune
from .rescue import rescue
from .schedules import fire
from .tallies import fold
from .waits import waits

logger = logging.getLogger("flask_understudy")

PRUNE_SECONDS = 60.0
ALERT_SECONDS = 10.0


class Clock:
    """Takes its turns while it holds the lease.

    Args:
        state: The application's side of the library.
        worker: The process it runs in.
    """

    def __init__(self, state: State, worker: WorkerProcess) -> None:
        self.state = state
        self.worker = worker
        self.lease = ClockLease(state.database, worker.id, state.config.clock_lease_seconds)
        self.alerts = Alerts(state)
        self._healthy_since: float | None = None
        self._declared = False
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def turns(self) -> list[tuple[Callable[[], object], float]]:
        """Return the turns, each with the s from one to the next."""
        seconds = self.state.config.clock_seconds
        turns: list[tuple[Callable[[], object], float]] = [
            (self.announce, seconds),
            (self.rescue, seconds),
            (self.fold, seconds),
            (self.prune, PRUNE_SECONDS),
            (self.bulks, seconds),
            (self.waits, seconds),
            (self.batches, seconds),
            (self.gates, ALERT_SECONDS),
            (self.alert, ALERT_SECONDS),
        ]
        if self.state.config.scheduler_enabled:
            turns.append((self.fire, min(seconds, self.state.config.scheduler_poll_ms / 1000)))
        elif self.state.broker.schedules:
            logger.warning(
                "%d schedules are declared and SCHEDULER_ENABLED is off: none fires.",
                len(self.state.broker.schedules),
            )
        return turns

    def start(self) -> None:
        """Take turns from now on."""
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        for turn, every in self.turns():
            self._scheduler.add_job(self._turn, "interval", seconds=every, args=[turn], id=turn.__name__)
        self._scheduler.start()

    def round(self, healthy_since: float | None = None) -> float | None:
        """Take each turn once and let somebody else lead, in a process that works for the length of a request.

        Args:
            healthy_since: What the round before returned in this process; None = there was none.

        Returns:
            Since when the database has answered this process, on its monotonic clock.
        """
        self._healthy_since = healthy_since
        for turn, _ in self.turns():
            self._turn(turn)
        self._leave(self.lease.release)
        return self._healthy_since

    def stop(self) -> None:
        """Take no more turns and let somebody else lead."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        self._leave(self.lease.close)

    def _leave(self, release: Callable[[], None]) -> None:
        self.alerts.stop()
        try:
            release()
        except SQLAlchemyError as problem:
            logger.debug("The clock's lease runs out by itself: %s", problem)

    def announce(self) -> None:
        """T2, T3, T8, T10: see `clock.announce`."""
        announce(self.state)

    def rescue(self) -> None:
        """T7: see `clock.rescue`; leases that merely ran out count once live workers have had time to renew theirs."""
        healthy = time.monotonic() - self._healthy_since if self._healthy_since is not None else 0.0
        grace = self.state.config.rescue_grace_seconds
        rescue(self.state, reported_only=healthy < grace, silent=self.alerts.rules.note_silent)

    def fire(self) -> None:
        """Fire what is due: see `clock.schedules`."""
        if not self._declared:
            declare(self.state)
            self._declared = True
        fire(self.state)

    def fold(self) -> None:
        """See `clock.tallies`."""
        fold(self.state)

    def alert(self) -> None:
        """Evaluate the rules of alerts: see `clock.alerts`."""
        self.alerts.evaluate()

    def prune(self) -> None:
        """T12: see `clock.prune`."""
        prune(self.state)
        forget(self.state)

    def bulks(self) -> None:
        """Step through bulks: see `clock.bulks`."""
        bulks(self.state)

    def waits(self) -> None:
        """Wake jobs that missed their events: see `clock.waits`."""
        waits(self.state)

    def batches(self) -> None:
        """End batches: see `clock.batches`."""
        close_batches(self.state)

    def gates(self) -> None:
        """Mend what a sender's death left undeclared: see `clock.batches`."""
        mend_gates(self.state)

    def _turn(self, turn: Callable[[], object]) -> None:
        try:
            leads = self.lease.hold()
            if self._healthy_since is None:
                self._healthy_since = time.monotonic()
            if leads:
                turn()
            else:
                self._declared = False  # another release may lead now, and declare other schedules
        except SQLAlchemyError as problem:
            self._healthy_since = None
            logger.warning("The clock's turn %s failed: %s", turn.__name__, getattr(problem, "orig", None) or problem)
        except TransportError as problem:
            logger.debug("The clock's turn %s met a broker that is down: %s", turn.__name__, problem)
        except Exception:
            logger.exception("The clock's turn %s failed.", turn.__name__)


__all__ = ["Alerts", "Clock", "ClockLease", "announce", "declare", "fire", "fold", "prune", "rescue"]
