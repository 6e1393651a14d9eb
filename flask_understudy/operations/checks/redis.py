"""Redis, or Valkey: whether it answers, and whether it would throw away what it is given (R09, C18)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ...config.redacted import redacted
from ...state import State
from .database import skew
from .finding import ERROR, NOTE, OK, WARNING, Finding

TIMEOUT_SECONDS = 1.0
SLOW_MS = 50
NEARLY_FULL = 0.9
MIB = 1024 * 1024


def _client(state: State) -> redis.Redis:
    return redis.Redis.from_url(
        state.config.transport,
        socket_connect_timeout=TIMEOUT_SECONDS,
        socket_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        protocol=2,
        driver_info=None,
    )


def _info(state: State, section: str) -> dict[str, Any]:
    with closing(_client(state)) as client:
        found: dict[str, Any] = client.info(section)
        return found


def reachable(state: State) -> Iterator[Finding]:
    """Look whether it answers, how fast, and what it is."""
    if state.transport.name != "redis":
        yield Finding(NOTE, f"not used: {'SQS' if state.transport.name == 'sqs' else 'the database'} carries")
        return
    where = redacted(state.config.transport)
    try:
        with closing(_client(state)) as client:
            client.ping()
            began = time.monotonic()
            client.ping()
            ms = (time.monotonic() - began) * 1000
            server: dict[str, Any] = client.info("server")
    except (redis.RedisError, OSError) as problem:
        remedy = "Is it running, and is REDIS_URL right? Does a firewall stand between? Meanwhile the ledger carries."
        yield Finding(ERROR, f"{where} does not answer: {problem or type(problem).__name__}", remedy)
        return
    kind = "Valkey" if "valkey_version" in server else "Redis"
    found = f"{kind} {server.get('valkey_version') or server.get('redis_version')} answers PING in {ms:.1f} ms"
    if ms > SLOW_MS:
        yield Finding(
            WARNING, found, "Put it nearer to the application, or find what keeps it busy: redis-cli slowlog get"
        )
    else:
        yield Finding(OK, found)


def eviction(state: State) -> Iterator[Finding]:
    """Refuse a policy under which it deletes keys when it is full."""
    policy = _info_of_ours(state, "memory").get("maxmemory_policy")
    if policy is None:
        return
    if policy == "noeviction":
        yield Finding(OK, "maxmemory-policy is noeviction")
        return
    remedy = (
        "Run: redis-cli CONFIG SET maxmemory-policy noeviction, and write `maxmemory-policy noeviction` into its "
        "redis.conf. If a cache needs eviction, give it a Redis of its own."
    )
    found = f"maxmemory-policy is {policy}: when memory is short, Redis deletes keys, announced jobs among them"
    yield Finding(ERROR, found, remedy)


def memory(state: State) -> Iterator[Finding]:
    """Look how full it is."""
    info = _info_of_ours(state, "memory")
    if not info:
        return
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if not most:
        yield Finding(OK, f"{used / MIB:.1f} MiB used, without a limit")
        return
    found = f"{used / MIB:.1f} of {most / MIB:.1f} MiB used"
    if used >= NEARLY_FULL * most:
        remedy = "Raise maxmemory, or find who else fills it: redis-cli --bigkeys. Our keys are understudy:* alone."
        yield Finding(WARNING, found, remedy)
    else:
        yield Finding(OK, found)


def persistence(state: State) -> Iterator[Finding]:
    """Look whether it keeps anything over a restart; it does not have to."""
    info = _info_of_ours(state, "persistence")
    if not info:
        return
    if info.get("aof_enabled"):
        yield Finding(OK, "it keeps an append-only file")
        return
    try:
        with closing(_client(state)) as client:
            saves = client.config_get("save").get("save", "")
    except redis.RedisError:  # managed servers do not tell
        saves = "unknown"
    if saves:
        yield Finding(
            OK, "it writes snapshots" if saves != "unknown" else "it does not say whether it writes snapshots"
        )
    else:
        yield Finding(NOTE, "it keeps nothing over a restart; no job is lost by that, as the ledger has them all")


def clock(state: State) -> Iterator[Finding]:
    """Compare its clock with this host's."""
    if state.transport.name != "redis":
        return
    with closing(_client(state)) as client:
        before = time.time()
        seconds, microseconds = client.time()
        ours = (before + time.time()) / 2
    yield skew("Redis", int(seconds) + int(microseconds) / 1e6 - ours)


def _info_of_ours(state: State, section: str) -> dict[str, Any]:
    return _info(state, section) if state.transport.name == "redis" else {}
