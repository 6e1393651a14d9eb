"""Joining the caller's transaction: a job sent beside uncommitted writes exists exactly when they do.

With uncommitted writes on `db.session` the job's row is written through the same connection, and told to the transport
after the outermost commit. Without any it is written and committed at once on a connection of its own, so a route that
only reads never loses a job, and SQLite's single writer never waits for itself.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from .ledger.transitions import NewJob

logger = logging.getLogger("flask_understudy")

_WROTE = "understudy_wrote"
_CONNECTION = "understudy_connection"
_PENDING = "understudy_pending"
_JOINED = "understudy_joined"

_watched: WeakSet[Any] = WeakSet()

_WRITES = re.compile(
    r"\s*(?:insert|update|delete|merge|replace|copy|create|alter|drop|truncate|call|do)\b"
    r"|\s*with\b.*\b(?:insert\s+into|update|delete\s+from|merge\s+into)\b",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(slots=True)
class _Pending:
    transaction: SessionTransaction | None
    jobs: Sequence[NewJob]
    committed: Callable[[], None]


def watch(session: scoped_session[Any], engine: Engine) -> None:
    """Follow an application's session and its engine; doing so twice is harmless."""
    factory = session.session_factory
    if not event.contains(engine, "after_cursor_execute", _note_write):
        event.listen(engine, "after_cursor_execute", _note_write)
        event.listen(engine, "commit", _forget_write)
        event.listen(engine, "rollback", _forget_write)
    if factory not in _watched:  # `event.contains` may mean an earlier factory at the same address
        _watched.add(factory)
        event.listen(factory, "after_begin", _after_begin)
        event.listen(factory, "after_commit", _after_commit)
        event.listen(factory, "after_transaction_end", _after_end)


def has_uncommitted_writes(session: Session) -> bool:
    """Whether the session holds changes, its connection has written since its transaction began, or it is `joined`."""
    if session.info.get(_JOINED):
        return True
    return has_changes(session)


def has_changes(session: Session) -> bool:
    """Whether the session holds changes, or its connection has written since its transaction began."""
    if session.new or session.deleted or session.dirty:
        return True
    connection = session.info.get(_CONNECTION)
    return connection is not None and not connection.closed and bool(connection.info.get(_WROTE))


@contextmanager
def joined(session: Session) -> Iterator[None]:
    """Let jobs that are sent within the block join the session's transaction, whatever else it holds."""
    session.info[_JOINED] = True
    try:
        yield
    finally:
        session.info.pop(_JOINED, None)


def after_commit(session: Session, jobs: Sequence[NewJob], committed: Callable[[], None]) -> None:
    """Call `committed` after the outermost commit of the session's transaction; not when it rolls back."""
    transaction = session.get_nested_transaction() or session.get_transaction()
    session.info.setdefault(_PENDING, []).append(_Pending(transaction, jobs, committed))


def _note_write(connection: Connection, _cursor: Any, statement: str, _params: Any, context: Any, _many: bool) -> None:
    if connection.info.get(_WROTE):
        return
    if context.isinsert or context.isupdate or context.isdelete or _WRITES.match(statement):
        connection.info[_WROTE] = True


def _forget_write(connection: Connection) -> None:
    if not connection.invalidated:  # a lost connection has nothing to tell, and asking it would fail the rollback
        connection.info.pop(_WROTE, None)


def _after_begin(session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    session.info[_CONNECTION] = connection


def _after_commit(session: Session) -> None:
    pending: list[_Pending] = session.info.get(_PENDING, [])
    nested = session.get_nested_transaction()
    if nested is not None:  # a savepoint was released: its jobs now depend on what is around it
        for entry in pending:
            if entry.transaction is nested:
                entry.transaction = nested.parent
        return
    session.info.pop(_PENDING, None)
    session.info.pop(_CONNECTION, None)
    for entry in pending:
        try:
            entry.committed()
        except Exception:
            logger.exception("Jobs were committed and could not be announced; workers find them in the ledger.")


def _after_end(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(_CONNECTION, None)
    pending: list[_Pending] = session.info.get(_PENDING, [])
    gone = [entry for entry in pending if transaction.parent is None or entry.transaction is transaction]
    _drop(session, gone)


def _drop(session: Session, gone: Sequence[_Pending]) -> None:
    if not gone:
        return
    ids = [job.id for entry in gone for job in entry.jobs]
    if ids:
        logger.info(
            "%d jobs do not exist, as the transaction they were sent in was not committed: %s",
            len(ids),
            ", ".join(ids[:10]),
        )
    session.info[_PENDING] = [entry for entry in session.info[_PENDING] if entry not in gone]
