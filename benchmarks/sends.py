"""What a send costs the program that sends."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dramatiq.brokers.redis import RedisBroker
from flask import Flask

from benchmarks.arena import Arena, create_tables
from benchmarks.harness import Row, Scale, compare, limit, paired
from benchmarks.programs import ours, raw

SLICE = 50
BULK = 500


@contextmanager
def sender(arena: Arena, database: str) -> Iterator[Flask]:
    """The application on a new ledger, and Dramatiq's own broker on its own Redis; both connected and warm."""
    create_tables(database)
    point_raw_at(arena.redis("raw").url)
    app = ours.create_app(database, UNDERSTUDY_TRANSPORT=arena.redis().url)
    with app.app_context():
        for _ in range(SLICE):
            ours.noop.send(1)
            raw.noop.send(1)
        yield app
        ours.db.session.remove()


def point_raw_at(url: str) -> None:
    """Let Dramatiq's own actor send to this Redis."""
    client = RedisBroker(url=url).client
    client.ping()
    raw.broker.client = client
    raw.broker.scripts = {name: client.register_script(script.script) for name, script in raw.broker.scripts.items()}


def rate_of(act: Callable[[int], object], times: int, amount: int = 1) -> Callable[[], float]:
    """Return a measure of how often per second something can be done."""

    def measure() -> float:
        begun = time.perf_counter()
        for number in range(times):
            act(number)
        return times * amount / (time.perf_counter() - begun)

    return measure


def our_request(number: int) -> None:
    """What a route does: a business row and a job, in one transaction."""
    ours.db.session.add(ours.Line(text="a line of business"))
    ours.noop.send(number)
    ours.db.session.commit()
    ours.db.session.remove()


def raw_request(number: int) -> None:
    """The same without us."""
    ours.db.session.add(ours.Line(text="a line of business"))
    ours.db.session.commit()
    raw.noop.send(number)
    ours.db.session.remove()


def in_turns(scale: Scale, act: Callable[[int], object], peer: Callable[[int], object]) -> list[tuple[float, float]]:
    """Measure both in short slices that take turns; one pair per round."""
    pairs = []
    for _ in range(scale.rounds):
        slices = paired(max(2, scale.sends // SLICE), rate_of(act, SLICE), rate_of(peer, SLICE))
        harmonic = statistics.harmonic_mean
        pairs.append((harmonic([own for own, _ in slices]), harmonic([theirs for _, theirs in slices])))
    return pairs


def send_in_transaction(arena: Arena, scale: Scale) -> Iterator[Row]:
    """Inside the caller's transaction, PostgreSQL and SQLite."""
    for name, database, at_least in (
        ("PostgreSQL", arena.new_database(), 0.75),
        ("SQLite", arena.new_sqlite(), 0.90),
    ):
        with sender(arena, database):
            pairs = in_turns(scale, our_request, raw_request)
            note = f"CPU {cpu_of(our_request):.0f} against {cpu_of(raw_request):.0f} µs"
            yield compare(
                f"send() in a business transaction: {name}",
                "per s",
                pairs,
                "business + raw send",
                at_least=at_least,
                note=note,
            )


def send_alone(arena: Arena, scale: Scale) -> Iterator[Row]:
    """With a row and a commit of its own; Dramatiq's own writes no row."""
    with sender(arena, arena.new_database()):
        pairs = in_turns(scale, ours.noop.send, raw.noop.send)
        note = f"CPU {cpu_of(ours.noop.send):.0f} against {cpu_of(raw.noop.send):.0f} µs"
        yield compare("send() with a row of its own", "per s", pairs, "dramatiq's send()", note=note)


def send_many(arena: Arena, scale: Scale) -> Iterator[Row]:
    """500 at a time."""
    with sender(arena, arena.new_database()):
        calls = max(4, scale.sends // SLICE)
        cpu: list[float] = []

        def ours_measure() -> float:
            begun, used = time.perf_counter(), time.process_time()
            for _ in range(calls):
                ours.jobs.send_many([ours.noop.message(number) for number in range(BULK)])
            cpu.append((time.process_time() - used) / (calls * BULK) * 1e6)
            return calls * BULK / (time.perf_counter() - begun)

        pairs = paired(scale.rounds, ours_measure, rate_of(raw.noop.send, scale.sends))
        yield compare("send_many() of 500", "jobs/s", pairs, "dramatiq's send()", at_least=6.0)
        yield limit("send_many() of 500: CPU of a job", "µs", statistics.median(cpu), at_most=60)


def cpu_of(act: Callable[[int], object]) -> float:
    """Return the µs of CPU that one call takes in this process."""
    begun = time.process_time()
    for number in range(SLICE):
        act(number)
    return (time.process_time() - begun) / SLICE * 1e6
