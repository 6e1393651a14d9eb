"""What a file is called where people read of it."""

from __future__ import annotations

from app.models.export_job import ExportJob, ExportKind
from app.services.exports import data
from app.services.reports import types as reports


def title_of(export: ExportJob) -> str:
    """Return what a file is called in a mail."""
    match export.kind:
        case ExportKind.REPORT:
            return reports.title_of(export)
        case ExportKind.DATA:
            return data.title_of(export)
        case ExportKind.EXPORT:
            return export.type.capitalize().replace("_", " ")
