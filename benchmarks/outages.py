"""Redis is gone: what a send costs then, and how soon a backlog goes on after a wipe."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis
from flask import Flask

from benchmarks.arena import Arena
from benchmarks.drain import Drain, postgres_ledger
from benchmarks.harness import Row, Scale, limit
from benchmarks.programs import ours, raw, tally
from benchmarks.sends import point_raw_at
from flask_understudy.signals import job_added
from tools.servers import RedisServer

NEXT_SENDS = 20
BACKLOG = 10_000
LEAD = 4_000


def send_without_redis(arena: Arena, scale: Scale) -> Iterator[Row]:
    """The first send that meets a Redis that refuses or hangs, and those after it; without the commit's own time."""
    with postgres_ledger(arena, "database") as drain, arena_redis() as server:
        for how, strike, heal, first_ms in (
            ("refused", server.stop, server.start, 5.0),
            ("hung", server.pause, server.resume, 500.0),
        ):
            firsts, nexts, theirs = [], [], []
            for _ in range(scale.rounds):
                app = ours.create_app(drain.database, UNDERSTUDY_TRANSPORT=server.url)
                with app.app_context():
                    ours.noop.send(0)
                    if how == "refused":
                        point_raw_at(server.url)
                    strike()
                    try:
                        firsts.append(_beyond_the_commit(app))
                        nexts += [_beyond_the_commit(app) for _ in range(NEXT_SENDS)]
                        if how == "refused":
                            theirs.append(_failing(raw.noop.send))
                    finally:
                        heal()
                        ours.jobs.state.transport.close()
            row = limit(f"send(), Redis {how}: first", "ms", statistics.median(firsts), at_most=first_ms)
            if theirs:
                row.peer, row.peer_value = "dramatiq, an error", statistics.median(theirs)
            yield row
            worst = f"worst {max(nexts):.2f}"
            yield limit(f"send(), Redis {how}: next", "ms", statistics.median(nexts), at_most=1.0, note=worst)


@contextmanager
def arena_redis() -> Iterator[RedisServer]:
    """A Redis of its own, to be stopped and frozen."""
    with RedisServer() as server:
        yield server


def _beyond_the_commit(app: Flask) -> float:
    """Return the ms that a send takes after its commit, where `job_added` is told."""
    committed = 0.0

    def note(*_: Any, **__: Any) -> None:
        nonlocal committed
        committed = time.perf_counter()

    with job_added.connected_to(note, app):
        ours.noop.send(1)
    return (time.perf_counter() - committed) * 1000


def _failing(send: Callable[[int], object]) -> float:
    begun = time.perf_counter()
    try:
        send(1)
    except redis.RedisError:
        pass
    except Exception as problem:
        if "onnect" not in type(problem).__name__:
            raise
    return (time.perf_counter() - begun) * 1000


def wipe(arena: Arena, scale: Scale) -> Iterator[Row]:
    """A Redis that forgets everything while 10,000 jobs wait: how much later they end than at the rate before."""
    with postgres_ledger(arena, arena.redis().url) as drain:
        delays, rates = [], []
        for _ in range(max(3, scale.rounds - 2)):
            delay, before, after = _wiped(arena, drain)
            delays.append(delay)
            rates.append((before, after))
        before = statistics.median(rate for rate, _ in rates)
        after = statistics.median(rate for _, rate in rates)
        note = f"{before:,.0f} jobs/s before, {after:,.0f} after"
        yield limit(
            f"a backlog of {BACKLOG:,} after a Redis wipe: delay",
            "s",
            statistics.median(delays),
            at_most=2.0,
            note=note,
        )


def _wiped(arena: Arena, drain: Drain) -> tuple[float, float, float]:
    """Return the delay in s, and the jobs/s before and after the wipe."""
    jobs = LEAD + BACKLOG
    drain.fill(jobs)
    with drain.fleet() as workers:
        workers.release()
        while tally.read(workers.folder)[0] < LEAD:
            time.sleep(0.002)
        ran, first, _ = tally.read(workers.folder)
        wiped = time.time()
        arena.wipe("ours")
        _, last = workers.wait_for_jobs(jobs)
    before = ran / (wiped - first)
    left = jobs - ran
    return last - wiped - left / before, before, left / (last - wiped)
