"""Reopening failed and cancelled jobs, many in one statement (T11)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from ..ledger import CANCELLED, FAILED, Job, transitions
from ..ledger.filter import Filter
from ..ledger.scope import EVERYTHING, Scope
from ..ledger.search import Search
from ..ledger.transitions import Due
from ..state import State
from .jobs import announce, attempts_of
from .queues import check
from .transaction import after_commit, transaction

BATCH = 500


def reopen(state: State, connection: Connection, found: Sequence[Job], message: str) -> list[Due]:
    """Reopen those of the jobs that failed or were cancelled, and return them, to be announced after the commit.

    Of those that share a dedup key the first is reopened; one whose live twin holds its key stays as it is.

    Args:
        state: The application's side of the library.
        connection: In a transaction.
        found: The jobs.
        message: For the timeline of each.
    """
    chosen: dict[tuple[str, ...], Job] = {}
    for job in found:
        if job.state in {FAILED, CANCELLED}:
            chosen.setdefault((job.id,) if job.dedup_key is None else (job.tenant, job.dedup_key), job)
    attempts = {job.id: attempts_of(state, job) for job in chosen.values()}
    try:
        with connection.begin_nested():
            due = transitions.reopen(connection, attempts, fair=state.config.fair)
    except IntegrityError:  # the twin of one was accepted at this very moment
        due = []
        for id, n in attempts.items():
            try:
                with connection.begin_nested():
                    due += transitions.reopen(connection, {id: n}, fair=state.config.fair)
            except IntegrityError:
                continue
    transitions.record_event(connection, [job.id for job in due], "retried", message)
    return due


def retry_failed(state: State, name: str, scope: Scope = EVERYTHING, *, newer_than: timedelta | None = None) -> int:
    """Reopen the failed jobs of a queue (O01); return how many. One whose live twin holds its key stays failed.

    Args:
        state: The application's side of the library.
        name: The queue.
        scope: Whose jobs may be touched.
        newer_than: Only jobs that were sent within this time; None = all that are kept.

    Raises:
        InvalidJob: No queue has the name.
    """
    check(state, name)
    sent_after = None if newer_than is None else datetime.now(UTC) - newer_than
    wanted = Filter(states=(FAILED,), queues=(name,), created_after=sent_after)
    search = Search(state.database, scope, wanted, newest_first=False)
    reopened, after = 0, None
    while True:
        page = search.page(BATCH, after)
        with transaction(state) as connection:
            due = reopen(state, connection, page.jobs, "Reopened after failed")
        after_commit(state, lambda due=due: announce(state, due))  # type: ignore[misc]
        reopened += len(due)
        after = page.after
        if after is None:
            return reopened
