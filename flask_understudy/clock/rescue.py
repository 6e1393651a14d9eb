"""Taking back the jobs of workers that died (T7)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from .. import signals
from ..errors import TransportError
from ..ledger import transitions
from ..ledger.statements import run
from ..ledger.transitions import Due
from ..operations.workers import BURY
from ..signals import JobNotice
from ..state import State

logger = logging.getLogger("flask_understudy")

DEAD = """
SELECT id, suspects FROM understudy_workers WHERE lease_until < <now> AND (:any_dead OR suspects IS NOT NULL)"""

ORPHANS = """
INSERT INTO understudy_workers (id, kind, hostname, pid, queues, threads, started_at, lease_until)
SELECT j.worker_id, 'worker', '', 0, <json:'[]'>, 0, <now>, <after:-1>
FROM (SELECT DISTINCT worker_id FROM understudy_jobs WHERE state = 'active') AS j
WHERE NOT EXISTS (SELECT 1 FROM understudy_workers AS w WHERE w.id = j.worker_id)
ON CONFLICT (id) DO NOTHING"""


def rescue(state: State, *, reported_only: bool = False, silent: Callable[[str, int], None] | None = None) -> int:
    """Take back the jobs of every worker whose lease ran out; return how many jobs.

    Args:
        state: The application's side of the library.
        reported_only: Only of workers whose sibling saw them die; those are dead for certain.
        silent: Told of each worker that merely fell silent, with the number of its jobs.
    """
    with state.database.statement() as connection:
        run(connection, ORPHANS)
        dead = [
            (id, json.loads(suspects) if isinstance(suspects, str) else suspects)
            for id, suspects in run(connection, DEAD, any_dead=not reported_only)
        ]
    total = 0
    for worker, suspects in dead:
        n = _rescue_from(state, worker, suspects)
        if n and suspects is None and silent is not None:
            silent(worker, n)
        total += n
    return total


def _rescue_from(state: State, worker: str, suspects: list[str] | None) -> int:
    error = f"Its worker {worker} died"
    with state.database.transaction() as connection:
        rows = transitions.rescue(connection, worker, suspects, error)
        run(connection, BURY, id=worker)
    if rows:
        logger.warning("Worker %s died; %d jobs are taken back.", worker, len(rows))
    waiting = [Due(id, queue, priority, due) for id, now, queue, priority, due, *_ in rows if now == "waiting"]
    try:
        state.transport.announce(waiting)
    except TransportError as problem:
        logger.debug("Not announced: %s", problem)
    for id, now, queue, _, _, actor, tenant, attempt, reason in rows:
        if now == "failed":
            notice = JobNotice(
                id=id,
                queue=queue,
                actor=actor,
                tenant=tenant,
                attempt=attempt,
                error=f"{error} ({reason})",
            )
            signals.emit(signals.job_failed, state.app, job=notice)
    return len(rows)
