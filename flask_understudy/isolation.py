"""Running a job alone in a child process, after an earlier attempt ended with the death of its process (promise G6).

The suspect then harms nobody: when the child dies, that is the job's own doing, recorded as a crash, and after
`MAX_CRASHES` it fails as poison. The claim, the lease and the guards are the worker's; the child only does the work.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from typing import Any

import dramatiq
from flask.cli import ScriptInfo

from .ledger import transitions
from .ledger.transitions import MAX_CRASHES, Claimed, Due, Ending
from .ledger.writer import Finish
from .processing import process
from .worker import WorkerProcess

logger = logging.getLogger("flask_understudy")

GRACE_SECONDS = 10.0
MOST_ISOLATED = 2
TICK_SECONDS = 0.1


def can_isolate(worker: WorkerProcess, claimed: Claimed) -> bool:
    """Whether a child process could find the job's actor."""
    actor = worker.broker.actors.get(claimed.actor)
    return actor is not None and actor.fn.__module__ != "__main__"


class Isolated:
    """One suspect on its own.

    Args:
        worker: Who holds the claim.
        claimed: The claim.
    """

    def __init__(self, worker: WorkerProcess, claimed: Claimed) -> None:
        self.worker = worker
        self.claimed = claimed

    def start(self) -> None:
        """Run the job in a child process, watched by a thread."""
        logger.warning("Job %s ended %d processes and runs alone.", self.claimed.id, self.claimed.crashes)
        self.worker.isolated += 1
        threading.Thread(target=self._run, name="understudy-isolation", daemon=True).start()

    def _run(self) -> None:
        try:
            with self.worker.isolation:
                code = self._child()
            if code != 0:
                self._crashed(code)
        except Exception:
            logger.exception("Job %s could not be run alone and is handed back.", self.claimed.id)
            self._end("delayed", "handed_back", charged=0, delay_ms=int(GRACE_SECONDS * 1000))
        finally:
            self.worker.isolated -= 1
            self.worker.note_ended(self.claimed.id)

    def _child(self) -> int:
        actor = self.worker.broker.actors[self.claimed.actor]
        task = {
            "path": sys.path,
            "module": actor.fn.__module__,
            "worker": self.worker.id,
            "claimed": asdict(self.claimed),
        }
        command = [sys.executable, "-c", "from flask_understudy.isolation import main; main()"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as child:
            assert child.stdin is not None
            try:
                child.stdin.write(json.dumps(task).encode() + b"\n")
                child.stdin.flush()  # stays open: its end tells the child that the worker died
                return self._wait(child)
            finally:
                child.kill()

    def _wait(self, child: subprocess.Popen[bytes]) -> int:
        while child.poll() is None:
            if self.worker.stopping.is_set() and self.worker.held_job(self.claimed.id) is None:
                child.terminate()  # the worker handed it back
                return 0
            time.sleep(TICK_SECONDS)
        return int(child.returncode)

    def _crashed(self, code: int) -> None:
        claimed = self.claimed
        with self.worker.state.database.statement() as connection:  # steps that it finished count its crashes anew
            poisonous = transitions.crashes(connection, claimed.id) + 1 >= MAX_CRASHES
        exhausted = claimed.max_attempts is not None and claimed.attempt >= claimed.max_attempts
        error = f"Its process ended with {code}"
        logger.warning("Job %s ended the process it ran in alone, with %d.", claimed.id, code)
        reason = "poison" if poisonous else "exhausted" if exhausted else None
        self._end("failed" if reason else "waiting", "crashed", error=error, reason=reason, crashes=1)

    def _end(self, state: str, outcome: str, **more: Any) -> None:
        claimed = self.claimed
        ending = Ending(claimed.id, claimed.fence, state, outcome, **more)
        due = Due(claimed.id, claimed.queue, claimed.priority, claimed.turn_ms)

        def told(now: str | None) -> None:
            if now == "waiting":
                self.worker.announce([due])

        self.worker.writer.put(
            Finish(claimed.id, claimed.fence, ending=ending, told=told, key=claimed.key, batch=claimed.batch_id)
        )


def main() -> None:
    """Run the job named on standard input, and nothing else."""
    logging.basicConfig(level=logging.INFO)
    task = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_worker, daemon=True).start()
    sys.path[:] = task["path"]
    importlib.import_module(task["module"])
    broker: Any = dramatiq.get_broker()
    if not broker.is_bound:
        ScriptInfo(app_import_path=os.environ.get("FLASK_APP")).load_app()
    worker = WorkerProcess(broker.state, "isolated", [], 1)
    worker.id = worker.writer.worker = task["worker"]
    worker.heartbeat.start()
    process(worker.hold(Claimed(**task["claimed"]), None))
    sys.stdout.flush()
    os._exit(0 if worker.writer.flush(broker.state.config.lease_seconds) else 1)


def _end_with_worker() -> None:
    sys.stdin.buffer.read()
    os._exit(1)
