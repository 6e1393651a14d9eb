"""The reports there are: ordering one, and composing it from the organisation's rows (A42 to A44)."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app.extensions import db
from app.models.base import utcnow
from app.models.contractor import Contractor
from app.models.export_job import ExportJob, ExportKind
from app.models.station import Station
from app.models.tenant import Tenant
from app.services.exports import files, lifecycle
from app.services.exports.checking import check_address, check_format, check_one_of, checked, owner_of, refused, stored
from app.services.reports import audits, compliance, incidents, permits
from app.services.reports.filters import AuditFilters, ComplianceFilters, Filters, IncidentFilters, PermitFilters
from app.services.reports.scope import Scope
from flask_understudy.contrib.exports import REPORT_FORMATS, Report


class ReportType(enum.StrEnum):
    """What is reported on."""

    AUDITS = "audits"
    INCIDENTS = "incidents"
    WORK_PERMITS = "work-permits"
    COMPLIANCE = "compliance"


@dataclass(frozen=True, slots=True)
class _Kind:
    """One report: its title, its filters, and the module that counts."""

    title: str
    filters: type[Filters]
    parts: Any


_KINDS: dict[str, _Kind] = {
    ReportType.AUDITS: _Kind("Audits", AuditFilters, audits),
    ReportType.INCIDENTS: _Kind("Incidents", IncidentFilters, incidents),
    ReportType.WORK_PERMITS: _Kind("Work permits", PermitFilters, permits),
    ReportType.COMPLIANCE: _Kind("Compliance", ComplianceFilters, compliance),
}


def order(
    *,
    type: str,
    organization_id: str,
    filters: Mapping[str, Any] | None,
    format: str,
    user_id: str | None,
    notify_email: str | None,
    once_key: str | None = None,
) -> ExportJob:
    """Add a report to the caller's transaction, PENDING.

    Raises:
        Problem: 422 naming what cannot be had, and what can.
    """
    check_one_of("/type", "report", type, tuple(ReportType))
    check_format(format, REPORT_FORMATS)
    kind = _KINDS[type]
    chosen = checked(kind.filters, f"the report {type}", {} if filters is None else filters)
    check_address(notify_email)
    owner = owner_of(organization_id, user_id)
    _check_places(organization_id, chosen)
    return lifecycle.add(
        kind=ExportKind.REPORT,
        tenant_id=organization_id,
        user_id=owner,
        type=type,
        format=format,
        filters=stored(chosen.bounded(utcnow().date())),
        notify_email=notify_email,
        once_key=once_key,
    )


def title_of(report: ExportJob) -> str:
    """Return what a report is called, with its days."""
    return f"{_KINDS[report.type].title}, {_days(report.filters)}"


def compose(attempt: files.Attempt, on_stage: Callable[[float, str], object]) -> Report:
    """Count, all of it as of one moment.

    Args:
        attempt: What is wanted.
        on_stage: Told how far it is, in percent, and what was done.
    """
    kind, now = _KINDS[attempt.type], utcnow()
    chosen = kind.filters.model_validate(attempt.filters)
    tenant_id = attempt.owner.tenant_id
    with files.reader() as connection:
        scope = Scope(connection, tenant_id, chosen, now.date())
        name = connection.scalar(sa.select(Tenant.name).filter_by(id=tenant_id))
        figures = kind.parts.figures(scope)
        on_stage(20, "The figures are counted")
        charts = kind.parts.charts(scope)
        on_stage(35, "The charts are counted")
        tables = kind.parts.tables(scope)
        narrowed = _narrowed(scope)
    on_stage(50, "The tables are read")
    subtitle = ", ".join([str(name), _days(attempt.filters), *narrowed])
    return Report(kind.title, subtitle, now, figures, charts, tables)


def _days(filters: Mapping[str, Any]) -> str:
    return f"{filters['dateFrom']} to {filters['dateTo']}"


def _narrowed(scope: Scope) -> list[str]:
    """Return what else the rows were chosen by, in words."""
    words = []
    for model, id_ in _places(scope.filters):
        words.append(str(scope.connection.scalar(sa.select(model.name).filter_by(id=id_, tenant_id=scope.tenant_id))))
    for field in ("status", "severity"):
        if (value := getattr(scope.filters, field, None)) is not None:
            words.append(f"{field} {value}")
    return words


def _places(chosen: Any) -> list[tuple[Any, str]]:
    named = ((Station, chosen.station_id), (Contractor, getattr(chosen, "contractor_id", None)))
    return [(model, id_) for model, id_ in named if id_ is not None]


def _check_places(tenant_id: str, chosen: Filters) -> None:
    for model, id_ in _places(chosen):
        if db.session.scalar(sa.select(model.id).filter_by(id=id_, tenant_id=tenant_id)) is None:
            what = model.__name__.lower()
            raise refused(f"/filters/{what}Id", f"{id_!r} is no {what} of the organisation.")
