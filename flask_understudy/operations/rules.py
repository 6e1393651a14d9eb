"""The rules of alerts: what is wrong with the ledger and its workers now (requirements M08 to M12)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from queue import SimpleQueue

from ..ledger import rates
from ..ledger.episodes import BROKER
from ..ledger.statements import run
from ..state import State
from .thresholds import DEPTH, FAILURE_RATE, GROWING, REPEATED, STALLED, allowed

FAILURE_MINUTES = 5
LEAST_ATTEMPTS = 10
GROWING_MINUTES = 5
HOUR_MS = 3_600_000

WAITING = "SELECT queue, count(*) FROM understudy_jobs WHERE state = 'waiting' GROUP BY queue"

SILENT = """
SELECT w.id, w.hostname, <ms since:w.lease_until> + :lease_ms, count(*) FROM understudy_workers AS w
JOIN understudy_jobs AS j ON j.worker_id = w.id AND j.state = 'active'
WHERE w.lease_until < <after::late_ms> GROUP BY w.id, w.hostname, w.lease_until"""

FAILED_ALIKE = """
SELECT j.fingerprint, count(*), min(j.actor), max(j.id) FROM understudy_jobs AS j
WHERE j.state = 'failed' AND j.finished_at > <after::age_ms> AND j.fingerprint IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM understudy_failure_verdicts AS v
        WHERE v.tenant = j.tenant AND v.fingerprint = j.fingerprint AND v.verdict = 'ignored')
GROUP BY j.fingerprint HAVING count(*) >= :most"""


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that is broken; the fields are those of an `AlertEpisode`."""

    rule: str
    subject: str
    value: float
    threshold: float
    message: str


class Rules:
    """Finds out which rules are broken, and remembers how long queues were in the last minutes.

    Args:
        state: The application's side of the library.
        now: A monotonic clock in s.
    """

    def __init__(self, state: State, now: Callable[[], float] = time.monotonic) -> None:
        self.state = state
        self.now = now
        self._depths: deque[dict[str, int]] = deque(maxlen=GROWING_MINUTES + 1)
        self._sampled: float | None = None
        self._silent: SimpleQueue[tuple[str, int]] = SimpleQueue()

    def broken(self) -> list[Breach]:
        """Return what is wrong now, by what the rules allow now."""
        most, waiting = allowed(self.state), self._waiting()
        self._remember(waiting)
        return [
            *self._deep(waiting, most[DEPTH]),
            *self._failing(most[FAILURE_RATE]),
            *self._stalled(most[STALLED]),
            *self._broker(),
            *self._growing(waiting, most[GROWING]),
            *self._repeated(int(most[REPEATED])),
        ]

    def note_silent(self, worker: str, jobs: int) -> None:
        """The jobs of a worker were taken back as it had let its lease run out: it was silent for that long."""
        self._silent.put((worker, jobs))

    def _waiting(self) -> dict[str, int]:
        with self.state.database.statement() as connection:
            return {row[0]: row[1] for row in run(connection, WAITING)}

    def _remember(self, waiting: dict[str, int]) -> None:
        now = self.now()
        if self._sampled is None or now - self._sampled >= 60.0:
            self._sampled = now
            self._depths.append(waiting)

    def _deep(self, waiting: dict[str, int], most: float) -> list[Breach]:
        return [
            Breach(DEPTH, queue, n, most, f"{n} jobs wait in queue {queue}.")
            for queue, n in sorted(waiting.items())
            if n > most
        ]

    def _failing(self, most: float) -> list[Breach]:
        window = rates.since(self.state.database, FAILURE_MINUTES)
        found = []
        for queue in sorted({row.queue for row in window.rows}):
            sums = window.summed(row for row in window.rows if row.queue == queue)
            rate = sums.failure_rate
            if rate is not None and rate > most and sums.attempts >= LEAST_ATTEMPTS:
                text = (
                    f"{rate:.0%} of {sums.attempts} attempts in queue {queue} failed within {FAILURE_MINUTES} minutes."
                )
                found.append(Breach(FAILURE_RATE, queue, round(rate, 4), most, text))
        return found

    def _stalled(self, most: float) -> list[Breach]:
        lease_ms = int(self.state.config.lease_seconds * 1000)
        with self.state.database.statement() as connection:
            silent = run(connection, SILENT, lease_ms=lease_ms, late_ms=lease_ms - int(most * 1000)).all()
        found = {}
        while not self._silent.empty():
            worker, n = self._silent.get()
            lease = self.state.config.lease_seconds
            if lease < most:
                continue
            text = f"Worker {worker} was silent for {lease:.0f} s; its {n} jobs were taken back."
            found[worker] = Breach(STALLED, worker, lease, most, text)
        for worker, host, ms, n in silent:
            place = f" on {host}" if host else ""
            text = f"Worker {worker}{place} holds {n} jobs and has been silent for {ms / 1000:.0f} s."
            found[worker] = Breach(STALLED, worker, round(ms / 1000, 1), most, text)
        return list(found.values())

    def _broker(self) -> list[Breach]:
        transport = self.state.transport
        if transport.name == "database" or transport.check():
            return []
        return [Breach(BROKER, "", 1, 0, f"The broker ({transport.name}) cannot be reached; the ledger goes on.")]

    def _growing(self, waiting: dict[str, int], least: float) -> list[Breach]:
        if len(self._depths) <= GROWING_MINUTES:
            return []
        found = []
        for queue, n in sorted(waiting.items()):
            depths = [sample.get(queue, 0) for sample in self._depths]
            if n > least and all(before < after for before, after in pairwise(depths)):
                text = (
                    f"Queue {queue} grew in each of the last {GROWING_MINUTES} minutes, from {depths[0]} to {n} jobs."
                )
                found.append(Breach(GROWING, queue, n, least, text))
        return found

    def _repeated(self, most: int) -> list[Breach]:
        with self.state.database.statement() as connection:
            alike = run(connection, FAILED_ALIKE, age_ms=-HOUR_MS, most=most + 1).all()
        return [
            Breach(
                REPEATED,
                fingerprint,
                n,
                most,
                f"{n} jobs of {actor} failed alike within an hour, such as {id}.",
            )
            for fingerprint, n, actor, id in sorted(alike)
        ]
