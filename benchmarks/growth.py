"""A ledger that has grown, and a worker that has run long."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import psutil
from sqlalchemy import create_engine, text

from benchmarks.arena import Arena, create_tables
from benchmarks.drain import Drain
from benchmarks.fleet import Fleet
from benchmarks.harness import Row, Scale, compare, limit, paired
from benchmarks.programs import ours, tally
from benchmarks.sends import SLICE, rate_of

HISTORY = """
INSERT INTO understudy_jobs (id, queue, actor, state, priority, run_at, created_at, started_at, finished_at,
    worker_id, attempt, fence, max_attempts, progress)
SELECT 'past-' || n, 'q' || 1 + n % 5, 'noop', 'completed', 3, at, at, at, at, 'gone', 1, 1, 4, 100
FROM generate_series(1, :rows) n, LATERAL (SELECT now() - n % 36000 * interval '1 second' AS at) moment"""

COUNTS = """
INSERT INTO understudy_counts (tenant, queue, state, n)
SELECT tenant, queue, state, count(*) FROM understudy_jobs GROUP BY tenant, queue, state"""

WARM_UP = 0.3
SAMPLE_SECONDS = 0.2
FLAT_KB = 10.0


def history(arena: Arena, scale: Scale) -> Iterator[Row]:
    """A ledger with a million finished rows beside an empty one."""
    empty, grown = arena.new_database(), arena.new_database()
    for url in (empty, grown):
        create_tables(url)
    engine = create_engine(grown)
    with engine.begin() as connection:
        connection.execute(text(HISTORY), {"rows": scale.history})
        connection.execute(text(COUNTS))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE understudy_jobs"))
    engine.dispose()
    peer = "an empty ledger"
    drains = {url: Drain(url, arena.redis().url) for url in (grown, empty)}

    def drained(url: str) -> Callable[[], float]:
        return lambda: drains[url].run(scale.jobs)

    pairs = paired(scale.rounds, drained(grown), drained(empty))
    yield compare(f"growth: drain, {scale.history:,} finished rows", "jobs/s", pairs, peer, at_least=0.9)
    for name, act, times in (
        ("send()", lambda _: ours.noop.send(1), SLICE),
        ("counts", lambda _: ours.jobs.stats(), 3),
        ("health", lambda _: ours.jobs.health(), 3),
    ):

        def rate(url: str, act: Callable[[int], object] = act, times: int = times) -> Callable[[], float]:
            measure = rate_of(act, times)

            def within() -> float:
                with drains[url].app.app_context():
                    return measure()

            return within

        pairs = paired(scale.rounds, rate(grown), rate(empty), warm_up=True)
        yield compare(f"growth: {name}, {scale.history:,} finished rows", "per s", pairs, peer, at_least=0.9)


def memory(arena: Arena, scale: Scale) -> Iterator[Row]:
    """How the memory of a worker process grows over 100,000 jobs."""
    url = arena.new_database()
    create_tables(url)
    drain = Drain(url, arena.redis().url)
    drain.fill(scale.lifetime)
    with drain.fleet() as workers:
        members = _job_processes(workers)
        workers.release()
        samples: list[tuple[float, float]] = []
        while (ran := tally.read(workers.folder)[0]) < scale.lifetime:
            samples.append((ran / 1000, sum(process.memory_info().rss for process in members) / len(members) / 1024))
            time.sleep(SAMPLE_SECONDS)
    late = [(x, y) for x, y in samples if x * 1000 > scale.lifetime * WARM_UP]
    slope = statistics.linear_regression(*zip(*late, strict=True)).slope
    note = f"{late[-1][1] / 1024:.0f} MB at the end"
    yield limit("memory of a worker process", "kB/1000", slope, at_most=FLAT_KB, note=note)


def _job_processes(workers: Fleet) -> list[psutil.Process]:
    ready = {int(path.stem) for path in workers.folder.glob("*.ready")}
    return [process for process in workers.members() if process.pid in ready]
