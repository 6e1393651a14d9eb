"""Exports: stream a SELECT into a file, keep the file, hand it out.

    storage = storage_at("/var/lib/app/exports")  # or s3://bucket/prefix
    stream = RowStream(connection, select(User.id, User.name), "csv", on_rows=print)
    stored = storage.save(storage.new_key(), stream)

An actor does that, or hands over the `chunks` of a `Report`; the view that hands the file out checks
`SignedLinks` and the caller's permission, and answers with `content_disposition(...)`.
"""

from .errors import (
    ExportError,
    ExportTooLarge,
    FileMissing,
    InvalidKey,
    LinkExpired,
    LinkInvalid,
    StorageUnavailable,
    UnsupportedExport,
)
from .formats import ALL_FORMATS, FORMATS, REPORT_FORMATS, Format, format_named
from .links import SignedLinks, content_disposition, safe_name
from .places import storage_at
from .report import Chart, Figure, Report, Table
from .storage import LocalStorage, Storage, StoredFile
from .stream import RowStream

__all__ = [
    "ALL_FORMATS",
    "FORMATS",
    "REPORT_FORMATS",
    "Chart",
    "ExportError",
    "ExportTooLarge",
    "Figure",
    "FileMissing",
    "Format",
    "InvalidKey",
    "LinkExpired",
    "LinkInvalid",
    "LocalStorage",
    "Report",
    "RowStream",
    "SignedLinks",
    "Storage",
    "StorageUnavailable",
    "StoredFile",
    "Table",
    "UnsupportedExport",
    "content_disposition",
    "format_named",
    "safe_name",
    "storage_at",
]
