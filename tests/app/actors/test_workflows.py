"""Automated workflows as the first seed document has them: steps in sequence, four kinds, each done once."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.actors.workflows import queue_workflow_execution
from app.extensions import db, jobs, webhooks
from app.models.base import new_id, utcnow
from app.models.incident import Incident
from app.models.tenant import Tenant
from app.models.user import User
from app.models.workflow import Workflow
from app.models.workflow_execution import WorkflowExecution
from app.services import cleanup
from app.services.workflows import executions, storing
from app.services.workflows.definitions import NewWorkflow, WorkflowChange
from app.services.workflows.executions import WorkflowRefused
from flask_understudy.clock import rescue
from flask_understudy.context import RunningJob
from flask_understudy.contrib.webhooks import verify_headers
from flask_understudy.testing import TestWorker
from tests.app.conftest import AppFactory
from tests.app.processes import ROOT, clean_environment
from tools.receiver import Receiver
from tools.smtp import SmtpCatcher

Make = Callable[..., Workflow]

SECRET = "workflow-secret-canary"
MAIL = {"kind": "email", "to": "ops@aster.example", "subject": "Hello", "text": "It is {{ payload.n }}."}
NOTICE = {"kind": "notification", "to": "{{ payload.to }}", "title": "News", "message": "{{payload.n}} left"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def app(make_app: AppFactory, database_url: str, smtp_server: SmtpCatcher) -> Flask:
    return make_app(database_url, **settings(smtp_server))


def settings(smtp_server: SmtpCatcher) -> dict[str, Any]:
    return {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": smtp_server.port,
        "MAIL_SUPPRESS_SEND": False,
        "UNDERSTUDY_WEBHOOK_ALLOW": "127.0.0.0/8",
    }


@pytest.fixture
def worker(app: Flask) -> Iterator[TestWorker]:
    with app.app_context(), TestWorker(jobs) as worker:
        yield worker


@pytest.fixture
def make(worker: TestWorker, tenant_a: Tenant) -> Make:
    """Make a workflow of `tenant_a` of some steps: `make(step, …, continueOnError=True)`."""

    def make(*steps: dict[str, Any], **more: Any) -> Workflow:
        wanted = NewWorkflow.model_validate({"name": "flow", "steps": list(steps)} | more)
        workflow = storing.create(tenant_a.id, wanted)
        db.session.commit()
        return workflow

    return make


@pytest.fixture
def incident(worker: TestWorker, user_a: User) -> Incident:
    fields = {"title": "Fire", "description": "", "severity": "high"}
    incident = Incident(id=new_id(), tenant_id=user_a.tenant_id, reported_by=user_a.id, **fields)
    db.session.add(incident)
    db.session.commit()
    return incident


def status_of(incident_id: str) -> dict[str, Any]:
    return {"kind": "status", "incident": incident_id, "status": "resolved"}


def webhook(receiver: Receiver) -> dict[str, Any]:
    return {"kind": "webhook", "url": receiver.url, "secret": SECRET, "eventType": "flow.ended"}


def start(workflow: Workflow, payload: dict[str, Any] | None = None, trigger: str = "t-1") -> WorkflowExecution:
    return queue_workflow_execution(workflow.id, trigger, payload or {"n": 7}, workflow.tenant_id)


def outcomes(execution: WorkflowExecution) -> list[tuple[str, str]]:
    db.session.refresh(execution)
    return [(outcome["name"], outcome["status"]) for outcome in execution.outcomes]


def ended(execution: WorkflowExecution) -> tuple[str, str | None, bool]:
    db.session.refresh(execution)
    return execution.status, execution.error, execution.finished_at is not None


@pytest.mark.requirement("A18", "A19", "A20", "C11", "P10")
def test_each_kind_of_step_has_its_effect(
    worker: TestWorker,
    make: Make,
    user_a: User,
    incident: Incident,
    smtp_server: SmtpCatcher,
    receiver: Receiver,
) -> None:
    workflow = make(
        MAIL | {"html": "<p>{{ payload.title }}</p>", "subject": "About {{payload.title}}"},
        {"kind": "email", "to": "new@aster.example", "type": "welcome", "data": {"name": "{{ payload.title }}"}},
        NOTICE | {"name": "tell"},
        status_of("{{ payload.incident.id }}"),
        webhook(receiver) | {"payload": {"all": "{{ payload.incident }}", "text": "n={{ payload.n }}"}},
    )
    payload = {"n": 7, "to": user_a.email, "title": "<Fire>", "incident": {"id": incident.id}}

    execution = start(workflow, payload)
    job = jobs.get(str(execution.job_id))
    worker.drain(raise_errors=True)

    assert job is not None
    assert (job.actor, job.queue, job.tenant, job.priority) == ("workflow:execute", "workflows", user_a.tenant_id, 3)
    assert ended(execution) == ("completed", None, True)
    assert [status for _, status in outcomes(execution)] == ["done"] * 5
    mails = {str(mail["Subject"]): mail for mail in smtp_server.messages}
    assert sorted(mails) == sorted({"About <Fire>", "News", *(s for s in mails if "Welcome" in s)}) and len(mails) == 3
    written = mails["About <Fire>"]
    assert written.get_body(("plain",)).get_content().strip() == "It is 7."  # type: ignore[union-attr]
    assert "<p>&lt;Fire&gt;</p>" in written.get_body(("html",)).get_content()  # type: ignore[union-attr]
    assert (mails["News"]["To"], "7 left" in str(mails["News"])) == (user_a.email, True)
    db.session.refresh(incident)
    assert incident.status == "resolved"
    [got] = receiver.requests
    verify_headers(SECRET, got.headers, got.body)
    assert json.loads(got.body) == {"all": {"id": incident.id}, "text": "n=7"}
    queued = [jobs.get(outcome["result"]["jobId"]) for outcome in execution.outcomes[:3]]
    assert {(found.state, found.tenant) for found in queued if found} == {("completed", user_a.tenant_id)}


@pytest.mark.requirement("A20", "C11", "P04")
def test_a_webhook_without_a_url_goes_to_the_organisation_s_subscriptions(
    worker: TestWorker, make: Make, tenant_a: Tenant, tenant_b: Tenant, receiver: Receiver
) -> None:
    _, secret = webhooks.endpoints.create(tenant_a.id, f"{receiver.url}/ours", ["flow.ended"])
    webhooks.endpoints.create(tenant_b.id, f"{receiver.url}/theirs", ["*"])
    db.session.commit()

    execution = start(make({"kind": "webhook", "eventType": "flow.ended"}))
    worker.drain(raise_errors=True)

    [got] = receiver.requests
    assert got.path == "/hook/ours"
    verify_headers(secret, got.headers, got.body)
    assert json.loads(got.body) == {"event": "flow.ended", "data": {"n": 7}}
    db.session.refresh(execution)
    assert len(execution.outcomes[0]["result"]["deliveries"]) == 1


@pytest.mark.requirement("A20", "P06")
def test_a_secret_is_nowhere_in_clear(worker: TestWorker, make: Make, receiver: Receiver) -> None:
    start(make(webhook(receiver)))
    worker.drain(raise_errors=True)

    assert len(receiver.requests) == 1
    for table in sa.inspect(db.engine).get_table_names():
        assert SECRET not in str(db.session.execute(sa.text(f"SELECT * FROM {table}")).all()), table


@pytest.mark.requirement("A19", "A22", "D04")
def test_a_step_that_fails_is_tried_three_times_and_ends_the_workflow(
    worker: TestWorker, make: Make, incident: Incident
) -> None:
    workflow = make(status_of(incident.id), status_of("gone"), MAIL | {"name": "after"})

    execution = start(workflow)
    states = [worker.run(str(execution.job_id)).state for _ in range(3)]
    worker.drain(raise_errors=True)

    job = jobs.get(str(execution.job_id))
    assert job is not None
    assert (states, job.attempt, job.max_attempts) == (["delayed", "delayed", "failed"], 3, 3)
    assert ended(execution)[0::2] == ("failed", True)
    assert "There is no incident 'gone'" in str(execution.error)
    assert outcomes(execution) == [("step 1", "done"), ("step 2", "failed"), ("after", "skipped")]
    assert worker.sent("email:send") == []
    assert "no incident" in execution.outcomes[1]["error"]


@pytest.mark.requirement("A21")
def test_with_continue_on_error_the_others_are_done_and_the_failure_is_told(
    worker: TestWorker, make: Make, incident: Incident, smtp_server: SmtpCatcher
) -> None:
    workflow = make(status_of("gone"), MAIL, status_of("gone too"), status_of(incident.id), continueOnError=True)

    execution = start(workflow)
    worker.drain(include_delayed=True, raise_errors=True)

    job = jobs.get(str(execution.job_id))
    assert job is not None
    assert (job.state, job.result["failed"]) == ("completed", 2)
    assert ended(execution) == ("completed", None, True)
    assert [status for _, status in outcomes(execution)] == ["failed", "done", "failed", "done"]
    steps = jobs.metadata.tables["understudy_steps"]
    query = sa.select(steps.c.attempts).where(steps.c.job_id == job.id).order_by(steps.c.position)
    assert list(db.session.scalars(query)) == [3, 1, 3, 1]
    assert len(smtp_server.messages) == 1


@pytest.mark.requirement("A21")
def test_a_step_says_it_otherwise_than_its_workflow(worker: TestWorker, make: Make) -> None:
    goes_on, ends = {"continueOnError": True}, {"continueOnError": False}
    first = make(status_of("gone") | goes_on, MAIL)
    second = make(status_of("gone") | ends, MAIL, continueOnError=True, name="other")

    done, failed = start(first), start(second)
    worker.drain(include_delayed=True)

    assert outcomes(done) == [("step 1", "failed"), ("step 2", "done")]
    assert outcomes(failed) == [("step 1", "failed"), ("step 2", "skipped")]
    assert (ended(done)[0], ended(failed)[0]) == ("completed", "failed")


@pytest.mark.requirement("A20")
@pytest.mark.parametrize(
    ("step", "payload", "said"),
    [
        (MAIL, {}, "payload.n: 'n' is not there"),
        (MAIL | {"text": "{{ payload.a.b }}"}, {"a": 1}, "payload.a.b: 'b' is not there"),
        (MAIL | {"text": "{{ payload.a.2 }}"}, {"a": [1, 2]}, "payload.a.2: '2' is not there"),
        (MAIL, {"n": {"x": 1}}, "payload.n is an object"),
        (MAIL, {"n": None}, "payload.n is nothing"),
        (MAIL | {"text": "{{ payload.n }}" * 3}, {"n": "x" * 60_000}, "more than 100000 characters"),
        (MAIL | {"subject": "a{{ payload.n }}"}, {"n": "b\r\nBcc: c@d.example"}, "line end"),
        (MAIL | {"to": "{{ payload.n }}"}, {"n": "a@b.example,c@d.example"}, "no mail address"),
        (MAIL | {"to": "{{ payload.n }}"}, {"n": "a@b.example\nBcc: c@d.example"}, "line end"),
        (NOTICE | {"link": "{{ payload.n }}"}, {"n": "javascript:alert(1)", "to": "ada@aster.example"}, "no link"),
    ],
    ids=[
        "unknown",
        "below a number",
        "beyond a list",
        "object",
        "null",
        "too much",
        "subject",
        "two addresses",
        "address",
        "link",
    ],
)
def test_what_the_payload_cannot_fill_fails_the_step_at_once_and_says_why(
    worker: TestWorker, make: Make, user_a: User, step: dict[str, Any], payload: dict[str, Any], said: str
) -> None:
    execution = start(make(step), payload or {"other": 1})

    assert worker.run(str(execution.job_id)).state == "failed"
    worker.drain(raise_errors=True)

    assert ended(execution)[0] == "failed"
    assert said in execution.outcomes[0]["error"]
    assert not [job for job in worker.sent() if job.actor.startswith("email")]


@pytest.mark.requirement("A20")
def test_what_was_put_in_is_data(worker: TestWorker, make: Make, smtp_server: SmtpCatcher) -> None:
    sly = "{{ payload.secret }} {{ 7 * 7 }} {% raw %}"

    start(make(MAIL | {"text": "{{ payload.n.0 }}"}), {"n": [sly], "secret": "hidden"})
    worker.drain(raise_errors=True)

    [mail] = smtp_server.wait()
    assert mail.get_content().strip() == sly  # type: ignore[attr-defined]


@pytest.mark.requirement("A20", "P04")
def test_steps_reach_nobody_else_s_incidents_and_members(
    worker: TestWorker, make: Make, incident: Incident, user_b: User
) -> None:
    incident.tenant_id = user_b.tenant_id
    db.session.commit()

    execution = start(make(status_of(incident.id), NOTICE, continueOnError=True), {"n": 1, "to": user_b.email})
    worker.drain(include_delayed=True)

    assert outcomes(execution) == [("step 1", "failed"), ("step 2", "failed")]
    db.session.refresh(incident)
    assert incident.status == "open"


@pytest.mark.requirement("A18", "C05")
def test_the_same_trigger_starts_a_workflow_once(worker: TestWorker, make: Make) -> None:
    workflow = make(MAIL)
    first, again = start(workflow), start(workflow, {"n": 8})
    other = start(workflow, trigger="t-2")

    assert first.id == again.id != other.id
    assert len(worker.sent("workflow:execute")) == 2
    worker.drain(raise_errors=True)
    assert start(workflow).id == first.id
    assert len(worker.sent("email:send")) == 2


@pytest.mark.requirement("A18", "C05")
def test_the_same_trigger_at_once_starts_a_workflow_once(app: Flask, worker: TestWorker, make: Make) -> None:
    workflow = make(MAIL)
    id_, tenant, together = workflow.id, workflow.tenant_id, threading.Barrier(8)
    db.session.rollback()
    found: list[str] = []

    def trigger() -> None:
        with app.app_context():
            together.wait()
            found.append(queue_workflow_execution(id_, "t", {"n": 1}, tenant).id)

    threads = [threading.Thread(target=trigger) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(found), len(set(found))) == (8, 1)
    assert len(worker.sent("workflow:execute")) == 1
    assert len(db.session.scalars(sa.select(WorkflowExecution)).all()) == 1


@pytest.mark.requirement("A18")
def test_an_execution_joins_the_caller_s_transaction(worker: TestWorker, make: Make, tenant_a: Tenant) -> None:
    workflow = make(MAIL)
    db.session.add(User(tenant_id=tenant_a.id, email="x@aster.example", name="X"))
    start(workflow)

    db.session.rollback()

    assert worker.sent() == []
    assert db.session.scalars(sa.select(WorkflowExecution)).all() == []


@pytest.mark.requirement("A18", "P04", "P10")
def test_what_cannot_be_started_is_refused_and_nothing_is_stored(
    worker: TestWorker, make: Make, tenant_b: Tenant
) -> None:
    workflow, disabled = make(MAIL), make(MAIL, name="off", enabled=False)
    id_, company = workflow.id, workflow.tenant_id
    wrong: list[tuple[str, Any, Any, str, str]] = [
        ("none", "t", {}, company, "no workflow 'none'"),
        (id_, "t", {}, tenant_b.id, "no workflow"),
        (disabled.id, "t", {}, company, "disabled"),
        (id_, "", {}, company, "trigger id"),
        (id_, "t\n", {}, company, "trigger id"),
        (id_, 7, {}, company, "trigger id"),
        (id_, "t", [1], company, "takes an object"),
        (id_, "t", {"n": float("nan")}, company, "no JSON"),
        (id_, "t", {"n": object()}, company, "no JSON"),
        (id_, "t", {"n": "x" * 66_000}, company, "bytes"),
    ]

    for workflow_id, trigger, payload, company_id, said in wrong:
        with pytest.raises(WorkflowRefused, match=said):
            queue_workflow_execution(workflow_id, trigger, payload, company_id)
    assert worker.sent() == []
    assert db.session.scalars(sa.select(WorkflowExecution)).all() == []


KILLED = """
import os, signal, sys
from app import create_app
from app.actors import workflows
from app.extensions import jobs
from flask_understudy.testing import TestWorker

job, position, place, settings = sys.argv[1], int(sys.argv[2]), sys.argv[3], eval(sys.argv[4])
done, noted = workflows._is_done, workflows.executions.note

def after(execution_id, number, wanted):
    result = done(execution_id, number, wanted)
    if place == "after" and number == position:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

def within(execution_id, number, outcome, **more):
    noted(execution_id, number, outcome, **more)
    if place == "within" and number == position:
        os.kill(os.getpid(), signal.SIGKILL)

workflows._is_done, workflows.executions.note = after, within
with create_app(settings).app_context(), TestWorker(jobs) as worker:
    worker.run(job)
"""


@pytest.mark.timeout(120)
@pytest.mark.requirement("A19", "T02", "T04")
@pytest.mark.parametrize("place", ["within", "after"])
@pytest.mark.parametrize("position", [0, 1, 2, 3])
def test_killed_at_any_step_it_goes_on_and_does_each_once(
    app: Flask,
    worker: TestWorker,
    make: Make,
    user_a: User,
    incident: Incident,
    smtp_server: SmtpCatcher,
    receiver: Receiver,
    position: int,
    place: str,
) -> None:
    execution = start(make(MAIL, NOTICE, status_of(incident.id), webhook(receiver)), {"n": 1, "to": user_a.email})
    kept = ("DATABASE_URL", "SECRET_KEY", "TESTING", "UNDERSTUDY_WORKER")
    given = {"DATABASE_URL": app.config["SQLALCHEMY_DATABASE_URI"], "INSTANCE_PATH": app.instance_path}
    given |= {name: app.config[name] for name in kept[1:]} | settings(smtp_server)
    db.session.rollback()

    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(execution.job_id), str(position), place, repr(given)],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -9, killed.stderr
    assert len(outcomes(execution)) == position + (place == "after")
    db.session.rollback()
    with db.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM understudy_workers"))
    assert rescue(app.extensions["understudy"]) == 1
    worker.drain(raise_errors=True)

    assert ended(execution) == ("completed", None, True)
    assert [status for _, status in outcomes(execution)] == ["done"] * 4
    assert [len(worker.sent(actor)) for actor in ("email:send", "email:notification", "webhook:send")] == [1, 1, 1]
    assert (len(smtp_server.messages), len(receiver.requests)) == (2, 1)
    db.session.refresh(incident)
    assert incident.status == "resolved"


@pytest.mark.requirement("A19")
def test_a_started_execution_keeps_its_steps(
    worker: TestWorker, make: Make, incident: Incident, smtp_server: SmtpCatcher
) -> None:
    workflow = make(MAIL, status_of(incident.id))
    execution = start(workflow)
    storing.change(workflow, WorkflowChange.model_validate({"steps": [NOTICE], "name": "new", "enabled": False}))
    db.session.commit()

    worker.drain(raise_errors=True)

    assert outcomes(execution) == [("step 1", "done"), ("step 2", "done")]
    assert len(smtp_server.messages) == 1


@pytest.mark.requirement("A22")
def test_a_failed_execution_that_is_tried_again_goes_on_where_it_was(
    worker: TestWorker, make: Make, user_a: User, smtp_server: SmtpCatcher
) -> None:
    execution = start(make(MAIL, NOTICE, MAIL), {"n": 1, "to": "later@aster.example"})
    worker.drain(include_delayed=True)
    assert [status for _, status in outcomes(execution)] == ["done", "failed", "skipped"]
    user = db.session.get_one(User, user_a.id)
    user.email = "later@aster.example"
    db.session.commit()

    jobs.retry(str(execution.job_id))
    worker.drain(raise_errors=True)

    assert ended(execution) == ("completed", None, True)
    assert [status for _, status in outcomes(execution)] == ["done", "done", "done"]
    assert len(smtp_server.messages) == 3


@pytest.mark.requirement("A18")
def test_another_job_for_the_same_execution_does_nothing(worker: TestWorker, make: Make) -> None:
    execution = start(make(MAIL))
    worker.drain(raise_errors=True)
    again = jobs.broker.get_actor("workflow:execute").send(execution_id=execution.id)

    assert worker.run(again, raise_errors=True).result == {"execution": execution.id, "skipped": True}
    assert len(worker.sent("email:send")) == 1


@pytest.mark.requirement("A18")
@pytest.mark.parametrize("has_begun", [False, True])
def test_a_cancelled_execution_has_failed(
    worker: TestWorker, make: Make, monkeypatch: pytest.MonkeyPatch, has_begun: bool
) -> None:
    execution = start(make(MAIL, MAIL))
    if has_begun:
        monkeypatch.setattr(RunningJob, "cancelled", True)
        assert worker.run(str(execution.job_id)).state == "cancelled"
    else:
        jobs.cancel(str(execution.job_id))
        executions.settle(execution)

    assert ended(execution)[0::2] == ("failed", True)
    assert execution.error in {"It was cancelled.", "cancelled"}
    assert [status for _, status in outcomes(execution)] == ["skipped", "skipped"]
    assert worker.sent("email:send") == []


@pytest.mark.requirement("E07")
def test_failed_executions_are_deleted_after_a_month_also_those_nobody_saw_fail(worker: TestWorker, make: Make) -> None:
    workflow = make(status_of("gone"))
    failed, lost, _ = (start(workflow, trigger=name) for name in ("failed", "lost", "running"))
    jobs.cancel(str(lost.job_id))
    worker.run(str(failed.job_id))
    worker.run(str(failed.job_id))
    worker.run(str(failed.job_id))
    past = utcnow() - dt.timedelta(days=31)
    db.session.execute(sa.update(WorkflowExecution).values(created_at=past))
    db.session.execute(
        sa.update(WorkflowExecution).where(WorkflowExecution.status == "failed").values(finished_at=past)
    )
    db.session.commit()

    assert cleanup.delete_failed_workflows() == 1

    db.session.expire_all()
    left = {row.trigger_id: row.status for row in db.session.scalars(sa.select(WorkflowExecution))}
    assert left == {"lost": "failed", "running": "running"}
