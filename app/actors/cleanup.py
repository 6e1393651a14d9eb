"""Maintenance by the clock (requirements A23, A32, A51, E02 to E07, E09, E14, N04). All times are UTC."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from flask import current_app

from app.extensions import jobs, webhooks
from app.services import cleanup, payroll, queues
from app.services.exports import lifecycle
from flask_understudy import current_job

DAILY = "0 2 * * *"
HOURLY = "every 1 hour"
NIGHTLY = "30 1 * * *"
MONTHLY = "0 3 1 * *"
WEEKLY = "0 4 * * 0"  # Sunday, as in cron


@jobs.schedule(DAILY, timezone="UTC", name="cleanup-sessions")
@jobs.actor(queue_name="cleanup", actor_name="cleanup:sessions")
def delete_old_sessions() -> int:
    """Delete sessions older than 30 days."""
    return cleanup.delete_old_sessions()


@jobs.schedule(DAILY, timezone="UTC", name="cleanup-reset-tokens")
@jobs.actor(queue_name="cleanup", actor_name="cleanup:reset-tokens")
def delete_expired_reset_tokens() -> int:
    """Delete expired password-reset tokens."""
    return cleanup.delete_expired_reset_tokens()


@jobs.schedule(DAILY, timezone="UTC", name="cleanup-invitations")
@jobs.actor(queue_name="cleanup", actor_name="cleanup:invitations")
def delete_expired_invitations() -> int:
    """Delete invitations that expired a week ago or earlier."""
    return cleanup.delete_expired_invitations()


@jobs.schedule(DAILY, timezone="UTC", name="cleanup-temporary-files")
@jobs.actor(queue_name="cleanup", actor_name="cleanup:temporary-files")
def delete_temporary_files() -> int:
    """Delete temporary files older than 24 hours."""
    return cleanup.delete_old_files(Path(current_app.config["TEMP_DIR"]))


@jobs.schedule(HOURLY, timezone="UTC", name="cache-cleanup")
@jobs.actor(queue_name="cleanup", actor_name="maintenance:cleanup")
def clean_up() -> dict[str, int]:
    """Delete temporary files and exports whose time is over, so that a disk does not fill up until the night.

    Payrolls whose job has died are marked as failed on the way.
    """
    payroll.settle_all()
    temporary = cleanup.delete_old_files(Path(current_app.config["TEMP_DIR"]))
    return {"temporaryFiles": temporary, "exports": lifecycle.delete_expired()}


@jobs.schedule(DAILY, timezone="UTC", name="cleanup-exports")
@jobs.actor(queue_name="cleanup", actor_name="cleanup:exports")
def delete_expired_exports() -> int:
    """Delete the files of exports that have expired."""
    return lifecycle.delete_expired()


@jobs.schedule(DAILY, timezone="UTC", name="cleanup-old-jobs")
@jobs.actor(queue_name="cleanup", actor_name="cleanup:jobs")
def cleanup_old_jobs() -> int:
    """Delete finished jobs whose retention is over."""
    return queues.cleanup_old_jobs()


@jobs.schedule(NIGHTLY, timezone="UTC", name="retry-failed", enabled=False)
@jobs.actor(queue_name="cleanup", actor_name="maintenance:retry-failed")
def retry_failed(days: int = 7) -> dict[str, int]:
    """Try failed jobs again that were sent within some days, so that a failure which mended itself needs nobody.

    It is scheduled, and switched off: what fails for good would be tried each night until it is that old.

    Args:
        days: How old they may be.
    """
    return {
        queue: retried
        for queue in sorted(jobs.stats())
        if (retried := queues.retry_failed_jobs(queue, dt.timedelta(days=days)))
    }


@jobs.schedule(DAILY, timezone="UTC", name="cleanup-webhooks")
@jobs.actor(queue_name="cleanup", actor_name="cleanup:webhooks")
def delete_old_deliveries() -> int:
    """Delete webhook deliveries that ended 30 days ago or earlier."""
    return webhooks.prune()


@jobs.schedule(MONTHLY, timezone="UTC", name="archive-audit-logs")
@jobs.actor(queue_name="cleanup", actor_name="cleanup:audit-logs")
def archive_audit_logs() -> int:
    """Move audit logs of more than a year ago to the archive."""

    def report(moved: int) -> None:
        current_job.log("%d audit logs moved", moved)
        current_job.check_cancelled()

    return cleanup.archive_audit_logs(report)


@jobs.schedule(WEEKLY, timezone="UTC", name="cleanup-failed-workflows")
@jobs.actor(queue_name="cleanup", actor_name="cleanup:failed-workflows")
def delete_failed_workflows() -> int:
    """Delete workflow executions that failed more than 30 days ago."""
    return cleanup.delete_failed_workflows()
