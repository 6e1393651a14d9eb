"""Where the files are, how one is written, and the link it is fetched by."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import current_app

from app.extensions import db
from app.models.export_job import ExportJob, ExportType
from app.services.exports.types import Owner, query_of
from flask_understudy.contrib.exports import LocalStorage, RowStream, SignedLinks, StoredFile

#: Rows between two reports of progress.
EVERY_ROWS = 5_000


def storage() -> LocalStorage:
    """Return the folder of the files: ``EXPORT_DIR``, else ``exports`` in the instance folder."""
    folder = current_app.config["EXPORT_DIR"] or Path(current_app.instance_path, "exports")
    return LocalStorage(folder, max_bytes=current_app.config["EXPORT_MAX_BYTES"])


def kept_for() -> dt.timedelta:
    """Return how long a file is kept."""
    return dt.timedelta(days=current_app.config["EXPORT_KEEP_DAYS"])


def links() -> SignedLinks:
    """Return the signer of download links; keys that rotate out are still accepted."""
    earlier = current_app.config.get("SECRET_KEY_FALLBACKS") or []
    return SignedLinks([*earlier, current_app.config["SECRET_KEY"]])


def signed_url(export: ExportJob) -> str | None:
    """Return the path the file is fetched from, signed for a quarter of an hour; None without a file."""
    if export.file_url is None:
        return None
    token = links().sign(tenant=export.tenant_id, export=export.id, user=export.user_id)
    return f"{export.file_url}?token={token}"


def check_link(export: ExportJob, token: str) -> None:
    """Let a link pass that was signed for this export.

    Raises:
        LinkExpired: It is too old.
        LinkInvalid: It is not ours, or for another export or person.
    """
    links().check(token, tenant=export.tenant_id, export=export.id, user=export.user_id)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a file: what is wanted, and the key it is written under."""

    export_id: str
    owner: Owner
    type: str
    filters: dict[str, Any]
    format: str
    key: str
    entities: tuple[str, ...] = ()


def write(
    attempt: Attempt,
    on_progress: Callable[[float, str], object],
    check: Callable[[], object],
) -> tuple[StoredFile, int]:
    """Write a file under its key; return it and its number of rows.

    Args:
        attempt: What is wanted.
        on_progress: Told the percentage and the rows so far.
        check: Called now and then; what it raises ends the writing, and nothing is kept.
    """
    query = query_of(ExportType(attempt.type), attempt.owner, attempt.filters)
    with reader() as connection:
        total = connection.scalar(sa.select(sa.func.count()).select_from(query.order_by(None).subquery())) or 0

        def report(rows: int) -> None:
            on_progress(min(99.0, 100 * rows / max(total, 1)), f"{rows} of {total} rows")

        title = attempt.type.replace("_", " ").capitalize()
        stream = RowStream(
            connection, query, attempt.format, title=title, on_rows=report, every=EVERY_ROWS, check=check
        )
        stored = storage().save(attempt.key, stream)
    return stored, stream.rows


def reader() -> sa.Connection:
    """Return a connection of its own, on which everything is read as of one moment."""
    connection = db.engine.connect()
    if connection.dialect.name == "postgresql":
        connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return connection
