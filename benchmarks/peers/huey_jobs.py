"""Huey on Redis with its thread workers."""

from __future__ import annotations

import os

from huey import RedisHuey

from benchmarks.programs import tally

huey = RedisHuey("bench", url=os.environ["BENCH_REDIS"], results=False)


@huey.task()
def noop(number: int = 0) -> None:
    """Do nothing, and say so."""
    tally.tick()


def send(number: int) -> None:
    """Send one job."""
    noop(number)


def fill(jobs: int) -> None:
    """Send so many jobs."""
    for number in range(jobs):
        noop(number)


def work() -> None:
    """Run jobs."""
    consumer = huey.create_consumer(workers=int(os.environ["BENCH_THREADS"]), worker_type="thread", periodic=False)
    tally.wait_for_start()
    consumer.run()
