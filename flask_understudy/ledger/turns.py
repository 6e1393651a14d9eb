"""Turns: how the tenants of a queue share it, whoever sends more.

Waiting jobs are claimed by priority, and within a priority by their turn. A job without a tenant has its turn when it
is due. A tenant's jobs are `SPACING_SECONDS` apart from each other, the first one now: what one tenant sends in bulk
lies ahead of time, and what others send meanwhile goes between. No turn lies more than `HORIZON_SECONDS` ahead, so no
job is ever passed by one of the same priority that came to wait later than that after it. The seconds are places in an
order; nobody waits for them.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from .statements import run

#: A waiting job's turn.
TURN = "coalesce(turn_at, run_at)"

#: The latest turn among the waiting jobs of `g`'s queue, tenant and priority, unless it is past and holds nobody up.
#: The bound spares the search the index entries of jobs that are claimed already, which stay until vacuum.
LATEST = """(SELECT j.turn_at FROM understudy_jobs AS j
    WHERE j.state = 'waiting' AND j.tenant <> '' AND j.queue = g.queue AND j.tenant = g.tenant
        AND j.priority = g.priority AND j.turn_at > <recent>
    ORDER BY j.turn_at DESC LIMIT 1)"""

PLACE = f"""
WITH those AS (SELECT id AS place_id, queue, tenant, priority,
        row_number() OVER (PARTITION BY queue, tenant, priority ORDER BY run_at, <arrival>) AS nth
    FROM understudy_jobs WHERE id <any:ids> AND state = 'waiting' AND tenant <> ''),
places AS (SELECT t.place_id, t.nth, l.latest_at FROM those AS t
    JOIN (SELECT g.queue, g.tenant, g.priority, {LATEST} AS latest_at
        FROM (SELECT DISTINCT queue, tenant, priority FROM those) AS g) AS l
    ON l.queue = t.queue AND l.tenant = t.tenant AND l.priority = t.priority)
UPDATE understudy_jobs SET turn_at = <turn:nth> FROM places WHERE id = place_id
RETURNING id, <ms:turn_at>"""  # noqa: S608 - constants of this module


def place(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    """Give jobs that have come to wait, and have no turn yet, turns behind those of their tenants' other jobs.

    Args:
        connection: In the transaction that made them wait.
        ids: The jobs; those without a tenant are passed over.

    Returns:
        The turns in ms since 1970, by id.
    """
    return {row[0]: row[1] for row in run(connection, PLACE, ids=list(ids))}
