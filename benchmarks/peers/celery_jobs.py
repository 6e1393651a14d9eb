"""Celery on Redis with its thread pool, no result store, as its documentation sets it up for plain jobs."""

from __future__ import annotations

import os
import sys

from celery import Celery

from benchmarks.programs import tally

app = Celery("bench", broker=os.environ["BENCH_REDIS"])
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)


@app.task
def noop(number: int = 0) -> None:
    """Do nothing, and say so."""
    tally.tick()


def send(number: int) -> None:
    """Send one job."""
    noop.delay(number)


def fill(jobs: int) -> None:
    """Send so many jobs through one producer."""
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(jobs):
            noop.apply_async((number,), producer=producer)


def work() -> None:
    """Run jobs."""
    tally.wait_for_start()
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    app.worker_main(["worker", "--pool", "threads", "--concurrency", os.environ["BENCH_THREADS"], *quiet])
    sys.exit()
