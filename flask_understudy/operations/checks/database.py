"""The ledger's database: whether it answers, is migrated, and keeps the same time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from ...ledger.statements import run
from ...state import State
from ..tables import gaps, remedy
from ..wording import reason_of
from .finding import ERROR, NOTE, OK, WARNING, Finding

MOST_SKEW_SECONDS = 2.0
LOCK_MS = 1000

CLOCK = "SELECT <ms:clock.at> FROM (SELECT <now> AS at) AS clock"


def reachable(state: State) -> Iterator[Finding]:
    """Look whether it answers, and what it is."""
    where = state.database.engine.url.render_as_string(hide_password=True)
    began = time.monotonic()
    try:
        with state.database.engine.connect() as connection:
            query = "SELECT sqlite_version()" if state.database.is_sqlite else "SHOW server_version"
            version = connection.scalar(text(query))
    except Exception as problem:
        hint = "Is it running, and is its URL (DATABASE_URL) right? Does a firewall stand between?"
        yield Finding(ERROR, f"{where} does not answer: {reason_of(problem)}", hint)
        return
    kind = "SQLite" if state.database.is_sqlite else "PostgreSQL"
    yield Finding(OK, f"{kind} {version} answered in {(time.monotonic() - began) * 1000:.0f} ms")
    if state.database.is_in_memory:
        yield Finding(ERROR, "it is in memory, which no worker can share", "Use a file: sqlite:////path/to/file.db")


def clock(state: State) -> Iterator[Finding]:
    """Compare its clock with this host's."""
    with state.database.engine.connect() as connection:
        before = time.time()
        theirs = int(run(connection, CLOCK).scalar_one()) / 1000
        ours = (before + time.time()) / 2
    yield skew("the database", theirs - ours)


def skew(whose: str, seconds: float) -> Finding:
    """Return what there is to say about a clock that is so many seconds ahead of this host's."""
    if abs(seconds) <= MOST_SKEW_SECONDS:
        return Finding(OK, f"{whose} and this host differ by {abs(seconds):.1f} s")
    direction = "ahead of" if seconds > 0 else "behind"
    remedy = "Let NTP set both clocks. Jobs go by the database's, times that clients compute by their own."
    return Finding(WARNING, f"{whose} is {abs(seconds):.0f} s {direction} this host", remedy)


def sqlite_file(state: State) -> Iterator[Finding]:
    """Look whether the file can be written, and has a write-ahead log."""
    name = state.database.engine.url.database
    if not state.database.is_sqlite or not name or state.database.is_in_memory:
        return
    path = Path(name)
    if not os.access(path, os.W_OK) or not os.access(path.resolve().parent, os.W_OK):
        yield Finding(ERROR, f"{path} or its folder cannot be written", "Change the owner of both.")
        return
    with state.database.engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={LOCK_MS}")
        journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            connection.exec_driver_sql("ROLLBACK")
            locked = ""
        except Exception as problem:
            locked = reason_of(problem)
        connection.invalidate()  # it waits for locks less than others should
    if locked:
        yield Finding(WARNING, f"nobody can write: {locked}", "Find the process that holds a transaction open.")
    if str(journal).lower() != "wal":
        yield Finding(WARNING, f"its journal is {journal}, not WAL: readers and writers wait", "Use a local disk.")
    elif not locked:
        yield Finding(OK, f"{path} can be written, with a write-ahead log")


def migrations(state: State) -> Iterator[Finding]:
    """Look whether the application's migrations are applied."""
    migrate = state.app.extensions.get("migrate")
    directory = getattr(migrate, "directory", None)
    if directory is None or not (Path(directory) / "env.py").exists():
        yield Finding(NOTE, "the application has no migrations (Flask-Migrate)", f"Tables are made by {remedy()}.")
        return
    heads = set(ScriptDirectory(str(directory)).get_heads())
    with state.database.engine.connect() as connection:
        present = set(MigrationContext.configure(connection).get_current_heads())
    if len(heads) > 1:
        yield Finding(ERROR, f"there are {len(heads)} heads: {', '.join(sorted(heads))}", "Run: flask db merge heads")
    elif present != heads:
        at = ", ".join(sorted(present)) or "none"
        yield Finding(ERROR, f"the database is at {at}; this release needs {', '.join(heads)}", f"Run: {remedy()}")
    else:
        yield Finding(OK, f"at {', '.join(sorted(heads))}, the newest")


def tables(state: State) -> Iterator[Finding]:
    """Look whether the ledger's tables and columns are there."""
    missing = gaps(state)
    if missing:
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        yield Finding(ERROR, f"{missing[0]}{more}", f"Run: {remedy()}")
    else:
        yield Finding(OK, "the ledger has all its tables and columns")
