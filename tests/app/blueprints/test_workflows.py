"""Automated workflows over HTTP: made by administrators, started by members, each organisation by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from app.extensions import db
from app.models.audit_log import AuditLog
from app.models.user import User
from app.models.workflow import Workflow
from app.models.workflow_execution import WorkflowExecution
from app.services.workflows import storing
from flask_understudy.testing import TestWorker

Header = dict[str, str]
Headers = Callable[..., Header]

PATH = "/api/workflows"
SECRET = "workflow-secret-canary"
MAIL = {"kind": "email", "to": "{{ payload.to }}", "subject": "Hello", "text": "It is {{ payload.n }}."}
NOTICE = {"kind": "notification", "to": "ada@aster.example", "title": "News", "message": "Some"}
STATUS = {"kind": "status", "incident": "{{ payload.id }}", "status": "closed"}
HOOK = {"kind": "webhook", "eventType": "flow.ended", "url": "https://example.com/hook?key=hidden", "secret": SECRET}
FLOW = {"name": "flow", "steps": [MAIL, STATUS]}
RUN = {"triggerId": "t-1", "payload": {"to": "ops@aster.example", "n": 7, "id": "none"}}


@pytest.fixture
def admin(auth_header: Headers) -> Header:
    return auth_header("read", "payload", "enqueue", "operate", "admin")


@pytest.fixture
def worker(app: Flask) -> Iterator[TestWorker]:
    with TestWorker(app.extensions["understudy"]) as worker:
        yield worker


def made(client: FlaskClient, header: Header, **more: Any) -> dict[str, Any]:
    answer = client.post(PATH, json=FLOW | more, headers=header)
    assert answer.status_code == 201, answer.text
    return answer.json  # type: ignore[no-any-return]


@pytest.mark.requirement("A18", "A19", "A20", "A21")
def test_a_workflow_is_made_started_once_and_shown(
    app: Flask, client: FlaskClient, admin: Header, user_a: User, worker: TestWorker
) -> None:
    incident = client.post("/api/incidents", json={"title": "Fire"}, headers=admin).json
    flow = made(client, admin, continueOnError=True)
    path = f"{PATH}/{flow['id']}/executions"
    run = RUN | {"payload": {"to": "ops@aster.example", "n": 7, "id": incident["id"]}}

    first = client.post(path, json=run, headers=admin | {"Idempotency-Key": "one"})
    same = client.post(path, json=run, headers=admin | {"Idempotency-Key": "one"})
    again = client.post(path, json=run, headers=admin)
    assert [answer.status_code for answer in (first, same, again)] == [202, 202, 202]
    assert first.json == same.json == again.json
    assert (first.json["status"], first.json["outcomes"]) == ("running", [])
    [job] = worker.sent("workflow:execute")
    assert (job.id, job.tenant, job.owner) == (first.json["jobId"], user_a.tenant_id, user_a.id)
    worker.run(job, raise_errors=True)

    shown = client.get(f"{path}/{first.json['id']}", headers=admin).json
    assert (shown["status"], shown["triggerId"], shown.pop("payload")) == ("completed", "t-1", run["payload"])
    assert [(step["kind"], step["name"], step["status"]) for step in shown["outcomes"]] == [
        ("email", "step 1", "done"),
        ("status", "step 2", "done"),
    ]
    assert client.get(path, headers=admin).json == {"data": [shown], "nextCursor": None}
    assert client.get(f"/api/incidents/{incident['id']}", headers=admin).json["status"] == "closed"
    with app.app_context():
        actions = db.session.scalars(sa.select(AuditLog.action).where(AuditLog.target == flow["id"])).all()
    assert sorted(actions) == ["workflow.create", "workflow.execute", "workflow.execute"]


@pytest.mark.requirement("A18", "P03", "P04")
def test_another_organisation_s_workflows_do_not_exist(
    client: FlaskClient, admin: Header, auth_header_b: Headers, worker: TestWorker
) -> None:
    path = f"{PATH}/{made(client, admin)['id']}"
    execution = client.post(f"{path}/executions", json=RUN, headers=admin).json["id"]
    theirs = auth_header_b("read", "payload", "enqueue", "operate", "admin")
    other = made(client, theirs)["id"]  # the name is free there

    for method, target, body in (
        ("GET", path, None),
        ("PATCH", path, {"enabled": False}),
        ("DELETE", path, None),
        ("POST", f"{path}/executions", RUN),
        ("GET", f"{path}/executions", None),
        ("GET", f"{path}/executions/{execution}", None),
        ("GET", f"{PATH}/{other}/executions/{execution}", None),
        ("GET", f"{PATH}/none", None),
        ("GET", f"{PATH}/{other}/executions/none", None),
    ):
        assert client.open(target, method=method, json=body, headers=theirs).status_code == 404, (method, target)
    assert [flow["id"] for flow in client.get(PATH, headers=theirs).json["data"]] == [other]
    assert len(worker.sent()) == 1


BIG = {"kind": "webhook", "eventType": "e", "payload": "x" * 70_000}


@pytest.mark.requirement("A20")
@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"steps": []}, "/steps"),
        ({"steps": [STATUS] * 51}, "/steps"),
        ({"steps": [STATUS | {"name": "x"}] * 2}, "/steps"),
        ({"steps": [BIG]}, "/steps"),
        ({"steps": [{"kind": "shell", "run": "id"}]}, "/steps/0"),
        ({"steps": [MAIL, {"to": "a@b.example"}]}, "/steps/1"),
        ({"steps": [MAIL | {"name": "a/b"}]}, "/steps/0/name"),
        ({"steps": [MAIL | {"tenant": "b"}]}, "/steps/0/tenant"),
        ({"steps": [MAIL | {"to": "nobody"}]}, "/steps/0/to"),
        ({"steps": [MAIL | {"to": []}]}, "/steps/0/to"),
        ({"steps": [MAIL | {"to": ["a@b.example", "x\ny@b.example"]}]}, "/steps/0/to"),
        ({"steps": [MAIL | {"subject": "a\r\nBcc: b@c.example"}]}, "/steps/0"),
        ({"steps": [MAIL | {"text": "{{ config.SECRET_KEY }}"}]}, "/steps/0/text"),
        ({"steps": [MAIL | {"text": "{{ payload.a | upper }}"}]}, "/steps/0/text"),
        ({"steps": [MAIL | {"text": "{{ payload.__class__() }}"}]}, "/steps/0/text"),
        ({"steps": [MAIL | {"text": "{{ payload.a"}]}, "/steps/0/text"),
        ({"steps": [MAIL | {"text": None}]}, "/steps/0"),
        ({"steps": [MAIL | {"type": "welcome", "data": {"name": "A"}}]}, "/steps/0"),
        ({"steps": [{"kind": "email", "to": "a@b.example", "type": "odd", "data": {}}]}, "/steps/0"),
        ({"steps": [{"kind": "email", "to": "a@b.example", "type": "welcome", "data": {"x": 1}}]}, "/steps/0"),
        (
            {"steps": [{"kind": "email", "to": "a@b.example", "type": "password-reset", "data": {"code": "1"}}]},
            "/steps/0",
        ),
        ({"steps": [NOTICE | {"link": "javascript:alert(1)"}]}, "/steps/0"),
        ({"steps": [NOTICE | {"title": 7}]}, "/steps/0/title"),
        ({"steps": [STATUS | {"status": "gone"}]}, "/steps/0/status"),
        ({"steps": [{"kind": "status", "status": "open"}]}, "/steps/0/incident"),
        ({"steps": [HOOK | {"url": "https://169.254.169.254/"}]}, "/steps/0/url"),
        ({"steps": [HOOK | {"url": "https://x.example/{{payload.a}}"}]}, "/steps/0"),
        ({"steps": [HOOK | {"secret": "short"}]}, "/steps/0/secret"),
        ({"steps": [HOOK | {"secret": None}]}, "/steps/0/secret"),
        ({"steps": [HOOK | {"eventType": "no event"}]}, "/steps/0/eventType"),
        ({"steps": [HOOK | {"url": None}]}, "/steps/0"),
        ({"continueOnError": "yes"}, "/continueOnError"),
        ({"tenantId": "b"}, "/tenantId"),
    ],
    ids=lambda given: given if isinstance(given, str) else "-",
)
def test_a_wrong_definition_is_a_422_and_nothing_is_stored(
    app: Flask, client: FlaskClient, admin: Header, change: dict[str, Any], pointer: str
) -> None:
    answer = client.post(PATH, json=FLOW | change, headers=admin)

    assert answer.status_code == 422, answer.text
    assert answer.json["errors"][0]["pointer"].startswith(pointer)
    assert SECRET not in answer.text
    with app.app_context():
        assert db.session.scalars(sa.select(Workflow)).all() == []


@pytest.mark.requirement("A18")
@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"payload": {}}, 422, "/triggerId"),
        ({"triggerId": "", "payload": {}}, 422, "/triggerId"),
        ({"triggerId": "a\tb"}, 422, "/triggerId"),
        ({"triggerId": "t", "payload": [1]}, 422, "/payload"),
        ({"triggerId": "t", "payload": {"n": "x" * 66_000}}, 422, "/payload"),
        ({"triggerId": "t", "companyId": "b"}, 422, "/companyId"),
    ],
)
def test_a_wrong_start_is_a_422_and_nothing_is_stored(
    app: Flask, client: FlaskClient, admin: Header, worker: TestWorker, body: Any, status: int, pointer: str
) -> None:
    answer = client.post(f"{PATH}/{made(client, admin)['id']}/executions", json=body, headers=admin)

    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (status, pointer)
    assert worker.sent() == []
    with app.app_context():
        assert db.session.scalars(sa.select(WorkflowExecution)).all() == []


@pytest.mark.requirement("A20", "P06")
def test_a_secret_is_never_shown_and_stays_with_its_name_and_url(
    app: Flask, client: FlaskClient, admin: Header, auth_header: Headers
) -> None:
    flow = made(client, admin, steps=[HOOK | {"name": "tell"}])
    path = f"{PATH}/{flow['id']}"

    def sealed() -> str:
        with app.app_context():
            workflow = db.session.get_one(Workflow, flow["id"])
            return storing.secret_of(workflow.id, workflow.steps[-1])

    changed = client.patch(path, json={"steps": [MAIL, *flow["steps"]]}, headers=admin)
    assert (changed.status_code, sealed()) == (200, SECRET)
    moved = [step | {"url": "https://elsewhere.example/"} for step in flow["steps"]]
    refused = client.patch(path, json={"steps": moved}, headers=admin)
    assert (refused.status_code, refused.json["errors"][0]["pointer"]) == (422, "/steps/0/secret")
    assert sealed() == SECRET
    for answer in (changed, client.get(path, headers=admin), client.get(PATH, headers=admin)):
        assert SECRET not in answer.text and "sealed" not in answer.text and "hidden" in answer.text
    assert "hidden" not in client.get(path, headers=auth_header("read")).text
    with app.app_context():
        for table in sa.inspect(db.engine).get_table_names():
            assert SECRET not in str(db.session.execute(sa.text(f"SELECT * FROM {table}")).all()), table


def test_a_workflow_is_changed_disabled_and_deleted(client: FlaskClient, admin: Header, worker: TestWorker) -> None:
    flow = made(client, admin)
    path = f"{PATH}/{flow['id']}"
    made(client, admin, name="other")

    taken = [client.post(PATH, json=FLOW, headers=admin), client.patch(path, json={"name": "other"}, headers=admin)]
    assert [answer.status_code for answer in taken] == [409, 409]
    assert client.patch(path, json={"name": "flow", "enabled": True}, headers=admin).json == flow
    assert client.post(f"{path}/executions", json=RUN, headers=admin).status_code == 202
    assert client.delete(path, headers=admin).status_code == 409
    off = client.patch(path, json={"enabled": False, "continueOnError": True}, headers=admin).json
    assert off == flow | {"enabled": False, "continueOnError": True}
    refused = client.post(f"{path}/executions", json=RUN | {"triggerId": "t-2"}, headers=admin)
    assert (refused.status_code, "disabled" in refused.text) == (409, True)
    for name in ("name", "steps", "enabled", "continueOnError"):
        assert client.patch(path, json={name: None}, headers=admin).status_code == 422

    client.post(f"/api/jobs/{worker.sent()[0].id}/cancel", headers=admin)
    assert client.delete(path, headers=admin).status_code == 204
    assert client.get(path, headers=admin).status_code == 404


def test_an_execution_whose_job_was_cancelled_has_failed(
    client: FlaskClient, admin: Header, worker: TestWorker
) -> None:
    path = f"{PATH}/{made(client, admin)['id']}/executions"
    execution = client.post(path, json=RUN, headers=admin).json
    client.post(f"/api/jobs/{execution['jobId']}/cancel", headers=admin)

    [shown] = client.get(path, headers=admin).json["data"]

    assert (shown["status"], [step["status"] for step in shown["outcomes"]]) == ("failed", ["skipped"] * 2)
    assert client.get(f"{path}/{execution['id']}", headers=admin).json["status"] == "failed"


def test_a_list_leads_on_and_a_payload_is_for_those_who_may_see_it(
    client: FlaskClient, admin: Header, auth_header: Headers
) -> None:
    path = f"{PATH}/{made(client, admin)['id']}/executions"
    for number in range(3):
        client.post(path, json=RUN | {"triggerId": f"t-{number}"}, headers=admin)

    first = client.get(f"{path}?limit=2", headers=admin).json
    rest = client.get(f"{path}?limit=2&cursor={first['nextCursor']}", headers=admin).json

    assert [row["triggerId"] for row in first["data"] + rest["data"]] == ["t-2", "t-1", "t-0"]
    assert rest["nextCursor"] is None
    assert client.get(f"{path}?cursor=forged", headers=admin).status_code == 422
    one = f"{path}/{rest['data'][0]['id']}"
    assert client.get(one, headers=auth_header("read")).json["payload"] is None


def test_each_door_needs_its_scope(client: FlaskClient, auth_header: Headers, admin: Header) -> None:
    path = f"{PATH}/{made(client, admin)['id']}"
    less = auth_header("read", "payload", "operate")

    for method, target in (
        ("POST", PATH),
        ("PATCH", path),
        ("DELETE", path),
        ("POST", f"{path}/executions"),
    ):
        assert client.open(target, method=method, json={}, headers=less).status_code == 403, (method, target)
    for target in (PATH, path, f"{path}/executions"):
        assert client.get(target, headers=less).status_code == 200
        assert client.get(target, headers=auth_header("admin")).status_code == 403


def test_an_organisation_has_two_hundred_workflows_at_the_most(
    app: Flask, client: FlaskClient, admin: Header, user_a: User
) -> None:
    with app.app_context():
        db.session.add_all([Workflow(tenant_id=user_a.tenant_id, name=f"flow {n}", steps=[]) for n in range(200)])
        db.session.commit()

    answer = client.post(PATH, json=FLOW, headers=admin)

    assert (answer.status_code, "200" in answer.json["detail"]) == (409, True)


def test_the_status_of_an_incident_is_changed_by_its_own_organisation(
    client: FlaskClient, admin: Header, auth_header_b: Headers
) -> None:
    incident = client.post("/api/incidents", json={"title": "Fire"}, headers=admin).json
    path = f"/api/incidents/{incident['id']}"
    assert incident["status"] == "open"

    assert client.patch(path, json={"status": "closed"}, headers=auth_header_b("operate")).status_code == 404
    assert client.patch(path, json={"status": "gone"}, headers=admin).status_code == 422
    changed = client.patch(path, json={"status": "investigating"}, headers=admin)

    assert changed.json == incident | {"status": "investigating"}
    assert client.get(path, headers=admin).json == changed.json


def test_workflows_stand_in_the_openapi_document(client: FlaskClient) -> None:
    described = client.get("/api/jobs/openapi.json").json
    validate(described)

    assert {PATH, f"{PATH}/{{workflow_id}}", f"{PATH}/{{workflow_id}}/executions"} <= set(described["paths"])
