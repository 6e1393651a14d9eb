"""Writing and reading steps. A step is written by who holds its job, and what has come to its end never changes.

Two claims of a job may both have done a step, when the first was taken for dead in the middle of it. The primary key
lets one of them write it; the other finds its own row refused, gives its claim back, and goes on from what was written.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from .statements import run
from .step import FINAL

_NOTE = (
    "id text, fence integer, position integer, name text, kind text, state text, result text, error text, "
    "attempts integer, busy_ms bigint, wake_ms bigint, wake_at text"
)

#: The same once more is what follows a commit whose answer was lost.
RECORD = f"""
INSERT INTO understudy_steps (job_id, position, name, kind, state, result, error, attempts, started_at, finished_at,
    wake_at, fence, worker_id)
SELECT r.id, r.position, r.name, r.kind, r.state, r.result, r.error, r.attempts, <after:-r.busy_ms>,
    CASE WHEN r.state IN ('completed', 'failed', 'timed_out') THEN <now> END,
    coalesce(<time:r.wake_at>, <after:r.wake_ms>), r.fence, :worker
FROM <rows:{_NOTE}> JOIN understudy_jobs ON understudy_jobs.id <any:ids> AND understudy_jobs.id = r.id
    AND understudy_jobs.fence = r.fence AND <apart:understudy_jobs.worker_id> = :worker
    AND <apart:understudy_jobs.state> = 'active'
WHERE true
ON CONFLICT (job_id, position) DO UPDATE SET state = excluded.state, result = excluded.result, error = excluded.error,
    attempts = excluded.attempts, finished_at = excluded.finished_at,
    wake_at = CASE WHEN excluded.wake_at IS NULL OR (excluded.state = understudy_steps.state
        AND excluded.attempts = understudy_steps.attempts) THEN understudy_steps.wake_at ELSE excluded.wake_at END,
    fence = excluded.fence, worker_id = excluded.worker_id
WHERE understudy_steps.state NOT IN ('completed', 'failed', 'timed_out')
    OR (understudy_steps.fence = excluded.fence AND understudy_steps.state = excluded.state)
RETURNING job_id, position, -<ms since:wake_at>"""  # noqa: S608 - constants of this module

#: A job that gets on is no poison, however often its process dies on the way.
GOT_ON = f"""
UPDATE understudy_jobs SET crashes = 0, hand_backs = 0 FROM <rows:{_NOTE}>
WHERE understudy_jobs.id <any:ids> AND understudy_jobs.id = r.id AND understudy_jobs.fence = r.fence
    AND <apart:understudy_jobs.worker_id> = :worker AND <apart:understudy_jobs.state> = 'active'"""  # noqa: S608

OPEN_WAIT = """
INSERT INTO understudy_waits (job_id, position, tenant, event, fields, wanted, event_id, settled_at)
SELECT r.job_id, r.position, r.tenant, r.event, r.fields, r.wanted, r.event_id,
    CASE WHEN r.event_id IS NOT NULL THEN <now> END
FROM <rows:job_id text, position integer, tenant text, event text, fields text, wanted text, event_id text> WHERE true
ON CONFLICT DO NOTHING"""

ASK = """
INSERT INTO understudy_approvals (id, job_id, position, tenant, name, prompt, asked, state, asked_at, deadline)
SELECT r.id, r.job_id, r.position, r.tenant, r.name, r.prompt, r.asked, 'pending', <now>, s.wake_at
FROM <rows:id text, job_id text, position integer, tenant text, name text, prompt text, asked text>
JOIN understudy_steps AS s ON s.job_id = r.job_id AND s.position = r.position WHERE true
ON CONFLICT DO NOTHING"""

READ = """
SELECT position, name, kind, state, result, error, attempts, -<ms since:wake_at>
FROM understudy_steps WHERE job_id = :id ORDER BY position"""

ANY = "SELECT name FROM understudy_steps WHERE job_id = :id ORDER BY position LIMIT 3"

HASTEN = """
UPDATE understudy_steps SET wake_at = <now>
WHERE job_id <any:ids> AND state IN ('retrying', 'sleeping', 'waiting') AND wake_at > <now>"""

#: Waits stay: an answer that has not come is no answer.
END_SLEEP = """
UPDATE understudy_steps SET wake_at = <now>
WHERE job_id <any:ids> AND state IN ('retrying', 'sleeping') AND wake_at > <now>"""

HASTEN_QUEUE = """
UPDATE understudy_steps SET wake_at = <now>
WHERE state IN ('retrying', 'sleeping', 'waiting') AND wake_at > <now>
    AND job_id IN (SELECT id FROM understudy_jobs WHERE state = 'delayed' AND (:any_queue OR queue = :queue))"""

#: Failures that ended the job, so that the next attempt tries them; those that it went on from are past.
REOPEN = """
DELETE FROM understudy_steps WHERE job_id <any:ids> AND state = 'failed' AND position >= (
    SELECT max(s.position) FROM understudy_steps AS s WHERE s.job_id = understudy_steps.job_id AND s.kind <> 'child')"""

COPY = """
INSERT INTO understudy_steps (job_id, position, name, kind, state, result, error, attempts, started_at, finished_at,
    wake_at, fence, worker_id)
SELECT :to, position, name, kind, state, result, error, attempts, started_at, finished_at, wake_at, 0, worker_id
FROM understudy_steps WHERE job_id = :id AND position < :before AND state IN ('completed', 'failed', 'timed_out')"""

FORGET = ("understudy_steps", "understudy_waits", "understudy_approvals")


@dataclass(slots=True, eq=False)
class StepNote:
    """A step on its way into the ledger.

    Attributes:
        id: The job.
        fence: The claim.
        position: The step's place.
        name: The step's name.
        kind: See `ledger.step.Step`.
        state: Likewise.
        result: Its encoded result.
        error: Its latest error.
        attempts: How often it was tried.
        busy_ms: For how many ms it has run.
        wake_ms: In how many ms the job goes on, or
        wake_at: when, as UTC text of `statements.moment`.
        wait: The columns of `understudy_waits` that it opens, or None.
        approval: The columns of `understudy_approvals` that it opens, or None.
        gets_on: Whether the job has crashes or hand-backs, which are counted anew from here if the step is finished.
        done: Set once it is committed, or never will be.
        held: Whether it was written; False when the claim was lost before.
        problem: What the database had against it.
    """

    id: str
    fence: int
    position: int
    name: str
    kind: str
    state: str
    result: str | None = None
    error: str | None = None
    attempts: int = 1
    busy_ms: int = 0
    wake_ms: int | None = None
    wake_at: str | None = None
    wait: dict[str, Any] | None = None
    approval: dict[str, Any] | None = None
    gets_on: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    held: bool = False
    problem: Exception | None = None

    def outcome(self) -> bool:
        """Return whether it was written.

        Raises:
            Exception: What the database has against it.
        """
        if self.problem is not None:
            raise self.problem
        return self.held


@dataclass(frozen=True, slots=True)
class Recorded:
    """A step as the ledger has it; `wake_ms` is in how many ms its job goes on, negative when that is past."""

    position: int
    name: str
    kind: str
    state: str
    result: Any
    error: str | None
    attempts: int
    wake_ms: int | None


_ROW = tuple(column.split()[0] for column in _NOTE.split(", "))


def record(connection: Connection, worker: str, notes: Sequence[StepNote]) -> dict[tuple[str, int], int | None]:
    """Write steps whose jobs this worker still holds.

    Args:
        connection: In a transaction.
        worker: Who holds them.
        notes: The steps.

    Returns:
        In how many ms each job goes on, by (job, position); a missing one was not written.
    """
    rows = json.dumps([{name: getattr(note, name) for name in _ROW} for note in notes])
    ids = list({note.id for note in notes})
    written = {(row[0], row[1]): row[2] for row in run(connection, RECORD, worker=worker, ids=ids, rows=rows)}
    held = [note for note in notes if (note.id, note.position) in written]
    if opened := [note.wait for note in held if note.wait is not None]:
        run(connection, OPEN_WAIT, rows=json.dumps(opened))
    if asked := [note.approval for note in held if note.approval is not None]:
        run(connection, ASK, rows=json.dumps(asked))
    got_on = [note for note in held if note.gets_on and note.state in FINAL]
    if got_on:
        rows = json.dumps([{name: getattr(note, name) for name in _ROW} for note in got_on])
        run(connection, GOT_ON, worker=worker, ids=[note.id for note in got_on], rows=rows)
    return written


def read(connection: Connection, job_id: str) -> dict[int, Recorded]:
    """Return a job's steps by their places."""
    found: Iterable[Any] = run(connection, READ, id=job_id)
    rows = [
        Recorded(position, name, kind, state, None if result is None else json.loads(result), *rest)
        for position, name, kind, state, result, *rest in found
    ]
    return {row.position: row for row in rows}


def first_names(connection: Connection, job_id: str) -> list[str]:
    """Return the names of a job's first steps, three at the most."""
    return [row[0] for row in run(connection, ANY, id=job_id)]


def hasten(connection: Connection, *, ids: Sequence[str] | None = None, queue: str | None = None) -> None:
    """Let nobody wait any longer: sleeps, waits and retries of jobs named, or of a queue's delayed ones, are over."""
    if ids is not None:
        run(connection, HASTEN, ids=list(ids))
    else:
        run(connection, HASTEN_QUEUE, any_queue=queue is None, queue=queue or "")


def end_sleep(connection: Connection, ids: Sequence[str]) -> None:
    """Let sleeps and waits for a retry be over; what waits for an event or a decision goes on waiting."""
    run(connection, END_SLEEP, ids=list(ids))


def reopen(connection: Connection, ids: Sequence[str]) -> None:
    """Forget the failures that ended jobs, which are about to be tried again."""
    run(connection, REOPEN, ids=list(ids))


def copy(connection: Connection, job_id: str, to: str, before: int) -> None:
    """Give a job the finished steps of another one that lie before a place."""
    run(connection, COPY, id=job_id, to=to, before=before)


def forget(connection: Connection, ids: Sequence[str]) -> None:
    """Delete the steps, waits and approvals of deleted jobs."""
    for table in FORGET:
        run(connection, f"DELETE FROM {table} WHERE job_id <any:ids>", ids=list(ids))  # noqa: S608 - named above
