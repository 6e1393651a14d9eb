"""The invariants of docs/guarantees.md that the ledger's own tables can answer for, each as a question.

A row of an answer is a violation. The questions are statements of the ledger; see `ledger.statements`.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Invariant:
    """One question.

    Attributes:
        id: The invariant's name in the guarantees.
        query: Returns a row for each violation; `:late_ms` is how long a dead worker's jobs may stay with it.
        broken: The violation in words; `{0}` and so on are the row's columns.
    """

    id: str
    query: str
    broken: str


INVARIANTS = (
    Invariant(
        "I1",
        "SELECT id, state FROM understudy_jobs WHERE state NOT IN "
        "('delayed', 'waiting', 'active', 'completed', 'failed', 'cancelled')",
        "job {0} is {1!r}, which is no state",
    ),
    Invariant(
        "I1",
        "SELECT id FROM understudy_jobs WHERE state = 'active' AND worker_id IS NULL",
        "job {0} is active and nobody holds it",
    ),
    Invariant(
        "I1",
        """
SELECT j.id, j.worker_id FROM understudy_jobs AS j LEFT JOIN understudy_workers AS w ON w.id = j.worker_id
CROSS JOIN (SELECT <now> AS at) AS clock
WHERE j.state = 'active' AND (w.id IS NULL OR <ms:w.lease_until> < <ms:clock.at> - :late_ms)
    AND <ms:j.started_at> < <ms:clock.at> - :late_ms
    AND EXISTS (SELECT 1 FROM understudy_leases AS l WHERE l.name = 'clock' AND l.until > <now>)""",
        "job {0} is held by {1}, which is dead, and no clock took it back",
    ),
    Invariant(
        "I2",
        "SELECT id, attempt, max_attempts FROM understudy_jobs WHERE attempt > max_attempts",
        "job {0} is at attempt {1} of {2}",
    ),
    Invariant(
        "I2",
        """
SELECT j.id, j.fence, j.attempt, count(a.fence) FROM understudy_jobs AS j
LEFT JOIN understudy_attempts AS a ON a.job_id = j.id AND a.outcome IN ('handed_back', 'suspended')
WHERE j.fence > 0 GROUP BY j.id, j.fence, j.attempt HAVING j.fence <> j.attempt + count(a.fence)""",
        "job {0} was claimed {1} times, which are not {2} attempts and {3} hand-backs and suspensions",
    ),
    Invariant(
        "I2",
        """
SELECT j.id, j.fence, max(a.fence) FROM understudy_jobs AS j JOIN understudy_attempts AS a ON a.job_id = j.id
GROUP BY j.id, j.fence HAVING max(a.fence) > j.fence""",
        "job {0} was claimed {1} times, and its attempts know of claim {2}",
    ),
    Invariant(
        "I3",
        "SELECT id, state FROM understudy_jobs "
        "WHERE state IN ('completed', 'failed', 'cancelled') AND finished_at IS NULL",
        "job {0} is {1} and has no end",
    ),
    Invariant(
        "I3",
        "SELECT id, state FROM understudy_jobs "
        "WHERE state IN ('delayed', 'waiting', 'active') AND finished_at IS NOT NULL",
        "job {0} is {1} and has ended",
    ),
    Invariant(
        "I4",
        """
SELECT id, state FROM understudy_jobs AS j WHERE state IN ('active', 'completed', 'failed')
    AND EXISTS (SELECT 1 FROM understudy_job_events AS c WHERE c.job_id = j.id AND c.kind = 'cancelled'
        AND NOT EXISTS (SELECT 1 FROM understudy_job_events AS r
            WHERE r.job_id = j.id AND r.kind = 'retried' AND r.id > c.id))""",
        "job {0} is {1} though it was cancelled and not retried since",
    ),
    Invariant(
        "I4",
        "SELECT id FROM understudy_jobs WHERE state = 'cancelled' AND started_at > finished_at",
        "job {0} was claimed after it was cancelled",
    ),
    Invariant(
        "I5",
        """
SELECT j.id, j.state, a.outcome FROM understudy_jobs AS j
JOIN understudy_attempts AS a ON a.job_id = j.id AND a.fence = j.fence
WHERE j.state IN ('active', 'completed')
    OR (a.outcome = 'cancelled' AND j.state NOT IN ('cancelled', 'waiting')
        AND NOT EXISTS (SELECT 1 FROM understudy_job_events AS r WHERE r.job_id = j.id AND r.kind = 'retried'))""",
        "job {0} is {1}, and its latest attempt was {2}",
    ),
    Invariant(
        "I10",
        """
SELECT q.name, q.concurrency, count(*) FROM understudy_queues AS q
JOIN understudy_jobs AS j ON j.queue = q.name AND j.state = 'active'
JOIN understudy_workers AS w ON w.id = j.worker_id AND w.lease_until > <now>
WHERE q.concurrency IS NOT NULL GROUP BY q.name, q.concurrency HAVING count(*) > q.concurrency""",
        "queue {0} may run {1} jobs at a time and runs {2}",
    ),
    Invariant(
        "I10",
        "SELECT id, fence, attempt FROM understudy_jobs WHERE state = 'active' AND (fence < 1 OR attempt < 1)",
        "job {0} is active with fence {1} and attempt {2}, which no claim makes",
    ),
)
