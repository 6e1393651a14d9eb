"""Bringing events and the jobs that wait for them together.

Whoever publishes an event settles the waits that it meets, in the same transaction: `meet`. Whoever comes to wait looks
for events that were published since its job was sent: `look`. On PostgreSQL the two may miss each other while neither
has committed; the clock makes that good with `catch_up`, and a job looks once more before it gives up.

A wait compares some fields of an event with values of its own. Both are kept as one canonical text, so that a publisher
finds the waits it meets by an index, however many there are.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from . import transitions
from .statements import run
from .transitions import Due
from .wait import Wait

PAGE = 500
RECENT_MS = 120_000
MOST_RECENT = 1000

#: The different sets of fields that open waits of a tenant for an event compare: one step in the index for each.
FIELDS = """
WITH RECURSIVE found(fields) AS (
    SELECT min(w.fields) FROM understudy_waits AS w
        WHERE w.settled_at IS NULL AND w.tenant = :tenant AND w.event = :event
    UNION ALL
    SELECT (SELECT min(w.fields) FROM understudy_waits AS w WHERE w.settled_at IS NULL AND w.tenant = :tenant
        AND w.event = :event AND w.fields > found.fields) FROM found WHERE found.fields IS NOT NULL)
SELECT fields FROM found WHERE fields IS NOT NULL"""

#: The waits that events meet. No event of before the job, and none that the job has taken already.
MEETING = """
SELECT w.job_id, w.position, e.id FROM <rows:id text, fields text, wanted text>
JOIN understudy_events AS e ON e.id = r.id
JOIN understudy_waits AS w ON w.settled_at IS NULL AND w.tenant = e.tenant AND w.event = e.name
    AND w.fields = r.fields AND w.wanted = r.wanted
JOIN understudy_jobs AS j ON j.id = w.job_id AND j.created_at <= e.at
WHERE NOT EXISTS (SELECT 1 FROM understudy_waits AS t WHERE t.job_id = w.job_id AND t.event_id = e.id)
ORDER BY e.at, <stored:e>"""

#: A wait that another publisher is just settling is left to that one.
SETTLE = """
WITH free AS (SELECT w.job_id AS free_job, w.position AS free_position FROM understudy_waits AS w
    WHERE w.job_id <any:ids> AND w.settled_at IS NULL <skip locked>)
UPDATE understudy_waits SET event_id = r.event_id, settled_at = <now>
FROM <rows:job_id text, position integer, event_id text> JOIN free ON free_job = r.job_id AND free_position = r.position
WHERE understudy_waits.job_id = r.job_id AND understudy_waits.position = r.position
RETURNING understudy_waits.job_id, understudy_waits.position"""

ARRIVE = """
UPDATE understudy_steps SET state = 'completed', finished_at = <now>,
    result = (SELECT <text:e.payload> FROM understudy_waits AS w JOIN understudy_events AS e ON e.id = w.event_id
        WHERE w.job_id = understudy_steps.job_id AND w.position = understudy_steps.position)
WHERE job_id <any:ids> AND state = 'waiting' AND kind = 'wait'
    AND EXISTS (SELECT 1 FROM understudy_waits AS w WHERE w.job_id = understudy_steps.job_id
        AND w.position = understudy_steps.position AND w.event_id IS NOT NULL)"""

LOOK = """
SELECT e.id, <text:e.payload>, <ms:e.at> FROM understudy_events AS e
JOIN understudy_jobs AS j ON j.id = :job_id AND e.at >= j.created_at
WHERE e.tenant = :tenant AND e.name = :event
    AND NOT EXISTS (SELECT 1 FROM understudy_waits AS t WHERE t.job_id = :job_id AND t.event_id = e.id)
ORDER BY e.at, <stored:e> LIMIT :n OFFSET :skip"""

CLOSE = """
UPDATE understudy_waits SET event_id = :event_id, settled_at = <now>
WHERE job_id = :job_id AND position = :position AND settled_at IS NULL RETURNING job_id"""

STORE = """
INSERT INTO understudy_events (id, tenant, subject, name, version, payload, job_id, at)
VALUES (:id, :tenant, :subject, :name, 1, <json::payload>, :job_id, <now>)"""

AWAITED = """
SELECT DISTINCT w.tenant, w.event FROM understudy_waits AS w WHERE w.settled_at IS NULL"""

RECENT = """
SELECT e.id, e.tenant, e.name, <text:e.payload> FROM understudy_events AS e
WHERE e.name = :event AND e.tenant = :tenant AND e.at > <after::age_ms> ORDER BY e.at DESC LIMIT :n"""

#: Jobs that were being suspended while what they wait for came: they are delayed, and none of their steps is.
ASLEEP = """
SELECT j.id FROM understudy_jobs AS j WHERE j.state = 'delayed' AND j.id IN (
    SELECT job_id FROM understudy_waits WHERE settled_at > <after::age_ms>
    UNION SELECT job_id FROM understudy_approvals WHERE decided_at > <after::age_ms>)
AND NOT EXISTS (SELECT 1 FROM understudy_steps AS s WHERE s.job_id = j.id
    AND s.state IN ('retrying', 'sleeping', 'waiting'))"""


@dataclass(frozen=True, slots=True)
class Happened:
    """An event that was just stored: its id, whose it is, its name, and its fields as JSON has them."""

    id: str
    tenant: str
    name: str
    payload: Mapping[str, Any]


def wanted(match: Mapping[str, Any]) -> tuple[str, str]:
    """Return the two texts that a wait is found by, for the fields it compares and their values."""
    return _text(sorted(match)), _text(dict(sorted(match.items())))


def meet(connection: Connection, events: Iterable[Any], *, fair: bool = True) -> list[Due]:
    """Settle the waits that events meet; to be called in the transaction that stored them, after it did.

    Args:
        connection: In that transaction.
        events: Each with `id`, `tenant`, `name` and `payload`.
        fair: Whether tenants take turns.

    Returns:
        The jobs that now wait to be claimed; announce them after the commit.
    """
    rows, known = [], {}
    for event in events:
        key = (event.tenant, event.name)
        if key not in known:
            known[key] = [row[0] for row in run(connection, FIELDS, tenant=event.tenant, event=event.name)]
        for fields in known[key]:
            names = json.loads(fields)
            if all(name in event.payload for name in names):
                compared = _text({name: event.payload[name] for name in names})
                rows.append({"id": event.id, "fields": fields, "wanted": compared})
    return _settle(connection, rows, fair) if rows else []


def _settle(connection: Connection, rows: list[dict[str, Any]], fair: bool) -> list[Due]:
    first: dict[tuple[str, int], str] = {}
    taken: set[tuple[str, str]] = set()
    for job_id, position, event_id in run(connection, MEETING, rows=json.dumps(rows)):
        if (job_id, position) not in first and (job_id, event_id) not in taken:
            first[job_id, position] = event_id
            taken.add((job_id, event_id))
    if not first:
        return []
    pairs = [{"job_id": job, "position": at, "event_id": event} for (job, at), event in sorted(first.items())]
    settled = list(run(connection, SETTLE, ids=sorted({job for job, _ in first}), rows=json.dumps(pairs)))
    ids = sorted({row[0] for row in settled})
    if not ids:
        return []
    run(connection, ARRIVE, ids=ids)
    return transitions.wake(connection, ids, fair=fair)


def look(
    connection: Connection, job_id: str, tenant: str, event: str, match: Mapping[str, Any]
) -> tuple[str, dict[str, Any]] | None:
    """Return the first event since a job was sent that it waits for and has not taken: its id and its fields."""
    skip = 0
    while True:
        page = list(run(connection, LOOK, job_id=job_id, tenant=tenant, event=event, n=PAGE, skip=skip))
        for id, text, _ in page:
            payload: dict[str, Any] = json.loads(text)
            if all(name in payload and _text(payload[name]) == _text(value) for name, value in match.items()):
                return id, payload
        if len(page) < PAGE:
            return None
        skip += PAGE


def close(connection: Connection, job_id: str, position: int, event_id: str | None) -> bool:
    """Settle one wait with an event or, with None, as timed out; tell whether nobody had settled it."""
    closed = run(connection, CLOSE, job_id=job_id, position=position, event_id=event_id)
    return closed.first() is not None


def store(connection: Connection, wait: Wait, payload: str, subject: str) -> str:
    """Store the event that somebody gives one wait by hand; return its id."""
    id = str(uuid.uuid4())
    run(
        connection,
        STORE,
        id=id,
        tenant=wait.tenant,
        subject=subject,
        name=wait.event,
        payload=payload,
        job_id=wait.job_id,
    )
    return id


def arrive(connection: Connection, job_id: str) -> None:
    """Complete the step of a job whose wait was just closed with an event."""
    run(connection, ARRIVE, ids=[job_id])


def catch_up(connection: Connection, *, fair: bool = True) -> list[Due]:
    """Settle waits whose events were published at the very moment, and wake jobs that went to sleep after that.

    Args:
        connection: In a transaction.
        fair: Whether tenants take turns.

    Returns:
        The jobs that now wait to be claimed.
    """
    due: list[Due] = []
    for tenant, event in list(run(connection, AWAITED)):
        recent: Sequence[Any] = list(
            run(connection, RECENT, tenant=tenant, event=event, age_ms=-RECENT_MS, n=MOST_RECENT)
        )
        due += meet(connection, [Happened(id, t, name, json.loads(text)) for id, t, name, text in recent], fair=fair)
    asleep = [row[0] for row in run(connection, ASLEEP, age_ms=-RECENT_MS)]
    return due + (transitions.wake(connection, asleep, fair=fair) if asleep else [])


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
