"""Beginning and ending the episodes of alerts: whoever gets the row back is the one who tells it."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.orm import Session

from .alert import AlertEpisode
from .database import Database
from .statements import run

KEEP_MS = 90 * 86_400_000
BROKER = "broker"

_TOLD = """id, rule, subject, <ms:began_at>, <ms:ended_at>, value, threshold, message,
    CASE WHEN muted_until > <now> THEN 1 ELSE 0 END"""

#: A mute outlives the episode it was given for, so that what comes and goes stays muted.
BEGIN = f"""
INSERT INTO understudy_alerts (rule, subject, began_at, value, threshold, message, detail, muted_until)
VALUES (:rule, :subject, <now>, :value, :threshold, :message, <json:CAST(:detail AS text)>,
    (SELECT max(muted_until) FROM understudy_alerts AS earlier
        WHERE earlier.rule = :rule AND earlier.subject = :subject AND muted_until > <now>))
ON CONFLICT (rule, subject) WHERE ended_at IS NULL DO NOTHING
RETURNING {_TOLD}"""  # noqa: S608 - constants of this module

UPDATE = """
UPDATE understudy_alerts SET value = :value, threshold = :threshold, message = :message
WHERE rule = :rule AND subject = :subject AND ended_at IS NULL AND (value <> :value OR threshold <> :threshold)"""

END = f"UPDATE understudy_alerts SET ended_at = <now> WHERE id = :id AND ended_at IS NULL RETURNING {_TOLD}"  # noqa: S608

MUTE = """
UPDATE understudy_alerts SET muted_until = <after::mute_ms> WHERE id = :id AND ended_at IS NULL RETURNING id"""

PRUNE = "DELETE FROM understudy_alerts WHERE ended_at < <after::age_ms>"


def begin(
    connection: Connection, *, rule: str, subject: str, value: float, threshold: float, message: str, detail: Any = None
) -> Any | None:
    """Open an episode unless one is open; return its row when it is new, as (id, rule, subject, …, muted)."""
    known = {"rule": rule, "subject": subject, "value": value, "threshold": threshold, "message": message}
    row = run(connection, BEGIN, detail=None if detail is None else json.dumps(detail), **known).first()
    if row is None:
        run(connection, UPDATE, **known)
    return row


def end(connection: Connection, id: int) -> Any | None:
    """Close an episode; return its row when this call closed it."""
    return run(connection, END, id=id).first()


def mute(connection: Connection, id: int, minutes: int) -> bool:
    """Tell nobody of an open episode, and of those that follow it, for so many minutes; tell whether it is open."""
    return run(connection, MUTE, id=id, mute_ms=minutes * 60_000).first() is not None


def prune(connection: Connection) -> None:
    """Delete episodes that were over 90 days ago."""
    run(connection, PRUNE, age_ms=-KEEP_MS)


def opened(database: Database) -> list[AlertEpisode]:
    """Return the open episodes, the oldest first."""
    query = select(AlertEpisode).where(AlertEpisode.ended_at.is_(None)).order_by(AlertEpisode.id)
    with Session(database.engine, expire_on_commit=False) as session:
        return list(session.scalars(query))


def history(database: Database, limit: int, before: int | None = None) -> list[AlertEpisode]:
    """Return episodes, open ones too, the newest first.

    Args:
        database: The ledger's database.
        limit: At the most so many.
        before: Only those that began before the one with this id.
    """
    query = select(AlertEpisode).order_by(AlertEpisode.id.desc()).limit(limit)
    if before is not None:
        query = query.where(AlertEpisode.id < before)
    with Session(database.engine, expire_on_commit=False) as session:
        return list(session.scalars(query))


def open_by_rule(database: Database) -> dict[str, int]:
    """Return how many episodes of each rule are open."""
    query = select(AlertEpisode.rule, func.count()).where(AlertEpisode.ended_at.is_(None)).group_by(AlertEpisode.rule)
    with database.engine.connect() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}
