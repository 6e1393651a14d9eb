"""Whether the database has the tables that this release was written for."""

from __future__ import annotations

import functools
from pathlib import Path

import sqlalchemy as sa
from alembic.script import ScriptDirectory

from app.extensions import db, migrate

REMEDY = "run: flask db upgrade"


def problem() -> str | None:
    """Return what is wrong with the database and what to do about it; None when nothing is."""
    try:
        with db.engine.connect() as connection:
            present = _present(connection)
    except sa.exc.OperationalError as error:
        return f"the database cannot be reached: {error.orig}"
    needed = _heads(migrate.directory)
    if present == needed:
        return None
    if not present:
        return f"the database has no tables; {REMEDY}"
    return (
        f"the database is at migration {', '.join(sorted(present))} and this release needs "
        f"{', '.join(sorted(needed))}; {REMEDY}"
    )


def _present(connection: sa.Connection) -> set[str]:
    if not sa.inspect(connection).has_table("alembic_version"):
        return set()
    return set(connection.scalars(sa.text("SELECT version_num FROM alembic_version")))


@functools.cache
def _heads(directory: str) -> frozenset[str]:
    return frozenset(ScriptDirectory(str(Path(directory))).get_heads())
