"""Writing tallies, and folding them into counts and rates (see `ledger.tally`).

A tally is folded by whoever deletes it, in the same transaction, so two clocks at once fold each of them once.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection

from .database import Database
from .job import TERMINAL
from .statements import moment_at, run

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
KEEP_RATES_MS = 30 * DAY_MS
#: For how long the minutes of an hour are told apart.
KEEP_MINUTES_MS = 2 * DAY_MS

NOW = "SELECT <ms:moment> FROM (SELECT <now> AS moment) AS clock"

INSERT = """
INSERT INTO understudy_tallies (at, tenant, queue, actor, outcome, n, busy_ms, waited_ms)
SELECT <now>, r.tenant, r.queue, r.actor, r.outcome, r.n, r.busy_ms, r.waited_ms
FROM <rows:tenant text, queue text, actor text, outcome text, n integer, busy_ms bigint, waited_ms bigint>"""

TAKE = """
DELETE FROM understudy_tallies WHERE id IN (SELECT id FROM understudy_tallies ORDER BY id LIMIT :n <skip locked>)
RETURNING <ms:at>, tenant, queue, actor, outcome, n, busy_ms, waited_ms"""

COUNT = """
INSERT INTO understudy_counts (tenant, queue, state, n)
SELECT r.tenant, r.queue, r.state, r.n FROM <rows:tenant text, queue text, state text, n bigint> WHERE true
ON CONFLICT (tenant, queue, state) DO UPDATE SET n = understudy_counts.n + excluded.n"""

RATE = """
INSERT INTO understudy_rates (minute, queue, actor, outcome, n, busy_ms, waited_ms)
SELECT <after epoch:r.minute>, r.queue, r.actor, r.outcome, r.n, r.busy_ms, r.waited_ms
FROM <rows:minute bigint, queue text, actor text, outcome text, n bigint, busy_ms bigint, waited_ms bigint> WHERE true
ON CONFLICT (minute, queue, actor, outcome) DO UPDATE SET n = understudy_rates.n + excluded.n,
    busy_ms = understudy_rates.busy_ms + excluded.busy_ms,
    waited_ms = understudy_rates.waited_ms + excluded.waited_ms"""

#: The row of the year 1970 is the sum of all minutes ever, and stays.
PRUNE = "DELETE FROM understudy_rates WHERE minute > <after epoch:0> AND minute < <after::age_ms>"

#: The row of an hour stands at its beginning.
TAKE_MINUTES = """
DELETE FROM understudy_rates
WHERE minute >= <time::since> AND minute < <time::before> AND <ms:minute> % 3600000 <> 0
RETURNING <ms:minute>, queue, actor, outcome, n, busy_ms, waited_ms"""

FORGET_COUNTS = "DELETE FROM understudy_counts"

RECOUNT = """
INSERT INTO understudy_counts (tenant, queue, state, n)
SELECT tenant, queue, state, count(*) FROM understudy_jobs
    WHERE state IN ('completed', 'failed', 'cancelled') GROUP BY tenant, queue, state"""


class Tallies:
    """What one transaction ends, summed up; written at its end in one INSERT."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str, str, str], list[int]] = {}

    def add(
        self, tenant: str, queue: str, actor: str, outcome: str, busy_ms: int | None, waited_ms: int | None
    ) -> None:
        """Note the end of one attempt, or of a job that never ran; clocks that were set back give no negative times."""
        key = (tenant, queue, actor, outcome)
        sums = self._sums.get(key)
        if sums is None:
            sums = self._sums[key] = [0, 0, 0]
        sums[0] += 1
        if busy_ms is not None and busy_ms > 0:
            sums[1] += busy_ms
        if waited_ms is not None and waited_ms > 0:
            sums[2] += waited_ms

    def take_back(self, tenant: str, queue: str, state: str) -> None:
        """Note that a job is no longer in a terminal state: it was reopened or deleted."""
        self._sums.setdefault((tenant, queue, "", state), [0, 0, 0])[0] -= 1

    def write(self, connection: Connection) -> None:
        """Insert what was noted."""
        if not self._sums:
            return
        names = ("tenant", "queue", "actor", "outcome", "n", "busy_ms", "waited_ms")
        rows = [dict(zip(names, (*key, *sums), strict=True)) for key, sums in self._sums.items()]
        self._sums = {}
        run(connection, INSERT, rows=json.dumps(rows))


def fold(connection: Connection, n: int = 1000) -> int:
    """Fold up to `n` tallies, the oldest first, into counts and rates; return how many.

    Args:
        connection: In a transaction.
        n: At the most so many.
    """
    taken = list(run(connection, TAKE, n=n))
    counts: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0])
    rates: dict[tuple[int, str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for at, tenant, queue, actor, outcome, n_of, busy, waited in taken:
        if outcome in TERMINAL:
            counts[tenant, queue, outcome][0] += n_of
        if n_of > 0:
            for minute in (0, at - at % MINUTE_MS):
                sums = rates[minute, queue, actor, outcome]
                sums[0] += n_of
                sums[1] += busy
                sums[2] += waited
    _upsert(connection, COUNT, ("tenant", "queue", "state", "n"), counts)
    _upsert(connection, RATE, ("minute", "queue", "actor", "outcome", "n", "busy_ms", "waited_ms"), rates)
    return len(taken)


def _upsert(connection: Connection, statement: str, names: Iterable[str], sums: dict[Any, list[int]]) -> None:
    """Add sums to rows: always in the same order, so that two who do it at once never wait for each other in turn."""
    rows = [dict(zip(names, (*key, *sums[key]), strict=True)) for key in sorted(sums) if any(sums[key])]
    if rows:
        run(connection, statement, rows=json.dumps(rows))


def prune_rates(connection: Connection) -> None:
    """Delete the minutes that are older than 30 days; their sum stays."""
    run(connection, PRUNE, age_ms=-KEEP_RATES_MS)


def gather_minutes(connection: Connection) -> int:
    """Sum up the minutes that ended more than two days ago by the hour; return how many rows were gathered.

    A week of a busy application is read in a third of the time then. Minutes that no clock gathered within a day stay
    as they are.
    """
    before = int(run(connection, NOW).scalar_one()) - KEEP_MINUTES_MS
    before -= before % HOUR_MS
    taken = list(run(connection, TAKE_MINUTES, since=moment_at(before - DAY_MS), before=moment_at(before)))
    hours: dict[tuple[int, str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for minute, queue, actor, outcome, *numbers in taken:
        sums = hours[minute - minute % HOUR_MS, queue, actor, outcome]
        sums[:] = [known + more for known, more in zip(sums, numbers, strict=True)]
    _upsert(connection, RATE, ("minute", "queue", "actor", "outcome", "n", "busy_ms", "waited_ms"), hours)
    return len(taken)


def recount(database: Database) -> None:
    """Count all jobs anew, after somebody wrote to their table by hand: slow, and exact while jobs end beside it.

    Raises:
        sqlalchemy.exc.OperationalError: A clock folded tallies at the same moment; nothing was changed.
    """
    with database.own_engine.connect() as connection:
        if not database.is_sqlite:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            run(connection, FORGET_COUNTS)
            while fold(connection):
                pass
            run(connection, FORGET_COUNTS)
            run(connection, RECOUNT)
