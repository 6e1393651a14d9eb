"""T5 to T7: claims end, by their holder or without one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection

from .. import moves
from ..job import COMPLETED, TERMINAL
from ..statements import run
from ..tallies import Tallies
from .records import Ending

MAX_HAND_BACKS = 50
MAX_CRASHES = 3


def complete(
    connection: Connection,
    worker: str,
    ends: Sequence[tuple[str, int, str | None]],
    tallies: Tallies | None = None,
) -> set[str]:
    """T5: record results, given as (id, fence, encoded result); return the ids whose claim still held.

    Args:
        connection: In a transaction.
        worker: Who held them.
        ends: What they returned.
        tallies: Where to tally them, for a caller that writes several moves' tallies together.
    """
    rows = [{"id": id, "fence": fence, "result": result} for id, fence, result in ends]
    result = run(connection, moves.COMPLETE, worker=worker, ids=[end[0] for end in ends], rows=json.dumps(rows))
    done = result.cursor.fetchall()
    result.close()
    own = Tallies() if tallies is None else tallies
    for _, tenant, queue, actor, busy, waited in done:
        own.add(tenant, queue, actor, COMPLETED, busy, waited)
    if tallies is None:
        own.write(connection)
    return {row[0] for row in done}


def end(
    connection: Connection, worker: str, endings: Sequence[Ending], tallies: Tallies | None = None
) -> dict[str, str]:
    """T5, T6: record attempts that did not complete; return the new state of each whose claim still held.

    Args:
        connection: In a transaction.
        worker: Who held them.
        endings: How they ended.
        tallies: As for `complete`.
    """
    rows = json.dumps([asdict(ending) for ending in endings])
    ids = [ending.id for ending in endings]
    charged = {ending.id for ending in endings if ending.charged}
    run(connection, moves.RECORD_ATTEMPTS, worker=worker, ids=ids, rows=rows)
    waits = {row[0]: row[1] for row in run(connection, moves.WAITED, ids=ids)}
    own = Tallies() if tallies is None else tallies
    states: dict[str, str] = {}
    for id, state, tenant, queue, actor, busy in run(connection, moves.END, worker=worker, ids=ids, rows=rows):
        states[id] = state
        if state in TERMINAL or id in charged:
            own.add(tenant, queue, actor, _outcome(state), busy, waits.get(id))
    if tallies is None:
        own.write(connection)
    return states


def rescue(connection: Connection, worker: str, blamed: Sequence[str] | None, error: str) -> list[Any]:
    """T7: take the jobs of a dead worker back.

    Args:
        connection: In a transaction.
        worker: The worker whose lease expired; checked again in the statement.
        blamed: The jobs that were running when it died; None = unknown, all of them.
        error: What the blamed jobs' attempts record.

    Returns:
        Rows of (id, state, queue, priority, turn in ms, actor, tenant, attempt, reason).
    """
    held = [row[0] for row in run(connection, moves.HOLD_DEAD, worker=worker)]
    if not held:
        return []
    known = {
        "worker": worker,
        "ids": held,
        "all_blamed": blamed is None,
        "blamed": list(blamed or ()),
        "error": error,
    }
    run(connection, moves.RECORD_CRASHES, **known)
    rows = list(run(connection, moves.RESCUE, max_crashes=MAX_CRASHES, **known))
    tallies = Tallies()
    for id, state, queue, _, _, actor, tenant, *_, busy, waited in rows:
        if state in TERMINAL or blamed is None or id in blamed:
            tallies.add(tenant, queue, actor, _outcome(state), busy, waited)
    tallies.write(connection)
    return [row[:9] for row in rows]


def _outcome(state: str) -> str:
    """Return what a tally calls the end of an attempt that left its job in a state."""
    return state if state in TERMINAL else "retried"


def crashes(connection: Connection, id: str) -> int:
    """Return how often a job ended its process since it last got on."""
    row = run(connection, moves.CRASHES, id=id).first()
    return 0 if row is None else int(row[0])
