"""Exports in the background, and the mail about files that have come to their ends."""

from __future__ import annotations

from typing import Any

from app.actors.email import queue_email
from app.extensions import db, jobs
from app.models.export_job import ExportJob, ExportKind, ExportStatus
from app.models.tenant import Tenant
from app.services.exports import files, lifecycle
from app.services.exports.carrying import PERMANENT, carry_out, reporter
from app.services.exports.naming import title_of
from flask_understudy import Principal, acting_as, current_job


@jobs.actor(
    queue_name="exports",
    actor_name="export:generate",
    max_retries=2,
    min_backoff=2_000,
    backoff_factor=2,
    time_limit=600_000,
    fallback="hold",
    throws=PERMANENT,
)
def generate_export(export_id: str) -> dict[str, Any]:
    """Write the file that somebody asked for.

    Three tries, after 2 s and 4 s (D08). With the broker down the order waits and is carried out by
    the workers (J02). Run again after its end, it finds the file there and does nothing.
    """
    return carry_out(export_id, lambda attempt: files.write(attempt, reporter(), current_job.check_cancelled))


@lifecycle.ended.connect
def tell(export: ExportJob) -> None:
    """Queue the mail about a file that is complete or has failed, if somebody is to be told (A47).

    It belongs to the transaction that says so: one mail for one end, whoever found it out.
    """
    if export.notify_email is None:
        return
    what = "report" if export.kind is ExportKind.REPORT else "export"
    told = {"title": title_of(export), "organization": db.session.get_one(Tenant, export.tenant_id).name}
    with acting_as(Principal(subject=export.user_id, tenant=export.tenant_id)):
        if export.status is ExportStatus.COMPLETED:
            queue_email(f"{what}-ready", export.notify_email, {**told, "link": files.page_of(export)})
        else:
            queue_email(f"{what}-failed", export.notify_email, {**told, "error": export.error or "unknown"})
