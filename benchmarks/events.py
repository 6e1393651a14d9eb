"""What an event costs that many listen to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.arena import Arena
from benchmarks.harness import Row, Scale, compare, paired
from benchmarks.programs import ours, raw
from benchmarks.sends import rate_of, sender
from flask_understudy import Event

LISTENERS = 10
SLICE = 20


class Rang(Event, name="bench.rang"):
    """Something that happens often."""

    number: int


def fan_out(arena: Arena, scale: Scale) -> Iterator[Row]:
    """One event in the log and a job for each of 10 subscribers; Dramatiq's own sends 10 messages."""
    for n in range(LISTENERS):
        name = f"bench:hear-{n}"
        if name not in ours.jobs.broker.actors:
            ours.jobs.on(Rang, queue_name="q0", actor_name=name)(_hear)
    for database_name, database in (("PostgreSQL", arena.new_database()), ("SQLite", arena.new_sqlite())):
        with sender(arena, database):
            ours.jobs.publish(Rang(number=0))
            times = max(SLICE, scale.sends // LISTENERS)
            pairs = paired(
                scale.rounds,
                rate_of(_publish, times, LISTENERS),
                rate_of(raw.noop.send, times * LISTENERS),
            )
            yield compare(f"an event to {LISTENERS} subscribers: {database_name}", "jobs/s", pairs, "dramatiq's send()")


def _publish(number: int) -> Any:
    return ours.jobs.publish(Rang(number=number))


def _hear(event: Rang) -> None:
    """Do nothing."""
