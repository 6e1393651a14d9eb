"""Exports: stream a SELECT into a file, keep the file, hand it out.

    stream = RowStream(connection, select(User.id, User.name), "csv", on_rows=print)
    stored = LocalStorage("/var/lib/app/exports").save(LocalStorage.new_key(), stream)

An actor does that; the view that hands the file out checks `SignedLinks` and the caller's
permission, and answers with `content_disposition(...)`.
"""

from .errors import (
    ExportError,
    ExportTooLarge,
    FileMissing,
    InvalidKey,
    LinkExpired,
    LinkInvalid,
    UnsupportedExport,
)
from .formats import ALL_FORMATS, FORMATS, REPORT_FORMATS, Format
from .links import SignedLinks, content_disposition, safe_name
from .report import Chart, Figure, Report, Table
from .storage import LocalStorage, StoredFile
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
    "StoredFile",
    "Table",
    "UnsupportedExport",
    "content_disposition",
    "safe_name",
]
