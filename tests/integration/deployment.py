"""One installation of the service: a database, perhaps a broker, a web process (this one) and worker processes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dramatiq
from flask import Flask
from sqlalchemy import Row, create_engine, text

from tests.app.processes import ROOT
from tests.integration.invariants import TERMINAL, Ledger, check_invariants, note_moves
from tests.integration.service.ext import create_app, db, jobs
from tests.integration.workers import Supervisor, Workers
from tools.waiting import wait_for

#: Short enough for tests; the relations between them are those of the defaults.
FAST = {
    "UNDERSTUDY_LEASE_SECONDS": "3",
    "UNDERSTUDY_RESCUE_GRACE_SECONDS": "1",
    "UNDERSTUDY_CLOCK_LEASE_SECONDS": "3",
    "UNDERSTUDY_CLOCK_SECONDS": "0.5",
}
LEASE_SECONDS = float(FAST["UNDERSTUDY_LEASE_SECONDS"])


class Deployment:
    """The service, installed.

    Attributes:
        app: The application of this process, which sends.
        settings: Environment of all processes.
    """

    def __init__(self, database_url: str, redis_url: str | None, folder: Path, **settings: str) -> None:
        self.database_url = database_url
        self.folder = folder
        self.settings = {
            **FAST,
            "DATABASE_URL": database_url,
            "INSTANCE_PATH": str(folder / "instance"),
            "FLASK_APP": "tests.integration.service.wsgi",
            "PYTHONPATH": str(ROOT),
            **({"REDIS_URL": redis_url} if redis_url else {}),
            **settings,
        }
        self.engine = create_engine(database_url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
        self.app: Flask = create_app(self.settings)
        self._logs = 0

    def install(self) -> None:
        """Make the tables, and note each move of each job."""
        with self.app.app_context():
            db.create_all()
            jobs.metadata.create_all(db.engine)
        with create_engine(self.database_url).connect() as connection:
            note_moves(connection)

    def close(self) -> None:
        """Leave the ledger and close connections."""
        state = self.app.extensions["understudy"]
        state.stand_in.stop()
        state.transport.close()
        state.database.close()
        with self.app.app_context():
            db.session.remove()
            db.engine.dispose()
        self.engine.dispose()

    # -- sending ---------------------------------------------------------------------------------------------------

    def send(self, actor: dramatiq.Actor[Any, Any], *args: Any, **options: Any) -> str:
        """Send a job from this process; return its id."""
        with self.app.app_context():
            return str(actor.send_with_options(args=args, **options).message_id)

    def send_many(self, actor: dramatiq.Actor[Any, Any], n: int, *args: Any) -> list[str]:
        """Send a job n times in one call; return the ids."""
        with self.app.app_context():
            return [m.message_id for m in jobs.send_many([actor.message(*args) for _ in range(n)])]

    # -- processes -------------------------------------------------------------------------------------------------

    def log(self) -> Path:
        """A new file for a program's output."""
        self._logs += 1
        return self.folder / f"program-{self._logs}.log"

    @contextlib.contextmanager
    def workers(self, *, processes: int = 1, ready: bool = True, environ: Any = None, **more: Any) -> Iterator[Workers]:
        """Run workers; with `ready` wait until each of their processes is in the ledger."""
        program = Workers({**self.settings, **(environ or {})}, self.log(), processes=processes, **more)
        with program as running:
            if ready:
                running.wait_until(lambda: len(self.worker_pids(running)) == processes, "the workers", 30)
            yield running

    def supervised(self, *, environ: Any = None, **more: Any) -> Supervisor:
        """Run workers that are started again whenever they end."""
        settings = {**self.settings, **(environ or {})}
        return Supervisor(lambda: Workers(settings, self.log(), **more).__enter__())

    def worker_pids(self, workers: Workers) -> dict[int, str]:
        """The worker processes of a command that have entered the ledger: their ids by their pids."""
        known = self.rows("SELECT id, pid FROM understudy_workers WHERE kind = 'worker'")
        family = workers.pids()
        return {row.pid: row.id for row in known if row.pid in family}

    # -- asking ----------------------------------------------------------------------------------------------------

    def rows(self, query: str, **values: Any) -> Sequence[Row[Any]]:
        """Ask the database."""
        with self.engine.connect() as connection:
            return connection.execute(text(query), values).all()

    def change(self, statement: str, **values: Any) -> None:
        """Change the database by hand."""
        with self.engine.connect() as connection:
            connection.execute(text(statement), values)

    def job(self, id: str) -> Row[Any]:
        """A job's row."""
        (row,) = self.rows("SELECT * FROM understudy_jobs WHERE id = :id", id=id)
        return row

    def states(self) -> dict[str, str]:
        """The state of each job by its id."""
        return {row.id: row.state for row in self.rows("SELECT id, state FROM understudy_jobs")}

    def effects(self, kind: str = "end", **where: Any) -> Sequence[Row[Any]]:
        """What attempts left, the first one first."""
        conditions = "".join(f" AND {name} = :{name}" for name in where)
        return self.rows(f"SELECT * FROM effects WHERE kind = :kind{conditions} ORDER BY id", kind=kind, **where)

    # -- waiting ---------------------------------------------------------------------------------------------------

    def wait(self, fact: Callable[[], Any], what: str, seconds: float = 30) -> Any:
        """Wait for a fact; when it does not come, show the jobs and what the programs wrote."""
        try:
            return wait_for(fact, what, timeout_seconds=seconds, every_seconds=0.05)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.report()}") from None

    def wait_for_state(self, id: str, state: str, seconds: float = 30) -> None:
        """Wait until a job is in a state."""
        self.wait(lambda: self.job(id).state == state, f"job {id} to be {state}", seconds)

    def wait_for_end(self, ids: Sequence[str] | None = None, seconds: float = 60) -> float:
        """Wait until jobs have ended, all of them by default; return for how many seconds."""
        began = time.monotonic()

        def have_ended() -> bool:
            states = self.states()
            return all(states[id] in TERMINAL for id in (states if ids is None else ids))

        self.wait(have_ended, "the jobs to end", seconds)
        return time.monotonic() - began

    def check(self, **expectations: bool) -> Ledger:
        """Check the invariants."""
        try:
            return check_invariants(self.database_url, **expectations)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()}") from None

    def report(self) -> str:
        """The jobs that have not ended, the workers, and what the programs wrote."""
        live = self.rows("SELECT * FROM understudy_jobs WHERE state NOT IN ('completed', 'failed', 'cancelled')")
        workers = self.rows("SELECT * FROM understudy_workers")
        return "\n".join([*(str(row._asdict()) for row in [*live[:20], *workers]), self.output()])

    def output(self) -> str:
        """The end of what each program wrote."""
        logs = sorted(self.folder.glob("program-*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-6000:]}" for log in logs)
