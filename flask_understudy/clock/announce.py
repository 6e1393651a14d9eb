"""The clock's first turn: what is due becomes waiting, and the broker holds what the ledger says it should."""

from __future__ import annotations

import json
import logging

from .. import signals
from ..admission import admit, withdraw_paused
from ..errors import TransportError
from ..ledger import limits, transitions
from ..ledger.statements import run
from ..ledger.transitions import Due
from ..signals import JobNotice
from ..state import State

logger = logging.getLogger("flask_understudy")

BATCH = 1000
WAKE_UPS = 10

WAITING = """
SELECT r.name, (SELECT count(*) FROM (SELECT 1 FROM understudy_jobs AS j
    WHERE j.queue = r.name AND j.state = 'waiting' AND NOT j.parked AND j.gate IS NULL LIMIT :runway) AS first)
FROM <rows:name text>
WHERE NOT EXISTS (SELECT 1 FROM understudy_queues AS q WHERE q.name = r.name AND q.paused_at IS NOT NULL)"""

FIRST = """
SELECT id, queue, priority, <ms:coalesce(turn_at, run_at)> FROM understudy_jobs
WHERE queue = :queue AND state = 'waiting' AND NOT parked AND gate IS NULL ORDER BY <in order> LIMIT :n"""


def announce(state: State) -> None:
    """Take the turn (T2, T8, T10).

    Raises:
        TransportError: The broker is down; the jobs are waiting in the ledger all the same.
    """
    expire(state)
    promote(state)
    unpark(state)
    withdraw_paused(state)
    admit(state)
    if state.transport.name != "database" and state.transport.is_up:
        refill(state)


def promote(state: State) -> int:
    """T2: make due jobs waiting and announce them; return how many."""
    total = 0
    while True:
        with state.database.transaction() as connection:
            due = transitions.promote(connection, BATCH, fair=state.config.fair)
        total += len(due)
        if due:
            try:
                state.transport.announce([job for job in due if not job.is_gated])
            except TransportError as problem:
                logger.debug("Not announced: %s", problem)
        if len(due) < BATCH:
            return total


def unpark(state: State) -> int:
    """Put jobs back into the order whose tenants are not limited any more; return how many."""
    with state.database.statement() as connection:
        if not limits.any_parked(connection):
            return 0
    total = 0
    for queue in sorted(state.broker.get_declared_queues()):
        while True:
            with state.database.transaction() as connection:
                n = limits.unpark(connection, queue, BATCH)
            total += n
            if n < BATCH:
                break
    return total


def expire(state: State) -> int:
    """T10: fail jobs whose time to run is over; return how many."""
    with state.database.transaction() as connection:
        expired = transitions.expire(connection, BATCH)
    for id, queue, actor, tenant, attempt in expired:
        notice = JobNotice(
            id=id,
            queue=queue,
            actor=actor,
            tenant=tenant,
            attempt=attempt,
            error="Expired before it could run",
        )
        signals.emit(signals.job_failed, state.app, job=notice)
    return len(expired)


def refill(state: State) -> int:
    """T8: announce the first waiting jobs of each queue of which the broker holds too few, or too old ones.

    A queue that is longer than its runway is announced anew each time, so that nothing in it starves behind arrivals.
    A broker that keeps no order holds wake-ups instead, and is given some when it has none left.
    """
    runway = state.config.runway
    most = runway if state.transport.keeps_order else WAKE_UPS
    queues = sorted(state.broker.get_declared_queues())
    if not queues:
        return 0
    depths = state.transport.depths(queues)
    short: list[Due] = []
    with state.database.statement() as connection:
        names = _json_rows(queues)
        for queue, waiting in run(connection, WAITING, rows=names, runway=runway):
            if state.transport.keeps_order:
                is_short = waiting >= runway or depths[queue] < waiting
            else:
                is_short = not depths[queue]
            if waiting and is_short:
                short += [Due(*row) for row in run(connection, FIRST, queue=queue, n=most)]
    if short:
        state.transport.announce(short)
    return len(short)


def _json_rows(names: list[str]) -> str:
    return json.dumps([{"name": name} for name in names])
