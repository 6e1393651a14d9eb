"""The peer that everything is compared with: Dramatiq on Redis as its own documentation sets it up."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.programs import tally

broker = RedisBroker(url=os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0"))
QUEUES = [f"q{n}" for n in range(6)]


@dramatiq.actor(broker=broker, queue_name="q0")
def noop(number: int = 0) -> None:
    """Do nothing, and say so."""
    tally.tick()


@dramatiq.actor(broker=broker, queue_name="q0")
def mark(slot: int) -> None:
    """Note when it started."""
    tally.stamp(slot)


if os.environ.get("BENCH_QUEUES") == "6":
    for name in QUEUES[1:]:
        dramatiq.actor(lambda: None, broker=broker, queue_name=name, actor_name=f"noop-{name}")

if "BENCH_REDIS" in os.environ:
    dramatiq.set_broker(broker)
    if "BENCH_GATE" in os.environ:
        tally.wait_for_start()
