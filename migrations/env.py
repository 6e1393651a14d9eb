"""Migrations of the service's tables and of the library's, in one history.

Run by ``flask db …``. On PostgreSQL an advisory lock lets one of several releases migrate while the
others wait and then find the work done. On SQLite tables are changed in batches, that is copied.

Make a new one with a PostgreSQL as DATABASE_URL: ``flask db migrate -m "what changes"``. The defaults
that it writes are then those that both databases read.
"""

from __future__ import annotations

from typing import Any

import click
import sqlalchemy as sa
from alembic import context
from sqlalchemy.types import TypeDecorator

from app.extensions import db, jobs

#: Any number will do, as long as every release takes the same one.
LOCK = 0x756E6465  # "unde"

target_metadata = [db.metadata, jobs.metadata]


def render_item(kind: str, item: Any, autogen_context: Any) -> str | bool:
    """Write plain SQLAlchemy types into migrations: those must not change with our own types."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl_instance!r}"
    return False


def drop_empty_revision(revision_context: Any, revision: Any, directives: list[Any]) -> None:
    """Make no file when nothing has changed."""
    is_generated = getattr(context.config.cmd_opts, "autogenerate", False)
    if is_generated and directives[0].upgrade_ops.is_empty():
        directives[:] = []


def configure(**how: Any) -> None:
    """Tell Alembic what it has to know, online and offline alike."""
    context.configure(
        target_metadata=target_metadata,
        compare_type=True,
        render_as_batch=True,
        render_item=render_item,
        process_revision_directives=drop_empty_revision,
        **how,
    )


def run_offline() -> None:
    """Print the SQL (``flask db upgrade --sql``)."""
    configure(url=db.engine.url, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def connect() -> sa.Connection:
    """Connect to the database, or end the command with one line that says why that cannot be done."""
    try:
        return db.engine.connect()
    except sa.exc.OperationalError as error:
        where = db.engine.url.render_as_string(hide_password=True)
        reason = " ".join(str(error.orig).split())
        raise click.ClickException(
            f"the database cannot be reached at {where}: {reason}. Is it running, and is DATABASE_URL right?"
        ) from None


def run_online() -> None:
    """Migrate the database."""
    with connect() as connection:
        configure(connection=connection)
        with context.begin_transaction():
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
            context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
