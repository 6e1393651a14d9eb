"""Idle workers: how soon they start a job, and what they use while there is none."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

import redis

from benchmarks import fleet
from benchmarks.arena import Arena, create_tables
from benchmarks.fleet import Fleet
from benchmarks.harness import Row, Scale, compare, limit, percentile
from benchmarks.programs import ours, raw
from benchmarks.sends import sender

SETTLE_SECONDS = 4.0
PAUSE_SECONDS = (0.4, 0.9)
PROCESSES, QUEUES = fleet.PROCESSES, len(ours.QUEUES)
CLAIMS = ("UPDATE understudy_jobs", "WITH due AS (SELECT id AS due_id FROM understudy_jobs\n    WHERE queue")


def latency(arena: Arena, scale: Scale) -> Iterator[Row]:
    """From the call of `send()` to the first line of the actor, the workers having been idle for half a second."""
    database, redis_url, raw_url = arena.new_database(), arena.redis().url, arena.redis("raw").url
    with (
        sender(arena, database),
        fleet.ours(database, redis_url, gate=False) as our_workers,
        fleet.raw(raw_url, gate=False) as raw_workers,
    ):
        parties = [(ours.mark.send, our_workers), (raw.mark.send, raw_workers)]
        for send, workers in parties:
            send(0)
            workers.wait_for_stamp(0)
        time.sleep(SETTLE_SECONDS)
        own, theirs = [], []
        for slot in range(1, scale.probes + 1):
            own.append(_probe(ours.mark.send, our_workers, slot))
            theirs.append(_probe(raw.mark.send, raw_workers, slot))
    for share, at_most in ((0.5, 3), (0.95, 10), (0.99, 25)):
        row = limit(f"idle latency p{share * 100:.0f}", "ms", percentile(own, share), at_most=at_most)
        row.peer, row.peer_value = "dramatiq", percentile(theirs, share)
        row.ratio = row.ours / row.peer_value
        yield row
    p95 = [(1 / percentile(own, 0.95), 1 / percentile(theirs, 0.95))]
    yield compare("idle latency p95, beside stock", "1/ms", p95, "dramatiq", at_least=20)


def _probe(send: Callable[[int], object], workers: Fleet, slot: int) -> float:
    """Return the ms from a send to its start."""
    time.sleep(random.uniform(*PAUSE_SECONDS))
    sent = time.time()
    send(slot)
    return (workers.wait_for_stamp(slot) - sent) * 1000


def idle_cost(arena: Arena, scale: Scale) -> Iterator[Row]:
    """Two processes with six queues and nothing to do."""
    database = arena.new_database()
    create_tables(database)
    cpu, commands = [], []
    statements: list[str] = []
    with (
        fleet.ours(database, arena.redis().url, gate=False, BENCH_QUEUES="6") as our_workers,
        fleet.raw(arena.redis("raw").url, gate=False, BENCH_QUEUES="6") as raw_workers,
    ):
        time.sleep(SETTLE_SECONDS * 2)
        parties = [(our_workers, "ours"), (raw_workers, "raw")]
        with arena.setting("log_statement", "all"):
            time.sleep(0.5)
            before = [(workers.cpu_seconds(), _commands(arena, whose)) for workers, whose in parties]
            seen = len(arena.postgres.log())
            begun = time.monotonic()
            time.sleep(scale.idle_seconds)
            seconds = time.monotonic() - begun
            statements = arena.postgres.log()[seen:].splitlines()
            for (workers, whose), (used, asked) in zip(parties, before, strict=True):
                cpu.append((workers.cpu_seconds() - used) / seconds * 100)
                commands.append((_commands(arena, whose) - asked) / seconds)
    row = limit("idle: CPU", "%", cpu[0], at_most=0.5, note="of one core; 2 processes, 6 queues")
    row.peer, row.peer_value, row.ratio = "dramatiq", cpu[1], cpu[0] / cpu[1]
    yield row
    row = limit("idle: Redis commands", "per s", commands[0], at_most=commands[1])
    row.peer, row.peer_value, row.ratio = "dramatiq", commands[1], commands[0] / commands[1]
    yield row
    looks = sum("LOG:" in text and "understudy_jobs" in text and "queue =" in text for text in statements)
    every = sum("LOG:" in text and ("statement:" in text or "execute" in text) for text in statements)
    looks = max(looks, _looks(statements))
    yield limit(
        "idle: database looks",
        "per 5 s",
        looks / (PROCESSES * QUEUES) / seconds * 5,
        at_most=1,
        note=f"per queue and process; {every / seconds:.1f} statements per s in all",
    )


def _looks(statements: list[str]) -> int:
    """Count the claims in ledger order in PostgreSQL's log."""
    return sum("WHERE queue = " in text and "j.queue" not in text for text in statements)


def _commands(arena: Arena, whose: str) -> int:
    with redis.Redis.from_url(arena.redis(whose).url) as client:
        return int(client.info("stats")["total_commands_processed"])
