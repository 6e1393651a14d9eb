"""Where the files are, how one is written, and the link it is fetched by."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import current_app

from app.extensions import db
from app.models.export_job import ExportJob, ExportKind, ExportType
from app.services.exports.types import Owner, query_of
from flask_understudy.contrib.exports import (
    ALL_FORMATS,
    Format,
    RowStream,
    SignedLinks,
    Storage,
    StorageUnavailable,
    StoredFile,
    storage_at,
)

log = logging.getLogger("app.exports")

#: What users read while the storage fails; why it does is for the log.
UNREACHABLE = "The storage of files could not be reached."

#: How long a link to the bucket works, to which a download is sent on.
SENT_ON_FOR = dt.timedelta(minutes=1)

#: Several tables in one file.
ARCHIVE = Format("csv", "zip", "application/zip")

#: Rows between two reports of progress.
EVERY_ROWS = 5_000


def storage() -> Storage:
    """Return where the files are: ``EXPORT_STORAGE_URL``, else ``EXPORT_DIR``, else ``exports`` in the instance folder.

    Raises:
        UnsupportedExport: The URL names no storage.
    """
    config = current_app.config
    url = config["EXPORT_STORAGE_URL"] or config["EXPORT_DIR"] or Path(current_app.instance_path, "exports")
    return storage_at(url, max_bytes=config["EXPORT_MAX_BYTES"])


def format_of(export: ExportJob) -> Format:
    """Return the format of a file; tables of several entities are an archive."""
    if export.kind is ExportKind.DATA and export.format == "csv" and len(export.entities or ()) > 1:
        return ARCHIVE
    return ALL_FORMATS[export.format]


def name_of(export: ExportJob) -> str:
    """Return the name that a download is saved under."""
    stem = export.type.lower().replace("_", "-")
    if export.kind is ExportKind.REPORT:
        stem += "-report"
    return f"{stem}-{export.created_at:%Y-%m-%d}.{format_of(export).extension}"


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


def page_of(export: ExportJob) -> str:
    """Return the page where a person signs in and fetches a file."""
    return f"/exports?file={export.id}"


def elsewhere(export: ExportJob) -> str | None:
    """Return the bucket's own link to a file, where downloads are to be sent on and the storage has one.

    Raises:
        FileMissing: The file is gone.
        StorageUnavailable: The storage does not answer.
    """
    if not current_app.config["EXPORT_REDIRECT"] or export.file_key is None:
        return None
    return storage().link(export.file_key, SENT_ON_FOR, name_of(export), format_of(export).media_type)


def check_link(export: ExportJob, token: str) -> None:
    """Let a link pass that was signed for this export.

    Raises:
        LinkExpired: It is too old.
        LinkInvalid: It is not ours, or for another export or person.
    """
    links().check(token, tenant=export.tenant_id, export=export.id, user=export.user_id)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a file: what is wanted, and the key and name it is kept under."""

    export_id: str
    owner: Owner
    type: str
    filters: dict[str, Any]
    format: str
    key: str
    name: str
    media_type: str
    entities: tuple[str, ...] = ()


def save(attempt: Attempt, chunks: Iterable[bytes]) -> StoredFile:
    """Write a file under an attempt's key and name, piece by piece.

    Raises:
        StorageUnavailable: The storage does not take it; what the content itself raises comes as it is.
    """
    faults: list[Exception] = []

    def pieces() -> Iterator[bytes]:
        try:
            yield from chunks
        except Exception as error:
            faults.append(error)
            raise

    with reaching(faults):
        return storage().save(attempt.key, pieces(), filename=attempt.name, media_type=attempt.media_type)


@contextlib.contextmanager
def reaching(faults: Sequence[Exception] = ()) -> Iterator[None]:
    """Put a plain `StorageUnavailable` in the place of what a storage says, and that into the log.

    Args:
        faults: What is not the storage's, and let through.
    """
    try:
        yield
    except OSError as error:
        if error in faults:
            raise
        log.error("the storage of files fails: %s: %s", type(error).__name__, error)
        raise StorageUnavailable(UNREACHABLE) from None


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
        stored = save(attempt, stream)
    return stored, stream.rows


def reader() -> sa.Connection:
    """Return a connection of its own, on which everything is read as of one moment."""
    connection = db.engine.connect()
    if connection.dialect.name == "postgresql":
        connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return connection
