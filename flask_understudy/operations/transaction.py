"""Acting beside the caller's own changes: in its transaction when that has uncommitted writes, else in one of our own.

The same rule as for sends, for the same reasons: what belongs together is committed together, and SQLite's single
writer never waits for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import current_app, has_app_context
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from .. import joining
from ..ledger import Job
from ..state import KEY, State


def joined_session(state: State) -> Session | None:
    """Return the application's session when its transaction is to be joined, else None."""
    if not has_app_context() or current_app.extensions.get(KEY) is not state:
        return None
    session: Session = state.db.session()
    return session if joining.has_uncommitted_writes(session) else None


@contextmanager
def reading(state: State) -> Iterator[Session]:
    """The application's session where the caller's changes are to be seen, else one of our own."""
    joined = joined_session(state)
    if joined is not None:
        yield joined
        return
    with Session(state.database.engine) as session:
        yield session


@contextmanager
def transaction(state: State) -> Iterator[Connection]:
    """A connection to act on; an exception undoes what was done on it, and nothing else."""
    session = joined_session(state)
    if session is None:
        with state.database.engine.begin() as connection:
            yield connection
        return
    connection = session.connection(bind_arguments={"mapper": Job})
    with connection.begin_nested():
        yield connection


@contextmanager
def committed_or_joined(state: State) -> Iterator[Session]:
    """The application's session: its transaction is left to a caller that has written in it, else committed here."""
    session: Session = state.db.session()
    if joining.has_uncommitted_writes(session):
        yield session
        return
    try:
        with joining.joined(session):
            yield session
        session.commit()
    except BaseException:
        session.rollback()
        raise


def after_commit(state: State, then: Callable[[], None]) -> None:
    """Do something once what was done is committed: now, or after the caller's commit."""
    session = joined_session(state)
    if session is None:
        then()
    else:
        joining.after_commit(session, [], then)
