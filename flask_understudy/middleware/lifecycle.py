"""A worker process from boot to end: load the application, enter the ledger, run the clock, leave in good order."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

from dramatiq import Worker
from dramatiq.common import iter_queue
from dramatiq.middleware import Middleware, MiddlewareError
from flask.cli import ScriptInfo
from sqlalchemy.exc import SQLAlchemyError

from ..claims import ClaimedMessage
from ..clock import Clock
from ..consumer import Capacity
from ..errors import NotInitialised, UnderstudyError
from ..terms import check_declared
from ..worker import WorkerProcess

if TYPE_CHECKING:
    from ..broker import LedgerBroker

logger = logging.getLogger("flask_understudy")

EXIT_CONFIGURATION = 78  # sysexits.h: EX_CONFIG
ECHO_SECONDS = 2.0
EXIT_UNAVAILABLE = 69  # sysexits.h: EX_UNAVAILABLE


class BootRefused(NotInitialised, MiddlewareError):
    """The worker inside a web process cannot start; of Dramatiq's kind as well, as it swallows all others."""


class Lifecycle(Middleware):
    """Boots and ends the worker of a process.

    What goes wrong here ends the process with a message and a code, as Dramatiq would otherwise report a worker that
    is ready and consumes nothing.
    """

    def __init__(self) -> None:
        self.clock: Clock | None = None

    def after_process_boot(self, broker: Any) -> None:
        """Load the application as the `flask` command does, unless importing the actors has already."""
        if broker.is_bound:
            return
        try:
            ScriptInfo(app_import_path=os.environ.get("FLASK_APP")).load_app()
            if not broker.is_bound:
                raise NotInitialised("The application was loaded, but did not call jobs.init_app(app).")
        except Exception as problem:
            logger.critical("The application could not be loaded, the worker ends: %s", problem, exc_info=True)
            raise SystemExit(EXIT_CONFIGURATION) from problem

    def before_worker_boot(self, broker: Any, worker: Worker) -> None:
        """Enter the ledger and start the clock."""
        ledger_broker: LedgerBroker = broker
        try:
            state = ledger_broker.state
            if not state.config.enabled:
                raise NotInitialised("UNDERSTUDY_ENABLED is off: jobs are stored and not run.")
            check_declared(ledger_broker)
            if ledger_broker.worker_kind == "worker" and not _threads_on_command_line():
                worker.worker_threads = state.config.concurrency
            queues = sorted(
                ledger_broker.get_declared_queues() & (worker.consumer_whitelist or ledger_broker.get_declared_queues())
            )
            process = WorkerProcess(state, ledger_broker.worker_kind, queues, worker.worker_threads)
            process.start()
        except UnderstudyError as problem:
            self._refuse(ledger_broker, str(problem), EXIT_CONFIGURATION, problem)
        except SQLAlchemyError as problem:
            reason = str(getattr(problem, "orig", problem)).strip()
            where = state.database.engine.url.render_as_string(hide_password=True)
            missing = "understudy_" in reason
            remedy = "Run `flask db upgrade`." if missing else "Is it running, and is DATABASE_URL right?"
            self._refuse(
                ledger_broker,
                f"The ledger cannot be used at {where}: {reason}. {remedy}",
                EXIT_UNAVAILABLE,
                problem,
            )
        ledger_broker.worker = state.worker = process
        ledger_broker.capacity = Capacity(worker.worker_threads)
        self.clock = Clock(state, process)
        self.clock.start()

    def _refuse(self, broker: Any, message: str, code: int, problem: Exception) -> None:
        logger.critical("The worker cannot start: %s", message)
        if broker.worker_kind == "worker":
            raise SystemExit(code) from problem
        raise BootRefused(message) from problem

    def after_worker_boot(self, broker: Any, worker: Worker) -> None:
        """Take one SIGTERM for one, however many processes pass it on; end when the master died meanwhile.

        Dramatiq would tell the master next that the worker has booted, and wait for one that died to listen.
        """
        if broker.worker_kind != "worker" or threading.current_thread() is not threading.main_thread():
            return
        _merge_signals()
        if broker.worker.heartbeat.is_orphaned():
            logger.error("The master process died while worker %s booted, which stops.", broker.worker.id)
            worker.stop(timeout=broker.state.config.shutdown_timeout_ms)
            _leave()

    def before_worker_shutdown(self, broker: Any, worker: Worker) -> None:
        """Claim nothing more, hand back what was not started, and let what runs come to an end."""
        process: WorkerProcess | None = broker.worker
        if process is None:
            return
        if self.clock is not None:
            self.clock.stop()
        process.stop_soon(_leave if process.kind == "worker" else lambda: None)
        unstarted = [item.message for item in iter_queue(worker.work_queue)]
        process.hand_back([m for m in unstarted if isinstance(m, ClaimedMessage)])

    def after_worker_shutdown(self, broker: Any, worker: Worker) -> None:
        """Write what is left and take leave of the ledger."""
        if broker.worker is not None:
            broker.worker.stop()
            broker.worker = broker.capacity = None


def _merge_signals() -> None:
    """Let a second SIGTERM count only when it comes later than the first one's echo.

    Dramatiq ends at once on a second one, and a signal to a whole process group reaches a worker twice: from the
    sender, and from the master that forwards it.
    """
    handler = signal.getsignal(signal.SIGTERM)
    first: float | None = None

    def merged(number: int, frame: FrameType | None) -> None:
        nonlocal first
        now = time.monotonic()
        if first is None or now - first > ECHO_SECONDS:
            first = first or now
            if callable(handler):
                handler(number, frame)

    signal.signal(signal.SIGTERM, merged)


def _threads_on_command_line() -> bool:
    return any(arg in {"-t", "--threads"} or arg.startswith("--threads=") for arg in sys.argv)


def _leave() -> None:
    os._exit(0)
