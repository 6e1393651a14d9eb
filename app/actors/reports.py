"""Reports in the background: one that somebody asked for, and each organisation's of the week."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from app.extensions import db, jobs
from app.models.base import utcnow
from app.models.export_job import ExportJob
from app.models.tenant import Tenant
from app.services import accounts
from app.services.exports import files, lifecycle
from app.services.exports.carrying import PERMANENT, carry_out
from app.services.reports import types
from flask_understudy import current_job
from flask_understudy.contrib.api import Problem
from flask_understudy.contrib.exports import StoredFile

log = logging.getLogger("app.reports")

QUEUE = "reports"
SUNDAY_MIDNIGHT = "0 0 * * 0"


@jobs.actor(
    queue_name=QUEUE, actor_name="report:generate", max_retries=2, time_limit=300_000, fallback="hold", throws=PERMANENT
)
def generate_report(report_id: str) -> dict[str, Any]:
    """Count what a report is about, and write its file.

    Three tries (D11). The result has the figures (A25). Run again after its end, it does nothing.
    """
    figures: dict[str, Any] = {}

    def stage(percent: float, message: str) -> None:
        current_job.progress(percent, message)
        current_job.check_cancelled()

    def write(attempt: files.Attempt) -> tuple[StoredFile, None]:
        report = types.compose(attempt, stage)
        figures.update({figure.label: figure.value for figure in report.figures})
        return files.save(attempt, report.chunks(attempt.format)), None

    done = carry_out(report_id, write)
    if done["skipped"]:
        return {"report": report_id, "skipped": True}
    current_job.progress(100, "The file is written")
    return {"report": report_id, "figures": figures, "size": done["size"], "skipped": False}


def queue_report(
    *,
    type: str,
    organization_id: str,
    filters: Mapping[str, Any] | None = None,
    format: str = "json",
    user_id: str | None = None,
    notify_email: str | None = None,
    priority: int | None = None,
    once_key: str | None = None,
) -> ExportJob:
    """Store a report and its job (A42).

    It joins the caller's transaction when that has uncommitted writes, and else is committed at once.

    Args:
        type: ``audits``, ``incidents``, ``work-permits`` or ``compliance`` (A43).
        organization_id: Whose rows it counts.
        filters: ``dateFrom`` and ``dateTo``, default a year up to today, ``stationId``, and those of the type.
        format: ``json``, ``csv``, ``pdf`` or ``xlsx`` (A44).
        user_id: Who may fetch it; default an administrator of the organisation.
        notify_email: Who is mailed when it is ready, or has failed for good (A47).
        priority: Lower runs first; default the queue's.
        once_key: A key under which the organisation has one report only; that one is returned when it is there.

    Returns:
        The row, PENDING, with the id of the job.

    Raises:
        Problem: 422 naming what cannot be had, and what can; nothing was stored.
    """
    with jobs.transaction():
        if once_key is not None and (known := lifecycle.once(organization_id, once_key)) is not None:
            return known
        report = types.order(
            type=type,
            organization_id=organization_id,
            filters=filters,
            format=format,
            user_id=user_id,
            notify_email=notify_email,
            once_key=once_key,
        )
        report.job_id = generate_report.send_with_options(
            args=(report.id,), priority=priority, tenant=report.tenant_id, owner=report.user_id
        ).message_id
    return report


@jobs.schedule(SUNDAY_MIDNIGHT, timezone="UTC", name="weekly-compliance-reports")
@jobs.actor(queue_name=QUEUE, actor_name="report:weekly-compliance", max_retries=2, time_limit=300_000)
def queue_weekly_reports() -> dict[str, Any]:
    """Queue a report on the compliance of the last week for every organisation, mailed to its administrator.

    A week is Sunday to Saturday. Each organisation gets one report a week, however often this runs.
    """
    today = utcnow().date()
    sunday = today - dt.timedelta(days=(today.weekday() + 1) % 7)
    week = {"dateFrom": str(sunday - dt.timedelta(days=7)), "dateTo": str(sunday - dt.timedelta(days=1))}
    tenants = db.session.execute(sa.select(Tenant.id, Tenant.slug).order_by(Tenant.id)).all()
    counts = {"queued": 0, "there": 0, "skipped": 0}
    for tenant_id, slug in tenants:
        current_job.check_cancelled()
        counts[_queue_weekly(tenant_id, slug, week)] += 1
    return {**week, **counts}


def _queue_weekly(tenant_id: str, slug: str, week: Mapping[str, str]) -> str:
    key = f"weekly-compliance:{week['dateTo']}"
    if lifecycle.once(tenant_id, key) is not None:
        return "there"
    admin = accounts.admin_of(tenant_id)
    if admin is None:
        log.warning("no administrator to mail the weekly report to", extra={"tenant": slug})
        return "skipped"
    try:
        queue_report(
            type="compliance",
            organization_id=tenant_id,
            filters=week,
            format="pdf",
            user_id=admin.id,
            notify_email=admin.email,
            once_key=key,
        )
    except IntegrityError:  # another run was faster
        return "there"
    except Problem as problem:  # such as an address that nobody can be mailed at
        log.warning("no weekly report: %s", problem.detail, extra={"tenant": slug})
        return "skipped"
    return "queued"
