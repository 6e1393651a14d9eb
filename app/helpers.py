"""Every function of the seed documents, importable from one place (requirement B18).

    from app.helpers import queue_email, queue_report, get_all_queue_status

The names and arguments are the seeds', in snake_case. Each is described where it is made: those that queue jobs in
`app.actors`, those that ask how the queues are in `app.services.queues`.
"""

from app.actors.data_exports import queue_data_export
from app.actors.email import (
    queue_batch_emails,
    queue_email,
    send_notification_email,
    send_password_reset_email,
    send_verification_email,
    send_welcome_email,
)
from app.actors.integrations import queue_token_refresh
from app.actors.payroll import queue_payroll_processing
from app.actors.reports import queue_report
from app.actors.tenant_onboarding import queue_tenant_onboarding
from app.actors.webhooks import queue_webhook
from app.actors.workflows import queue_workflow_execution
from app.services.queues import (
    cleanup_old_jobs,
    get_all_queue_status,
    get_email_queue,
    get_export_queue,
    retry_failed_jobs,
)

__all__ = [
    "cleanup_old_jobs",
    "get_all_queue_status",
    "get_email_queue",
    "get_export_queue",
    "queue_batch_emails",
    "queue_data_export",
    "queue_email",
    "queue_payroll_processing",
    "queue_report",
    "queue_tenant_onboarding",
    "queue_token_refresh",
    "queue_webhook",
    "queue_workflow_execution",
    "retry_failed_jobs",
    "send_notification_email",
    "send_password_reset_email",
    "send_verification_email",
    "send_welcome_email",
]
