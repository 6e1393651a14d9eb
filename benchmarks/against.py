"""Ours beside other job queues, each with as many processes and threads."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import redis

from benchmarks.arena import PYTHON, ROOT, Arena, create_tables
from benchmarks.drain import Drain
from benchmarks.fleet import PROCESSES, THREADS, Fleet
from benchmarks.harness import Benchmark, Row, Scale, Skipped, compare, paired
from benchmarks.programs import ours
from benchmarks.sends import rate_of, sender

DATABASE = "peer"
PREPARE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Peer:
    """Another job queue.

    Attributes:
        name: For people.
        module: Its module in `benchmarks.peers`.
        package: What has to be installed: the extra `bench`.
        share: Its jobs for each of ours, so that a round of a slow one ends as soon.
        at_least: How many times as fast we promise to be.
    """

    name: str
    module: str
    package: str
    share: float
    at_least: float | None = None


DRAINED = (
    Peer("celery, threads", "celery_jobs", "celery", 0.25, 5),
    Peer("pgqueuer", "pgqueuer_jobs", "pgqueuer", 1.0, 1.5),
    Peer("procrastinate", "procrastinate_jobs", "procrastinate", 0.05, 20),
    Peer("huey, threads", "huey_jobs", "huey", 0.75),
    Peer("rq, simple", "rq_jobs", "rq", 0.08),
)


def drains() -> dict[str, Benchmark]:
    """Return a drain against each peer, by name."""
    return {f"drain-{peer.package}": _drain_beside(peer) for peer in DRAINED}


def _drain_beside(peer: Peer) -> Benchmark:
    def measure(arena: Arena, scale: Scale) -> Iterator[Row]:
        environ = _environ(arena, peer)
        url = arena.new_database()
        create_tables(url)
        drain = Drain(url, arena.redis().url)
        jobs = max(100, int(scale.jobs * peer.share))
        pairs = paired(scale.rounds, lambda: drain.run(scale.jobs), lambda: _drain(arena, peer, environ, jobs))
        yield compare(f"drain: beside {peer.package}", "jobs/s", pairs, peer.name, at_least=peer.at_least)

    return measure


def send_beside_celery(arena: Arena, scale: Scale) -> Iterator[Row]:
    """Our send() with a row and a commit against Celery's delay(), which writes no row."""
    peer = DRAINED[0]
    environ = _environ(arena, peer)
    with sender(arena, arena.new_database()):
        pairs = paired(
            scale.rounds,
            rate_of(ours.noop.send, scale.sends),
            lambda: float(json.loads(_run(peer, environ, "rate", scale.sends))),
        )
    yield compare("send() with a row of its own, beside celery", "per s", pairs, "celery's delay()", at_least=1)


def _environ(arena: Arena, peer: Peer) -> dict[str, str]:
    if importlib.util.find_spec(peer.package) is None:
        raise Skipped(f"{peer.package} is not installed; the extra `bench` has it")
    return {
        "BENCH_REDIS": arena.redis("peer").url,
        "BENCH_POSTGRES": arena.postgres.url_for(DATABASE, scheme="postgresql"),
        "BENCH_THREADS": str(THREADS),
    }


def _drain(arena: Arena, peer: Peer, environ: dict[str, str], jobs: int) -> float:
    with redis.Redis.from_url(environ["BENCH_REDIS"]) as client:
        client.flushall()
    with arena.session() as session:
        _new_database(session)
    _run(peer, environ, "prepare")
    _run(peer, environ, "fill", jobs)
    command = [PYTHON, "-m", "benchmarks.peers", peer.module, "work-in", str(PROCESSES)]
    with Fleet(command, environ, processes=PROCESSES) as workers:
        workers.release()
        first, last = workers.wait_for_jobs(jobs)
    return (jobs - 1) / (last - first)


def _new_database(session: psycopg.Connection) -> None:
    session.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")  # type: ignore[arg-type]
    session.execute(f"CREATE DATABASE {DATABASE}")  # type: ignore[arg-type]


def _run(peer: Peer, environ: dict[str, str], *words: object) -> str:
    done = subprocess.run(
        [PYTHON, "-m", "benchmarks.peers", peer.module, *map(str, words)],
        env={**os.environ, **environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PREPARE_SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"{peer.name} {words[0]}: {done.stderr[-2000:]}")
    return done.stdout
