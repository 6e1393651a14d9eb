"""A circuit breaker per receiver, kept in the database so that all workers share it (J07, T12).

A row is there while a receiver fails. `open_until` alone says what holds: empty, it is closed; in the future, it is
open and nobody sends; in the past, whoever moves it into the future is the one probe. The move is a guarded UPDATE, so
there is exactly one, and it is the probe's lease too: when its process dies, the next may try.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from sqlalchemy import Connection

from ...ledger.statements import run
from .destinations import Destination

#: Failures in a row that open it.
MOST_FAILURES = 5
FIRST_REST_MS = 10_000
LONGEST_REST_MS = 300_000
#: As long as an attempt may take, and a little.
PROBE_MS = 35_000
#: How long others wait at the most after the rest is over, so that they do not come all at once.
SPREAD_MS = 5_000

STATE = """
SELECT rest_ms, <ms:open_until>, -<ms since:open_until> FROM understudy_webhook_breakers WHERE key = :key"""

TRY = """
UPDATE understudy_webhook_breakers SET open_until = <after::probe_ms>
WHERE key = :key AND open_until <= <now> AND <ms:open_until> = :seen"""

FAIL = """
INSERT INTO understudy_webhook_breakers AS b (key, failures, since_at, rest_ms)
VALUES (:key, 1, <now>, :rest_ms)
ON CONFLICT (key) DO UPDATE SET failures = b.failures + 1,
    rest_ms = CASE WHEN :probe THEN excluded.rest_ms ELSE b.rest_ms END,
    open_until = CASE WHEN :probe OR (b.open_until IS NULL AND b.failures + 1 >= :most) THEN <after::rest_ms>
        ELSE b.open_until END
RETURNING failures, <ms since:since_at>"""

CLOSE = "DELETE FROM understudy_webhook_breakers WHERE key = :key"

FORGET = "DELETE FROM understudy_webhook_breakers WHERE since_at < <after::age_ms>"


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether an attempt may be made now.

    Attributes:
        wait_ms: ms to wait before asking again; None = it may.
        is_probe: Whether it is the one that finds out whether the receiver is back.
        has_failed: Whether the receiver's last attempt failed, so that a success has something to clear.
        rest_ms: ms for which the receiver rests if this attempt opens the breaker.
    """

    wait_ms: int | None = None
    is_probe: bool = False
    has_failed: bool = False
    rest_ms: int = FIRST_REST_MS


@dataclass(frozen=True, slots=True)
class Standing:
    """How a receiver stands after a failure.

    Attributes:
        failures: In a row.
        failing_ms: ms since the first of them.
    """

    failures: int
    failing_ms: int


def key_of(tenant: str, destination: Destination) -> str:
    """Return the key of a receiver that has no subscription: tenants do not share one."""
    return hashlib.sha256(f"{tenant}\n{destination.origin}".encode()).hexdigest()


def admit(connection: Connection, key: str) -> Admission:
    """Ask for an attempt; at most one asker of a half-open breaker is let through."""
    row = run(connection, STATE, key=key).first()
    if row is None:
        return Admission()
    rest_ms, seen, left_ms = row
    if seen is None:
        return Admission(has_failed=True)
    if left_ms > 0:
        return Admission(wait_ms=int(left_ms) + random.randint(1, SPREAD_MS))
    if run(connection, TRY, key=key, seen=seen, probe_ms=PROBE_MS).rowcount == 1:
        return Admission(is_probe=True, has_failed=True, rest_ms=min(2 * rest_ms, LONGEST_REST_MS))
    return Admission(wait_ms=SPREAD_MS + random.randint(1, SPREAD_MS))


def failed(connection: Connection, key: str, admission: Admission) -> Standing:
    """Note that an attempt failed; a probe's failure opens the breaker again, for twice as long as last time."""
    values = {"probe": admission.is_probe, "rest_ms": admission.rest_ms, "most": MOST_FAILURES}
    row = run(connection, FAIL, key=key, **values).one()
    return Standing(int(row[0]), int(row[1]))


def close(connection: Connection, key: str) -> None:
    """Forget what failed: the receiver works, or somebody says so."""
    run(connection, CLOSE, key=key)


def forget(connection: Connection, age_ms: int) -> None:
    """Delete what was never tried again."""
    run(connection, FORGET, age_ms=-age_ms)
