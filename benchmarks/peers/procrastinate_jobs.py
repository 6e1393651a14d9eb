"""Procrastinate on PostgreSQL, with as many jobs at a time as the others have threads."""

from __future__ import annotations

import os

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

from benchmarks.programs import tally

URL = os.environ["BENCH_POSTGRES"]
app = App(connector=PsycopgConnector(conninfo=URL))


@app.task(name="noop")
def noop(number: int = 0) -> None:
    """Do nothing, and say so."""
    tally.tick()


def prepare() -> None:
    """Make the tables."""
    with app.with_connector(SyncPsycopgConnector(conninfo=URL)).open() as opened:
        opened.schema_manager.apply_schema()


def fill(jobs: int) -> None:
    """Send so many jobs."""
    with app.replace_connector(SyncPsycopgConnector(conninfo=URL)) as replaced, replaced.open():
        noop.batch_defer(*[{"number": number} for number in range(jobs)])


def work() -> None:
    """Run jobs."""
    tally.wait_for_start()
    with app.open():
        app.run_worker(concurrency=int(os.environ["BENCH_THREADS"]), delete_jobs="never")
