"""How fast workers empty a backlog: from the first finish to the last one, boot excluded."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import redis
from sqlalchemy import Engine, create_engine, text

from benchmarks import fleet
from benchmarks.arena import PYTHON, Arena, create_tables
from benchmarks.fleet import Fleet
from benchmarks.harness import Row, Scale, compare, paired
from benchmarks.programs import ours as program
from benchmarks.programs import raw as raw_program

QUEUE = "q0"
BATCH = 500
UNFINISHED = """
SELECT EXISTS (SELECT 1 FROM understudy_jobs WHERE state = 'active')
    OR EXISTS (SELECT 1 FROM understudy_jobs WHERE state = 'waiting')"""


class Drain:
    """Our workers on a database, drained again and again.

    Args:
        database: SQLAlchemy URL; the tables exist.
        transport: `database` or a Redis URL.
        embedded: One process with its default number of threads instead of `dramatiq` with 2 × 8.
        actor: What is sent.
        environ: More of the workers' environment.
    """

    def __init__(
        self, database: str, transport: str, *, embedded: bool = False, actor: str = "noop", **environ: str
    ) -> None:
        """Prepare the sender's side."""
        self.actor = program.jobs.broker.get_actor(actor)
        self.database, self.transport = database, transport
        self.embedded, self.environ = embedded, environ
        self.app = program.create_app(database, UNDERSTUDY_TRANSPORT=transport)
        self.cpu: list[float] = []

    @property
    def engine(self) -> Engine:
        """An engine on the ledger."""
        return create_engine(self.database)

    def message(self, number: int) -> Any:
        """Return the job of a number."""
        return self.actor.message(number)

    def fill(self, jobs: int) -> None:
        """Empty the queue and put so many jobs into it."""
        with self.engine.begin() as connection:
            connection.execute(text("DELETE FROM understudy_jobs WHERE state <> 'completed' OR queue = 'q0'"))
        with self.app.app_context():
            for start in range(0, jobs, BATCH):
                numbers = range(start, min(jobs, start + BATCH))
                program.jobs.send_many([self.message(number) for number in numbers])
        if self.engine.dialect.name == "postgresql":
            with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM ANALYZE understudy_jobs"))

    def fleet(self) -> Fleet:
        """The workers."""
        if not self.embedded:
            return fleet.ours(self.database, self.transport, **self.environ)
        environ = {
            "BENCH_DATABASE": self.database,
            "UNDERSTUDY_TRANSPORT": self.transport,
            "UNDERSTUDY_WORKER": "in-process",
            **self.environ,
        }
        return Fleet([PYTHON, "-m", "benchmarks.programs.embedded"], environ, processes=1)

    def run(self, jobs: int) -> float:
        """Drain so many jobs; return jobs/s until the last finish was committed."""
        self.fill(jobs)
        with self.fleet() as workers:
            workers.release()
            first, last = workers.wait_for_jobs(jobs)
            self.wait_for_ledger(workers)
            self.cpu.append(workers.used() / jobs * 1e6)
            last = max(last, self.last_finish())
        return (jobs - 1) / (last - first)

    def wait_for_ledger(self, workers: Fleet) -> None:
        """Wait until nothing waits or runs any more."""
        query = text(UNFINISHED)
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            workers.wait_until(lambda: not connection.execute(query).scalar(), "end in the ledger", 30.0)

    def last_finish(self) -> float:
        """Return when the ledger recorded the last finish, in s since 1970."""
        postgres = self.engine.dialect.name == "postgresql"
        seconds = "extract(epoch FROM {})" if postgres else "(julianday({}) - 2440587.5) * 86400"
        query = f"SELECT {seconds.format('max(finished_at)')} FROM understudy_jobs WHERE queue = :queue"
        with self.engine.connect() as connection:
            return float(connection.execute(text(query), {"queue": QUEUE}).scalar_one())


class RawDrain:
    """Dramatiq's own workers on Redis."""

    def __init__(self, arena: Arena) -> None:
        """Prepare the sender's side."""
        self.arena = arena
        self.url = arena.redis("raw").url
        self.cpu: list[float] = []

    def run(self, jobs: int) -> float:
        """Drain so many jobs; return jobs/s."""
        self.arena.wipe("raw")
        fill_raw(self.url, jobs)
        with fleet.raw(self.url) as workers:
            workers.release()
            first, last = workers.wait_for_jobs(jobs)
            self.cpu.append(workers.used() / jobs * 1e6)
        return (jobs - 1) / (last - first)


def fill_raw(url: str, jobs: int) -> None:
    """Put jobs into Dramatiq's queue as its broker does, only in one pipeline."""
    with redis.Redis.from_url(url) as client, client.pipeline(transaction=False) as pipeline:
        for number in range(jobs):
            message = raw_program.noop.message(number)
            id = f"{number:08}-redis-message-id"
            message = message.copy(options={"redis_message_id": id})
            pipeline.hset(f"dramatiq:{QUEUE}.msgs", id, message.encode())
            pipeline.rpush(f"dramatiq:{QUEUE}", id)
            if number % BATCH == 0:
                pipeline.execute()
        pipeline.execute()


@contextmanager
def postgres_ledger(arena: Arena, transport: str) -> Iterator[Drain]:
    """A new ledger on PostgreSQL."""
    url = arena.new_database()
    create_tables(url)
    yield Drain(url, transport)


def against_raw(name: str, drain: Drain, arena: Arena, scale: Scale, at_least: float | None) -> Row:
    """Drain ours and Dramatiq's own in turns."""
    peer = RawDrain(arena)
    pairs = paired(scale.rounds, lambda: drain.run(scale.jobs), lambda: peer.run(scale.jobs))
    note = f"CPU {statistics.median(drain.cpu):.0f} against {statistics.median(peer.cpu):.0f} µs a job"
    return compare(name, "jobs/s", pairs, "dramatiq on Redis", at_least=at_least, note=note)


def drain_redis(arena: Arena, scale: Scale) -> Iterator[Row]:
    """PostgreSQL and Redis."""
    with postgres_ledger(arena, arena.redis().url) as drain:
        yield against_raw("drain: PostgreSQL + Redis", drain, arena, scale, 2.0)


def drain_database(arena: Arena, scale: Scale) -> Iterator[Row]:
    """PostgreSQL alone."""
    with postgres_ledger(arena, "database") as drain:
        yield against_raw("drain: PostgreSQL alone", drain, arena, scale, 2.0)


def drain_keyed(arena: Arena, scale: Scale) -> Iterator[Row]:
    """PostgreSQL and Redis, every job with one of eight keys of which sixteen run at a time; beside jobs without."""
    free, keyed = arena.new_database(), arena.new_database()
    for url in (free, keyed):
        create_tables(url)
    plain = Drain(free, arena.redis().url)
    limited = Drain(keyed, arena.redis("keyed").url, actor="keyed")
    jobs = scale.jobs // 4
    pairs = paired(scale.rounds, lambda: limited.run(jobs), lambda: plain.run(jobs))
    note = f"CPU {statistics.median(limited.cpu):.0f} against {statistics.median(plain.cpu):.0f} µs a job"
    yield compare("drain: limited by key", "jobs/s", pairs, "ours, without keys", note=note)


def drain_slow_commits(arena: Arena, scale: Scale) -> Iterator[Row]:
    """Commits that take 2 to 3 ms, as on a disk behind a network."""
    with (
        postgres_ledger(arena, arena.redis().url) as drain,
        arena.setting("commit_delay", "2500"),
        arena.setting("commit_siblings", "0"),
    ):
        yield against_raw("drain: commits of 2.5 ms", drain, arena, scale, 1.0)


def drain_embedded(arena: Arena, scale: Scale) -> Iterator[Row]:
    """SQLite, the worker inside a process."""
    url = arena.new_sqlite()
    create_tables(url)
    with nullcontext(Drain(url, "database", embedded=True)) as drain:
        yield against_raw("drain: embedded on SQLite", drain, arena, scale, 2.0)
