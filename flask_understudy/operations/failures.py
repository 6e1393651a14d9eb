"""Failed jobs, grouped by what went wrong, and what people decided about each group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, defer

from ..errors import JobNotFound
from ..ledger import FAILED, FailureVerdict, Job
from ..ledger.scope import EVERYTHING, Scope
from ..state import State
from .transaction import joined_session

OPEN, IGNORED, RESOLVED = "open", "ignored", "resolved"

MOST_KINDS = 200


@dataclass(frozen=True, slots=True)
class Failure:
    """Jobs that failed alike.

    Attributes:
        fingerprint: What they share.
        count: How many there are.
        first_at: When the first of them failed.
        last_at: When the latest one did.
        latest: The latest one.
        verdict: `open`, `ignored` or `resolved`.
    """

    fingerprint: str
    count: int
    first_at: datetime
    last_at: datetime
    latest: Job
    verdict: str


def groups(state: State, scope: Scope, *, verdict: str | None = OPEN, limit: int = 50) -> Sequence[Failure]:
    """Return the groups of failed jobs that are still kept, the latest first.

    Args:
        state: The application's side of the library.
        scope: Whose jobs.
        verdict: Only those; None = all.
        limit: At the most so many.
    """
    grouped = (
        select(Job.fingerprint, func.count(), func.min(Job.finished_at), func.max(Job.finished_at))
        .where(scope.of(Job), Job.state == FAILED, Job.fingerprint.is_not(None))
        .group_by(Job.fingerprint)
        .order_by(func.max(Job.finished_at).desc())
    )
    found: list[Failure] = []
    with Session(state.database.engine, expire_on_commit=False) as session:
        decided = {
            row.fingerprint: row
            for row in session.scalars(select(FailureVerdict).where(FailureVerdict.tenant == (scope.tenant or "")))
        }
        rows: Any = session.execute(grouped)
        for fingerprint, count, first_at, last_at in rows:
            row = decided.get(fingerprint)
            is_over = row is not None and row.verdict == RESOLVED and last_at > row.at
            current = OPEN if row is None or is_over else row.verdict
            if verdict is not None and current != verdict:
                continue
            latest = session.scalars(
                select(Job)
                .where(scope.of(Job), Job.state == FAILED, Job.fingerprint == fingerprint)
                .order_by(Job.finished_at.desc())
                .options(defer(Job.args), defer(Job.kwargs), defer(Job.result))
                .limit(1)
            ).one_or_none()
            if latest is not None:
                found.append(Failure(fingerprint, count, first_at, last_at, latest, current))
            if len(found) >= limit:
                break
    return found


def frequent(state: State, most: int, scope: Scope = EVERYTHING, *, verdict: str | None = OPEN) -> list[Failure]:
    """Return the most frequent groups among the latest `MOST_KINDS`.

    Args:
        state: The application's side of the library.
        most: How many at the most.
        scope: Whose jobs.
        verdict: Only those about which that was decided; None = all.
    """
    found = groups(state, scope, verdict=verdict, limit=MOST_KINDS)
    return sorted(found, key=lambda group: -group.count)[:most]


def decide(state: State, scope: Scope, fingerprint: str, verdict: str, subject: str) -> None:
    """Ignore a kind of failure for good, or take it for resolved until it happens again.

    Raises:
        JobNotFound: No job failed like that.
    """
    check(state, scope, fingerprint)
    row = FailureVerdict(
        tenant=scope.tenant or "", fingerprint=fingerprint, verdict=verdict, at=datetime.now(UTC), subject=subject
    )
    session = joined_session(state)
    if session is not None:
        session.merge(row)
        session.flush()
        return
    with Session(state.database.engine) as own:
        own.merge(row)
        own.commit()


def check(state: State, scope: Scope, fingerprint: str) -> None:
    """Refuse a fingerprint that no failed job has.

    Raises:
        JobNotFound: There is none within the scope.
    """
    query = select(Job.id).where(scope.of(Job), Job.state == FAILED, Job.fingerprint == fingerprint).limit(1)
    with Session(state.database.engine) as session:
        if session.scalar(query) is None:
            raise JobNotFound(f"No job failed with the fingerprint {fingerprint!r}.")
