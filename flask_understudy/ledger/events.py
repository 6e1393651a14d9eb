"""The event log: writing events, finding them, and forgetting them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, literal, select, tuple_
from sqlalchemy.orm import Session

from .base import Moment
from .database import Database
from .event import PublishedEvent
from .job import LIVE, Job
from .scope import EVERYTHING, Scope
from .search import Place
from .statements import run
from .wait import Wait

MOST_JOBS = 1000
MOST_WAITS = 10_000

INSERT = """
INSERT INTO understudy_events (id, tenant, subject, name, version, payload, correlation_id, job_id, replay_of, at)
SELECT r.id, r.tenant, r.subject, r.name, r.version, <json:r.payload>, r.correlation_id, r.job_id, r.replay_of, <now>
FROM <rows:id text, tenant text, subject text, name text, version integer, payload text, correlation_id text,
    job_id text, replay_of text>"""

FORGET = """
DELETE FROM understudy_events WHERE id IN (
    SELECT id FROM understudy_events WHERE at < <after::age_ms> ORDER BY at LIMIT :n)"""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event on its way into the log; the columns of `PublishedEvent` that the publisher decides.

    Attributes:
        payload: Its fields, plain JSON values.
    """

    id: str
    tenant: str
    subject: str
    name: str
    version: int
    payload: dict[str, Any]
    correlation_id: str
    job_id: str | None = None
    replay_of: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are wanted. Names are alternatives; all attributes must hold.

    Attributes:
        names: Names of events.
        correlation_id: Shared by what one request led to.
        after: Not before this time.
        before: Before this time.
    """

    names: tuple[str, ...] = ()
    correlation_id: str | None = None
    after: datetime | None = None
    before: datetime | None = None


def insert(connection: Connection, events: Sequence[NewEvent]) -> None:
    """Write events into the log, all at the database's now."""
    rows = [
        {
            "id": event.id,
            "tenant": event.tenant,
            "subject": event.subject,
            "name": event.name,
            "version": event.version,
            "payload": json.dumps(event.payload, ensure_ascii=False),
            "correlation_id": event.correlation_id,
            "job_id": event.job_id,
            "replay_of": event.replay_of,
        }
        for event in events
    ]
    run(connection, INSERT, rows=json.dumps(rows))


def find(
    database: Database, id: str, scope: Scope = EVERYTHING, session: Session | None = None
) -> PublishedEvent | None:
    """Return an event within the scope, or None; as a session's open transaction sees it when one is given."""
    query = select(PublishedEvent).where(PublishedEvent.id == id, scope.of(PublishedEvent))
    if session is not None:
        return session.scalars(query).one_or_none()
    with Session(database.engine, expire_on_commit=False) as own:
        return own.scalars(query).one_or_none()


def page(
    database: Database, scope: Scope, wanted: Wanted, n: int, after: Place | None = None
) -> tuple[list[PublishedEvent], Place | None]:
    """Return the latest `n` events of those wanted, and the place after which the next page begins.

    Args:
        database: The ledger's database.
        scope: Whose events may be found.
        wanted: Which of them are.
        n: How many at the most.
        after: Where the page before ended.
    """
    model = PublishedEvent
    query = select(model).where(scope.of(model)).order_by(model.at.desc(), model.id.desc()).limit(n + 1)
    if wanted.names:
        query = query.where(model.name.in_(wanted.names))
    if wanted.correlation_id is not None:
        query = query.where(model.correlation_id == wanted.correlation_id)
    if wanted.after is not None:
        query = query.where(model.at >= wanted.after)
    if wanted.before is not None:
        query = query.where(model.at < wanted.before)
    if after is not None:
        query = query.where(tuple_(model.at, model.id) < tuple_(literal(after[0], Moment()), literal(after[1])))
    with Session(database.engine, expire_on_commit=False) as session:
        found = list(session.scalars(query))
    shown = found[:n]
    return shown, (shown[-1].at, shown[-1].id) if len(found) > n else None


def jobs_of(database: Database, id: str, scope: Scope, session: Session | None = None) -> list[Job]:
    """Return the jobs that hear an event, the first one first; a thousand at the most."""
    query = select(Job).where(Job.event_id == id, scope.of(Job)).order_by(Job.created_at, Job.actor).limit(MOST_JOBS)
    if session is not None:
        return list(session.scalars(query))
    with Session(database.engine, expire_on_commit=False) as own:
        return list(own.scalars(query))


def count_jobs(database: Database, ids: Sequence[str], scope: Scope) -> dict[str, int]:
    """Return how many jobs hear each of some events; those that none hears are left out."""
    if not ids:
        return {}
    query = select(Job.event_id, func.count()).where(Job.event_id.in_(ids), scope.of(Job)).group_by(Job.event_id)
    with database.engine.connect() as connection:
        return {str(id): n for id, n in connection.execute(query)}


def runs_of(database: Database, id: str, scope: Scope, session: Session | None = None) -> list[Job]:
    """Return the jobs that an event, for which they had waited, let go on, the first one first; up to a thousand."""
    came = select(Wait.job_id).where(Wait.event_id == id)
    query = select(Job).where(Job.id.in_(came), scope.of(Job)).order_by(Job.created_at, Job.id).limit(MOST_JOBS)
    if session is not None:
        return list(session.scalars(query))
    with Session(database.engine, expire_on_commit=False) as own:
        return list(own.scalars(query))


def count_runs(database: Database, ids: Sequence[str], scope: Scope) -> dict[str, int]:
    """Return how many jobs each of some events let go on; those that none had waited for are left out."""
    if not ids:
        return {}
    query = select(Wait.event_id, func.count()).where(Wait.event_id.in_(ids), scope.of(Wait)).group_by(Wait.event_id)
    with database.engine.connect() as connection:
        return {str(id): n for id, n in connection.execute(query)}


def count_waiting(database: Database, scope: Scope) -> dict[str, int]:
    """Return for how many jobs each event is awaited, by its name; `MOST_WAITS` waits are looked at."""
    open_ = select(Wait.event, Wait.job_id).where(Wait.settled_at.is_(None), scope.of(Wait)).limit(MOST_WAITS)
    waits = open_.subquery()
    query = select(waits.c.event, func.count(waits.c.job_id.distinct())).join(Job, Job.id == waits.c.job_id)
    with database.engine.connect() as connection:
        found = connection.execute(query.where(Job.state.in_(LIVE)).group_by(waits.c.event))
        return {str(name): n for name, n in found}


def forget(connection: Connection, age_ms: int, n: int) -> int:
    """Delete `n` events at the most that are older than `age_ms`; return how many."""
    return int(run(connection, FORGET, age_ms=-age_ms, n=n).rowcount)
