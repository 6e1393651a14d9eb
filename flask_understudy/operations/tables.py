"""What the database lacks of the ledger, and how it is made."""

from __future__ import annotations

from flask import current_app
from sqlalchemy import inspect

from ..ledger import metadata
from ..state import State

UPGRADE = "flask db upgrade"
CREATE = "jobs.metadata.create_all(db.engine) in an application context"


def gaps(here: State) -> list[str]:
    """Return what the database lacks of the ledger: tables and columns, in words."""
    with here.database.engine.connect() as connection:
        inspector = inspect(connection)
        present = set(inspector.get_table_names())
        found = [f"the table {name} is missing" for name in sorted(set(metadata.tables) - present)]
        for name, table in sorted(metadata.tables.items()):
            if name in present:
                columns = {column["name"] for column in inspector.get_columns(name)}
                found += [f"the column {name}.{c.name} is missing" for c in table.columns if c.name not in columns]
    return found


def remedy() -> str:
    """Return how this application's tables are made."""
    return UPGRADE if "migrate" in current_app.extensions else CREATE
