"""A job works on the rows of its own organisation, whatever ids it was given."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.actors.email import queue_batch_emails
from app.actors.payroll import queue_payroll_processing
from app.actors.workflows import queue_workflow_execution
from app.events import TenantOnboarded
from app.extensions import db, jobs, webhooks
from app.models.analytics_event import AnalyticsEvent
from app.models.base import utcnow
from app.models.export_job import ExportJob
from app.models.integration import Integration
from app.models.payroll_period import PayrollPeriod
from app.models.tenant import Tenant
from app.models.user import User
from app.models.workflow_execution import WorkflowExecution
from app.services import integrations
from app.services.exports import lifecycle
from app.services.workflows import storing
from app.services.workflows.definitions import NewWorkflow
from flask_understudy import Principal, acting_as
from flask_understudy.contrib.webhooks.tables import WebhookDelivery
from flask_understudy.testing import TestWorker
from tests.app.conftest import AppFactory

Given = dict[str, Any]


@pytest.fixture
def app(make_app: AppFactory, sqlite_url: str) -> Flask:
    return make_app(sqlite_url, UNDERSTUDY_WEBHOOK_ALLOW="127.0.0.0/8")


@pytest.fixture
def worker(app: Flask) -> Iterator[TestWorker]:
    with app.app_context(), TestWorker(jobs) as worker:
        yield worker


def a_period(user: User) -> Given:
    month = {"starts_on": dt.date(2026, 5, 1), "ends_on": dt.date(2026, 5, 31)}
    period = PayrollPeriod(tenant_id=user.tenant_id, name="May", **month)
    db.session.add(period)
    db.session.commit()
    return {"payroll_period_id": period.id, "initiated_by": user.id}


def a_payroll_that_runs(user: User) -> Given:
    given = a_period(user)
    message = queue_payroll_processing(given["payroll_period_id"], user.tenant_id, user.id)
    jobs.cancel(message.message_id)
    db.session.execute(sa.update(PayrollPeriod).values(status="processing", job_id=message.message_id))
    db.session.commit()
    return {"message": {"message_id": message.message_id, "kwargs": given}, "limits": {"max_retries": 3}}


def a_grant(user: User) -> Given:
    soon = utcnow() + dt.timedelta(seconds=1)
    grant = integrations.connect(user.tenant_id, "zoom", user.email, "access", "refresh", soon)
    db.session.commit()
    return {"integration_id": grant.id}


def a_grant_that_has_ended(user: User) -> Given:
    given = a_grant(user)
    db.session.execute(sa.update(Integration).values(revoked_at=utcnow(), error="a secret of theirs"))
    db.session.commit()
    return given


def an_export(user: User) -> Given:
    export = lifecycle.order(Principal(user.id, user.tenant_id), "MEMBERS", {}, "csv")
    db.session.commit()
    return {"export_id": export.id}


def a_report(user: User) -> Given:
    return {"report_id": an_export(user)["export_id"]}


def an_execution(user: User) -> Given:
    mail = {"kind": "email", "to": "ops@aster.example", "subject": "Hello", "text": "Hello"}
    workflow = storing.create(user.tenant_id, NewWorkflow.model_validate({"name": "flow", "steps": [mail]}))
    db.session.commit()
    return {"execution_id": queue_workflow_execution(workflow.id, "1", {}, user.tenant_id).id}


def an_execution_that_runs(user: User) -> Given:
    return {"message": {"kwargs": an_execution(user)}, "limits": {"max_retries": 2}}


def a_batch(user: User) -> Given:
    with acting_as(Principal(user.id, user.tenant_id)):
        batch = queue_batch_emails([{"to": user.email, "type": "welcome", "data": {"name": user.name}}])
    return {"batch_id": batch.id}


def an_event(user: User) -> Given:
    event = TenantOnboarded(tenant_id=user.tenant_id, slug="aster", tier="free", administrator_id=user.id)
    return {name: getattr(event, name) for name in ("tenant_id", "slug", "tier", "administrator_id")}


def a_delivery(user: User) -> Given:
    sent = webhooks.send("http://127.0.0.1:9/", {}, "12345678", "incident.created", user.tenant_id)
    return {"delivery_id": sent.id}


def rows() -> list[Any]:
    tables: tuple[Any, ...] = (
        PayrollPeriod,
        Integration,
        ExportJob,
        WorkflowExecution,
        AnalyticsEvent,
        WebhookDelivery,
    )
    return [row for table in tables for row in db.session.execute(sa.select(*sa.inspect(table).columns)).all()]


@pytest.mark.requirement("P10", "P04")
@pytest.mark.parametrize(
    ("actor", "make"),
    [
        ("payroll:process", a_period),
        ("payroll:failed", a_payroll_that_runs),
        ("integrations:refresh-tokens", a_grant),
        ("integrations:refresh-tokens", a_grant_that_has_ended),
        ("export:generate", an_export),
        ("report:generate", a_report),
        ("data-export:generate", an_export),
        ("workflow:execute", an_execution),
        ("workflow:failed", an_execution_that_runs),
        ("email:send-batch", a_batch),
        ("on:tenant.onboarded:count_onboarding", an_event),
        ("webhook:send", a_delivery),
    ],
)
def test_a_job_that_is_given_an_id_of_another_organisation_fails_at_once_and_does_nothing(
    worker: TestWorker, user_a: User, tenant_b: Tenant, actor: str, make: Callable[[User], Given]
) -> None:
    given = make(user_a)
    before, sent = rows(), len(worker.sent())
    with acting_as(Principal("", tenant_b.id)):
        message = jobs.broker.get_actor(actor).send_with_options(kwargs=given)

    job = worker.run(message)

    assert (job.tenant, job.state, job.attempt, job.result) == (tenant_b.id, "failed", 1, None)
    assert " of the job has no " in str(job.error) and "theirs" not in str(job.error)
    db.session.rollback()
    assert (rows(), len(worker.sent())) == (before, sent + 1)


@pytest.mark.requirement("P10")
def test_what_the_host_sends_for_no_organisation_works_for_all(worker: TestWorker, user_a: User) -> None:
    given = a_period(user_a)

    job = worker.run(jobs.broker.get_actor("payroll:process").send(**given), raise_errors=True)

    assert (job.tenant, job.result["skipped"]) == ("", False)


@pytest.mark.requirement("P10")
def test_a_payroll_is_not_replayed_with_another_s_period(
    app: Flask, worker: TestWorker, user_a: User, user_b: User, auth_header_b: Any
) -> None:
    theirs = a_period(user_a)
    own = a_period(user_b)
    queued = queue_payroll_processing(own["payroll_period_id"], user_b.tenant_id, user_b.id)
    worker.drain(raise_errors=True)
    before = rows()

    answer = app.test_client().post(
        f"/api/jobs/{queued.message_id}/replay",
        json={"payload": own | {"payroll_period_id": theirs["payroll_period_id"]}},
        headers=auth_header_b("read", "payload", "enqueue", "operate", "admin"),
    )

    assert answer.status_code == 403, answer.text
    assert worker.drain() == []
    db.session.rollback()
    assert rows() == before
