"""T1: jobs come into the ledger."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from .. import moves, windows
from ..statements import run
from .records import NewJob

_RARE = ("limit_key", "batch_id", "debounce_key")
_ROW = NewJob.__slots__[: NewJob.__slots__.index("limit_key")]


def insert(connection: Connection, jobs: Sequence[NewJob]) -> dict[str, int]:
    """T1: store jobs; return each one's turn (ms since 1970) by id. A missing id met a live twin or itself."""
    thinned = {job.id: due for job in jobs if job.thinning is not None and (due := _thin(connection, job)) is not None}
    jobs = [job for job in jobs if job.thinning is None]
    return thinned | _insert(connection, jobs) if jobs else thinned


def _insert(connection: Connection, jobs: Sequence[NewJob]) -> dict[str, int]:
    rows = [_row(job) for job in jobs]
    statement = moves.INSERT
    taken: dict[tuple[str, str, int], int] = {}
    for job, row in zip(jobs, rows, strict=True):
        if job.takes_turns and job.tenant and job.state == "waiting":
            sharer = (job.queue, job.tenant, job.priority)
            row["nth"] = taken[sharer] = taken.get(sharer, 0) + 1
            statement = moves.INSERT_IN_TURN
    return {row[0]: row[1] for row in run(connection, statement, rows=json.dumps(rows))}


def _row(job: NewJob) -> dict[str, Any]:
    """Return a job's columns; those that most jobs have none of only where there is one."""
    row = {name: getattr(job, name) for name in _ROW}
    for name in _RARE:
        if (value := getattr(job, name)) is not None:
            row[name] = value
    return row


def _thin(connection: Connection, job: NewJob) -> int | None:
    """Store a job that makes way for others of its key; return its turn, or None and note the one that does it."""
    thinning = job.thinning
    assert thinning is not None
    if thinning.most_ms is None:
        job.twin = windows.take(connection, job.tenant, thinning, job.id)
        if job.twin is None:
            return _insert(connection, [job]).get(job.id)
        if not thinning.keeps_last:
            return None
        job.state, job.debounce_key = "delayed", thinning.key
        job.delay_ms = windows.left_ms(connection, job.tenant, thinning)
    rows = json.dumps([_row(job)])
    pushes, most_ms = thinning.most_ms is not None, thinning.most_ms or 0
    id, due = run(connection, moves.INSERT_OR_RENEW, rows=rows, pushes=pushes, most_ms=most_ms).one()
    if id != job.id:
        job.twin = id
        return None
    job.twin = None
    if not pushes:
        windows.prolong(connection, job.tenant, thinning, id)
    return int(due)
