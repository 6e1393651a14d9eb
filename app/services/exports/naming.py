"""What a file is called, for people and for their disks, and its media type."""

from __future__ import annotations

from app.models.export_job import ExportJob, ExportKind
from app.services.exports import data
from app.services.reports import types as reports
from flask_understudy.contrib.exports import ALL_FORMATS, Format


def title_of(export: ExportJob) -> str:
    """Return what a file is called in a mail."""
    match export.kind:
        case ExportKind.REPORT:
            return reports.title_of(export)
        case ExportKind.DATA:
            return data.title_of(export)
        case ExportKind.EXPORT:
            return export.type.capitalize().replace("_", " ")


def format_of(export: ExportJob) -> Format:
    """Return the format of a file."""
    if export.kind is ExportKind.DATA:
        return data.format_of(export.format, export.entities or ())
    return ALL_FORMATS[export.format]


def file_name(export: ExportJob) -> str:
    """Return the name that a file is saved under."""
    stem = export.type.lower().replace("_", "-")
    if export.kind is ExportKind.REPORT:
        stem += "-report"
    return f"{stem}-{export.created_at:%Y-%m-%d}.{format_of(export).extension}"
