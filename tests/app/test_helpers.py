"""The seeds' functions from one place, called as the seeds call them (B18)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
from flask import Flask

from app import helpers
from app.actors.cleanup import delete_old_sessions
from app.helpers import (
    cleanup_old_jobs,
    get_all_queue_status,
    get_email_queue,
    get_export_queue,
    queue_email,
    retry_failed_jobs,
    send_welcome_email,
)
from flask_understudy.testing import TestWorker

#: Each function's arguments, as the seeds name them.
SEEDS = {
    "queue_payroll_processing": ["payroll_period_id", "company_id", "initiated_by"],
    "queue_token_refresh": ["integration_id"],
    "queue_workflow_execution": ["workflow_id", "trigger_id", "payload", "company_id"],
    "send_welcome_email": ["email", "name"],
    "send_verification_email": ["email", "name", "token"],
    "send_password_reset_email": ["email", "code"],
    "send_notification_email": ["email", "name", "title", "message", "link"],
    "queue_report": ["type", "organization_id", "filters", "format", "user_id", "notify_email"],
    "queue_data_export": ["organization_id", "entities", "format", "user_id", "notify_email"],
    "queue_webhook": ["url", "payload", "secret", "event_type", "organization_id"],
    "queue_tenant_onboarding": [
        "organization_name",
        "admin_email",
        "admin_name",
        "tier",
        "stripe_customer_id",
        "stripe_subscription_id",
    ],
}


@pytest.mark.requirement("B18")
@pytest.mark.parametrize("name", SEEDS)
def test_a_function_takes_what_its_seed_gives(name: str) -> None:
    taken = inspect.signature(getattr(helpers, name)).parameters
    assert [argument for argument in taken if argument in SEEDS[name]] == SEEDS[name]
    required = {argument for argument, p in taken.items() if p.default is p.empty}
    assert required <= set(SEEDS[name])


@pytest.fixture
def context(app: Flask) -> Iterator[Flask]:
    with app.app_context():
        yield app


@pytest.mark.requirement("B18", "L05", "N04", "O01")
def test_queues_are_asked_cleaned_and_tried_again(context: Flask) -> None:
    send_welcome_email("user@example.com", "John Doe")
    queue_email(
        "leave-approved", "user@example.com", {"name": "Jo", "starts_on": "2026-12-01", "ends_on": "2026-12-02"}
    )
    delete_old_sessions.send()

    status = get_all_queue_status()

    assert status["overallStatus"] in {"healthy", "degraded", "unhealthy"}
    assert (get_email_queue().get_waiting_count(), get_export_queue().get_waiting_count()) == (2, 0)
    with TestWorker(context.extensions["understudy"]) as worker:
        worker.drain("cleanup")
    assert (cleanup_old_jobs(), retry_failed_jobs("email")) == (0, 0)
