"""RQ with its simple worker, which does not fork for each job and so is its fastest; one job at a time each."""

from __future__ import annotations

import logging
import os

from redis import Redis
from rq import Queue, SimpleWorker

from benchmarks.programs import tally

connection = Redis.from_url(os.environ["BENCH_REDIS"])
queue = Queue("bench", connection=connection)


def noop(number: int = 0) -> None:
    """Do nothing, and say so."""
    tally.tick()


def send(number: int) -> None:
    """Send one job."""
    queue.enqueue(noop, number, result_ttl=0)


def fill(jobs: int) -> None:
    """Send so many jobs."""
    queue.enqueue_many([Queue.prepare_data(noop, (number,), result_ttl=0) for number in range(jobs)])


def work() -> None:
    """Run jobs."""
    worker = SimpleWorker([queue], connection=connection)
    logging.getLogger("rq.worker").setLevel(logging.WARNING)
    tally.wait_for_start()
    worker.work(logging_level="WARNING")
