"""Counting and acting on the count while nobody else does: transactions that hold locks by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from .statements import run

LOCK = """
SELECT pg_advisory_xact_lock(hashtextextended(name, 1685)) FROM unnest(CAST(:names AS text[])) AS name"""


def lock(connection: Connection, names: Iterable[str]) -> None:
    """Take locks for the rest of a transaction of the caller's; on SQLite there is only one that writes."""
    if connection.dialect.name == "postgresql":
        run(connection, LOCK, names=sorted(names)).close()


@contextmanager
def locked(connection: Connection, names: Iterable[str]) -> Iterator[None]:
    """One transaction in which nobody else holds a lock of these names; sorted, so that no two wait crosswise.

    Args:
        connection: On which each statement commits by itself otherwise. On SQLite its transaction is the only one.
        names: The locks.
    """
    is_postgresql = connection.dialect.name == "postgresql"
    connection.exec_driver_sql("BEGIN" if is_postgresql else "BEGIN IMMEDIATE")
    try:
        lock(connection, names)
        yield
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")
