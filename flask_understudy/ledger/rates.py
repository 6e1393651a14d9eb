"""Reading rates: what happened in the last minutes, and in all of the time that is counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .database import Database
from .statements import moment_at, run
from .tallies import MINUTE_MS, NOW

SINCE = """
SELECT minute, queue, outcome, CAST(sum(n) AS bigint), CAST(sum(busy_ms) AS bigint), CAST(sum(waited_ms) AS bigint)
FROM (SELECT <ms:minute> - <ms:minute> % :size AS minute, queue, outcome, n, busy_ms, waited_ms FROM understudy_rates
        WHERE minute >= <time::since>
    UNION ALL SELECT <ms:at> - <ms:at> % :size, queue, outcome, n, busy_ms, waited_ms FROM understudy_tallies
        WHERE n > 0 AND at >= <time::since>) AS parts
GROUP BY minute, queue, outcome"""

OF_ACTORS = """
SELECT queue, actor, outcome, CAST(sum(n) AS bigint), CAST(sum(busy_ms) AS bigint), CAST(sum(waited_ms) AS bigint)
FROM (SELECT actor, queue, outcome, n, busy_ms, waited_ms FROM understudy_rates WHERE minute >= <time::since>
    UNION ALL SELECT actor, queue, outcome, n, busy_ms, waited_ms FROM understudy_tallies
        WHERE n > 0 AND at >= <time::since>) AS parts
GROUP BY queue, actor, outcome"""

EVER = """
SELECT queue, actor, outcome, CAST(sum(n) AS bigint), CAST(sum(busy_ms) AS bigint), CAST(sum(waited_ms) AS bigint)
FROM (SELECT queue, actor, outcome, n, busy_ms, waited_ms FROM understudy_rates WHERE minute = <after epoch:0>
    UNION ALL SELECT queue, actor, outcome, n, busy_ms, waited_ms FROM understudy_tallies WHERE n > 0) AS parts
GROUP BY queue, actor, outcome ORDER BY queue, actor, outcome"""


@dataclass(frozen=True, slots=True)
class Happened:
    """How many attempts of a queue ended with an outcome in one step of time; times are sums in ms."""

    minute_ms: int
    queue: str
    outcome: str
    n: int
    busy_ms: int
    waited_ms: int


@dataclass(frozen=True, slots=True)
class OfActor:
    """How many attempts of an actor in a queue ended with an outcome in some time; times are sums in ms."""

    queue: str
    actor: str
    outcome: str
    n: int
    busy_ms: int
    waited_ms: int


@dataclass(frozen=True, slots=True)
class Window:
    """What happened in a stretch of whole steps of time and the one that runs.

    Attributes:
        since_ms: Its beginning, in ms since 1970.
        now_ms: Its end, by the database's clock.
        rows: What happened.
    """

    since_ms: int
    now_ms: int
    rows: list[Happened]

    @property
    def minutes(self) -> float:
        """How long it is, in minutes."""
        return (self.now_ms - self.since_ms) / MINUTE_MS

    def summed(self, rows: Iterable[Happened] | None = None) -> Sums:
        """Return the sums of some of its rows, or of all."""
        sums = Sums()
        for row in self.rows if rows is None else rows:
            sums.add(row)
        return sums


@dataclass(slots=True)
class Sums:
    """What happened, summed up.

    Attributes:
        completed: Attempts that completed their job.
        failed: Attempts and jobs that failed for good.
        retried: Attempts that failed and are followed by another.
        cancelled: Jobs that were cancelled.
        busy_ms: How long the completed ones ran.
        waited_ms: How long they had waited.
    """

    completed: int = 0
    failed: int = 0
    retried: int = 0
    cancelled: int = 0
    busy_ms: int = 0
    waited_ms: int = 0

    def add(self, row: Happened | OfActor) -> None:
        """Add a row."""
        setattr(self, row.outcome, getattr(self, row.outcome) + row.n)
        if row.outcome == "completed":
            self.busy_ms += row.busy_ms
            self.waited_ms += row.waited_ms

    @property
    def attempts(self) -> int:
        """Attempts that ended by themselves."""
        return self.completed + self.failed + self.retried

    @property
    def failure_rate(self) -> float | None:
        """The share of attempts that failed, or None when there were none."""
        return (self.failed + self.retried) / self.attempts if self.attempts else None

    @property
    def average_busy_ms(self) -> float | None:
        """How long a completed attempt ran, or None when there was none."""
        return self.busy_ms / self.completed if self.completed else None

    @property
    def average_waited_ms(self) -> float | None:
        """How long a completed attempt had waited, or None when there was none."""
        return self.waited_ms / self.completed if self.completed else None


def since(database: Database, steps: int, minutes: int = 1) -> Window:
    """Return what happened in the last whole `steps`, each so many `minutes` long, and in the one that runs."""
    size = minutes * MINUTE_MS
    with database.engine.connect() as connection:
        now = int(run(connection, NOW).scalar_one())
        begin = now - now % size - steps * size
        rows = [Happened(*row) for row in run(connection, SINCE, since=moment_at(begin), size=size)]
    return Window(begin, now, rows)


def of_actors(database: Database, minutes: int) -> list[OfActor]:
    """Return what each actor did in the last whole `minutes` and the minute that runs, by queue and outcome."""
    with database.engine.connect() as connection:
        now = int(run(connection, NOW).scalar_one())
        found = run(connection, OF_ACTORS, since=moment_at(now - now % MINUTE_MS - minutes * MINUTE_MS))
        return [OfActor(*row) for row in found]


def ever(database: Database) -> list[OfActor]:
    """Return what happened since counting began: sums that never fall."""
    with database.engine.connect() as connection:
        return [OfActor(*row) for row in run(connection, EVER)]
