"""`queue_webhook`, as the seed document calls it."""

from __future__ import annotations

import pytest
from flask import Flask

from app.actors.webhooks import queue_webhook
from app.extensions import db, jobs
from app.models.tenant import Tenant
from flask_understudy.contrib.webhooks.errors import InvalidWebhook
from flask_understudy.contrib.webhooks.tables import WebhookDelivery
from flask_understudy.testing import TestWorker
from tests.app.conftest import AppFactory
from tools.receiver import Receiver


@pytest.fixture
def app(make_app: AppFactory, database_url: str) -> Flask:
    return make_app(database_url, UNDERSTUDY_WEBHOOK_ALLOW="127.0.0.0/8")


@pytest.mark.requirement("A48", "A27", "D06")
def test_a_webhook_is_queued_with_the_caller_s_transaction_and_sent(app: Flask, tenant_a: Tenant) -> None:
    def queue(url: str, event: str = "told.first") -> WebhookDelivery:
        return queue_webhook(
            url=url,
            payload={"event": event},
            secret="webhook-secret",
            event_type=event,
            organization_id=tenant_a.id,
            max_retries=5,
            time_limit=20_000,
        )

    with Receiver() as receiver, app.app_context(), TestWorker(jobs) as worker:
        db.session.add(Tenant(slug="x", name="X"))
        queue(receiver.url)
        db.session.rollback()
        with pytest.raises(InvalidWebhook, match="is no event"):
            queue(receiver.url, "no event")
        assert worker.sent() == []

        delivery = queue(receiver.url)
        job = worker.run(delivery.job_id, raise_errors=True)

        assert (job.state, job.tenant, job.max_attempts, job.options["time_limit"]) == (
            "completed",
            tenant_a.id,
            6,
            20_000,
        )
        assert [got.body for got in receiver.requests] == [b'{"event":"told.first"}']
        assert job.kwargs == {} and job.args == [delivery.id]
