"""An organisation's data: which entities, and the file they stand in (requirements A45, A46).

As JSON, one object with an array for each entity. As CSV, a table for each: the plain file for one entity, an archive
for several. Rows go from the database into the file as they come; nothing is kept whole.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from app.models.audit import Audit
from app.models.contractor import Contractor
from app.models.export_job import ExportJob, ExportKind
from app.models.incident import Incident
from app.models.station import Station
from app.models.user import User
from app.models.work_permit import WorkPermit
from app.services.exports import files, lifecycle
from app.services.exports.checking import check_address, check_format, check_one_of, owner_of, refused
from flask_understudy.contrib.exports import FORMATS, RowStream, StoredFile

TYPE = "data"
DATA_FORMATS = {name: FORMATS[name] for name in ("json", "csv")}
#: Entities that a title names.
NAMED = 3

#: The columns of each entity; no password and no digest of one is among them.
ENTITIES: dict[str, tuple[Any, ...]] = {
    "stations": (Station.id, Station.name, Station.region, Station.opened_on, Station.closed_on, Station.created_at),
    "audits": (
        Audit.id,
        Audit.station_id,
        Audit.title,
        Audit.status,
        Audit.due_on,
        Audit.completed_on,
        Audit.score,
        Audit.created_at,
    ),
    "incidents": (
        Incident.id,
        Incident.station_id,
        Incident.title,
        Incident.description,
        Incident.severity,
        Incident.status,
        Incident.reported_by,
        Incident.created_at,
    ),
    "work-permits": (
        WorkPermit.id,
        WorkPermit.number,
        WorkPermit.station_id,
        WorkPermit.contractor_id,
        WorkPermit.work,
        WorkPermit.status,
        WorkPermit.starts_on,
        WorkPermit.ends_on,
        WorkPermit.closed_on,
        WorkPermit.created_at,
    ),
    "contractors": (
        Contractor.id,
        Contractor.name,
        Contractor.email,
        Contractor.trade,
        Contractor.certified_until,
        Contractor.created_at,
    ),
    "users": (User.id, User.email, User.name, User.role, User.email_verified_at, User.created_at),
}

Checks = Callable[[], object]
Told = Callable[[float, str], object]


def order(
    *,
    organization_id: str,
    entities: Sequence[str],
    format: str,
    user_id: str | None,
    notify_email: str | None,
) -> ExportJob:
    """Add an export of an organisation's data to the caller's transaction, PENDING.

    Raises:
        Problem: 422 naming what cannot be had, and what can.
    """
    check_format(format, DATA_FORMATS)
    if isinstance(entities, str) or not isinstance(entities, Sequence) or not entities:
        raise refused("/entities", f"takes a list of some of {', '.join(ENTITIES)}")
    for number, entity in enumerate(entities):
        check_one_of(f"/entities/{number}", "entity", entity, ENTITIES)
        if entity in entities[:number]:
            raise refused(f"/entities/{number}", f"{entity!r} is there twice")
    check_address(notify_email)
    return lifecycle.add(
        kind=ExportKind.DATA,
        tenant_id=organization_id,
        user_id=owner_of(organization_id, user_id),
        type=TYPE,
        format=format,
        entities=list(entities),
        notify_email=notify_email,
    )


def title_of(export: ExportJob) -> str:
    """Return what an export is called."""
    entities = export.entities or []
    more = len(entities) - NAMED
    return f"Data: {', '.join(entities[:NAMED])}" + (f" and {more} more" if more > 0 else "")


def write(attempt: files.Attempt, on_progress: Told, check: Checks) -> tuple[StoredFile, int]:
    """Write a file under its key; return it and its number of rows.

    Args:
        attempt: What is wanted.
        on_progress: Told the percentage and the rows so far.
        check: Called now and then; what it raises ends the writing, and nothing is kept.
    """
    with files.reader() as connection:
        queries = {entity: _query(entity, attempt.owner.tenant_id) for entity in attempt.entities}
        total = sum(
            connection.scalar(sa.select(sa.func.count()).select_from(query.order_by(None).subquery())) or 0
            for query in queries.values()
        )
        done = 0

        def streams() -> Iterator[tuple[str, RowStream]]:
            nonlocal done
            for entity, query in queries.items():

                def report(rows: int, before: int = done) -> None:
                    on_progress(min(99.0, 100 * (before + rows) / max(total, 1)), f"{before + rows} of {total} rows")

                stream = RowStream(
                    connection, query, attempt.format, on_rows=report, every=files.EVERY_ROWS, check=check
                )
                yield entity, stream
                done += stream.rows

        tables = _archive if len(attempt.entities) > 1 else _table
        stored = files.save(attempt, (_object if attempt.format == "json" else tables)(streams()))
    return stored, done


def _query(entity: str, tenant_id: str) -> sa.Select[Any]:
    columns = ENTITIES[entity]
    model = columns[0].class_
    return sa.select(*columns).where(model.tenant_id == tenant_id).order_by(model.created_at, model.id)


def _object(streams: Iterator[tuple[str, RowStream]]) -> Iterator[bytes]:
    for number, (entity, stream) in enumerate(streams):
        yield f'{"," if number else "{"}"{entity}":'.encode()
        yield from stream
    yield b"}\n"


def _table(streams: Iterator[tuple[str, RowStream]]) -> Iterator[bytes]:
    for _, stream in streams:
        yield from stream


def _archive(streams: Iterator[tuple[str, RowStream]]) -> Iterator[bytes]:
    written = _Written()
    with zipfile.ZipFile(written, "w") as archive:  # type: ignore[call-overload]
        for entity, stream in streams:
            info = zipfile.ZipInfo(f"{entity}.csv")
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as file:
                for chunk in stream:
                    file.write(chunk)
                    yield written.taken()
    yield written.taken()


class _Written:
    """What an archive writes to that is handed on in pieces and never read again."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None: ...

    def taken(self) -> bytes:
        pieces = b"".join(self._pieces)
        self._pieces.clear()
        return pieces
