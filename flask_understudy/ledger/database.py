"""Connections to the ledger's database, and what SQLite needs to be trusted with jobs."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection

from ..errors import ConfigError


class Database:
    """The ledger's database, seen by the library's own threads.

    Those have a small pool of their own, so that actors which hold every connection of the application cannot keep
    the worker from claiming, finishing and renewing its lease. It is made anew in a forked process.

    Args:
        engine: The application's engine; senders write through it, in their own transactions.
        connect_args: Arguments for the driver, as the application passes them.
    """

    def __init__(self, engine: Engine, connect_args: dict[str, Any] | None = None) -> None:
        if engine.dialect.name not in {"postgresql", "sqlite"}:
            raise ConfigError(
                f"The ledger runs on PostgreSQL and SQLite; the application's database is {engine.dialect.name}."
            )
        self.engine = engine
        self.connect_args = connect_args or {}
        self._own: tuple[int, Engine] | None = None
        self._lock = threading.Lock()
        if self.is_sqlite:
            harden_sqlite(engine)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite."""
        return self.engine.dialect.name == "sqlite"

    @property
    def is_in_memory(self) -> bool:
        """Whether this is an in-memory SQLite database, which only one thread can use."""
        return self.is_sqlite and self.engine.url.database in {None, "", ":memory:"}

    @property
    def own_engine(self) -> Engine:
        """The engine of the library's own threads in this process."""
        if self.is_in_memory:
            return self.engine
        with self._lock:
            if self._own is None or self._own[0] != os.getpid():
                engine = create_engine(
                    self.engine.url,
                    connect_args=self.connect_args,
                    pool_size=4,
                    max_overflow=6,
                    hide_parameters=True,
                )
                if self.is_sqlite:
                    harden_sqlite(engine)
                self._own = (os.getpid(), engine)
            return self._own[1]

    @contextmanager
    def statement(self) -> Iterator[Connection]:
        """A connection of the library on which each statement commits by itself."""
        with self.own_engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def claims(self) -> Iterator[Connection]:
        """Like `statement`, for claims: on SQLite without a sync, since losing a claim means no more than a rescue."""
        with self.statement() as connection:
            if not self.is_sqlite:
                yield connection
                return
            connection.exec_driver_sql("PRAGMA synchronous=NORMAL")
            try:
                yield connection
            finally:
                connection.exec_driver_sql("PRAGMA synchronous=FULL")

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection of the library in one transaction, committed at the end."""
        with self.own_engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close the library's own connections of this process."""
        with self._lock:
            if self._own is not None and self._own[0] == os.getpid():
                self._own[1].dispose()
            self._own = None


def harden_sqlite(engine: Engine) -> None:
    """Make a SQLite engine durable and patient: write-ahead log, a sync at each commit, 15 s of waiting for a lock.

    The driver opens transactions at the first write and reads outside of them, so a reader never blocks the worker;
    a savepoint taken before the first write opens the transaction itself, or releasing it would commit.
    """
    if event.contains(engine, "connect", _prepare_sqlite):
        return
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "savepoint", _begin_before_savepoint)


def _prepare_sqlite(connection: DBAPIConnection, _record: Any) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA busy_timeout=15000")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
    finally:
        cursor.close()


def _begin_before_savepoint(connection: Connection, _name: str) -> None:
    driver: Any = connection.connection.dbapi_connection
    if not driver.in_transaction:
        driver.execute("BEGIN IMMEDIATE")


def begin_on_sqlite(connection: Connection) -> None:
    """Open a transaction before a write that begins with WITH: SQLite's driver would let it commit by itself.

    On a connection whose statements are to commit by themselves, and on PostgreSQL, nothing is done.
    """
    if connection.dialect.name != "sqlite":
        return
    driver: Any = connection.connection.dbapi_connection
    if driver.isolation_level is not None and not driver.in_transaction:
        driver.execute("BEGIN IMMEDIATE")
