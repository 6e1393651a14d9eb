"""An organisation's data in the background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.extensions import jobs
from app.models.export_job import ExportJob
from app.services.exports import data
from app.services.exports.carrying import PERMANENT, carry_out, reporter
from flask_understudy import current_job


@jobs.actor(
    queue_name="data-exports",
    actor_name="data-export:generate",
    max_retries=1,
    time_limit=600_000,
    fallback="hold",
    throws=PERMANENT,
)
def generate_data_export(export_id: str) -> dict[str, Any]:
    """Write the file with an organisation's data.

    Two tries (D12). Run again after its end, it does nothing.
    """
    return carry_out(export_id, lambda attempt: data.write(attempt, reporter(), current_job.check_cancelled))


def queue_data_export(
    *,
    organization_id: str,
    entities: Sequence[str],
    format: str = "json",
    user_id: str | None = None,
    notify_email: str | None = None,
    priority: int | None = None,
) -> ExportJob:
    """Store an export of an organisation's data and its job (A45).

    It joins the caller's transaction when that has uncommitted writes, and else is committed at once.

    Args:
        organization_id: Whose data.
        entities: Some of ``stations``, ``audits``, ``incidents``, ``work-permits``, ``contractors`` and ``users``
            (A46), in the order they are to have.
        format: ``json``, one object with an array for each entity, or ``csv``, an archive of tables where there are
            several.
        user_id: Who may fetch it; default an administrator of the organisation.
        notify_email: Who is mailed when it is ready, or has failed for good (A47).
        priority: Lower runs first; default the queue's.

    Returns:
        The row, PENDING, with the id of the job.

    Raises:
        Problem: 422 naming what cannot be had, and what can; nothing was stored.
    """
    with jobs.transaction():
        export = data.order(
            organization_id=organization_id,
            entities=entities,
            format=format,
            user_id=user_id,
            notify_email=notify_email,
        )
        export.job_id = generate_data_export.send_with_options(
            args=(export.id,), priority=priority, tenant=export.tenant_id, owner=export.user_id
        ).message_id
    return export
