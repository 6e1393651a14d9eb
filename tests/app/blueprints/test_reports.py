"""Reports and data exports over HTTP, with the bodies of the fourth seed document."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app.extensions import db, jobs
from app.models.audit_log import AuditLog
from app.models.export_job import ExportJob
from app.models.tenant import Tenant
from app.models.user import User
from flask_understudy.testing import TestWorker
from flask_understudy.waiting import WaitingRoom
from tests.app import march
from tools.waiting import wait_for

Headers = Callable[..., dict[str, str]]

REPORTS, DATA = "/api/jobs/reports", "/api/jobs/data-exports"
REPORT = {
    "type": "audits",
    "filters": {"status": "Completed"},
    "format": "json",
    "notifyEmail": "user@example.com",
}
EXPORT = {"entities": ["stations", "audits", "incidents"], "format": "json", "notifyEmail": "user@example.com"}
#: The body of each, with the scope it needs, and what becomes of it.
BOTH = [
    (REPORTS, REPORT, "enqueue", "report", "report:generate", "reports"),
    (DATA, EXPORT, "admin", "data", "data-export:generate", "data-exports"),
]


@pytest.fixture
def filled(app: Flask, tenant_a: Tenant, tenant_b: Tenant) -> None:
    with app.app_context():
        march.fill(tenant_b)
        march.fill(tenant_a)


def work(app: Flask) -> None:
    with app.app_context(), TestWorker(jobs) as worker:
        worker.drain(raise_errors=True)


@contextmanager
def working(app: Flask) -> Iterator[None]:
    """A worker beside the block that does the first job there is."""

    def run() -> None:
        with app.app_context(), TestWorker(jobs) as worker:
            wait_for(lambda: worker.sent(), "a job")
            worker.drain(raise_errors=True)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join(30)


def stored(app: Flask) -> int:
    with app.app_context():
        found: int = db.session.scalar(sa.select(sa.func.count()).select_from(ExportJob)) or 0
        return found


@pytest.mark.requirement("I15", "I16", "C12", "decision-C12", "C32")
@pytest.mark.parametrize(("path", "body", "scope", "kind", "actor", "queue"), BOTH)
def test_a_file_is_ordered_listed_and_fetched(
    app: Flask,
    client: FlaskClient,
    auth_header: Headers,
    auth_header_b: Headers,
    user_a: User,
    filled: None,
    path: str,
    body: dict[str, Any],
    scope: str,
    kind: str,
    actor: str,
    queue: str,
) -> None:
    header = auth_header(scope, "read")

    answer = client.post(path, json=body | {"priority": 2}, headers=header)

    assert answer.status_code == 202
    queued = answer.json
    assert queued is not None
    assert (queued["type"], queued["queue"], queued["status"], queued["fileUrl"]) == (actor, queue, "PENDING", None)
    assert answer.headers["Location"] == f"/api/exports/{queued['exportId']}"
    job = jobs.get(queued["jobId"])
    assert job is not None
    assert (job.actor, job.tenant, job.owner, job.priority) == (actor, user_a.tenant_id, user_a.id, 2)
    work(app)
    [shown] = client.get("/api/exports", headers=header).json["data"]  # type: ignore[index]
    assert (shown["id"], shown["kind"], shown["status"]) == (queued["exportId"], kind, "COMPLETED")
    assert (shown["notifyEmail"], shown["entities"]) == ("user@example.com", body.get("entities"))
    file = client.get(shown["fileUrl"], headers=header)
    assert json.loads(file.data)
    name = "audits-report" if kind == "report" else "data"
    assert file.headers["Content-Disposition"].startswith(f'attachment; filename="{name}-20')
    assert client.get(f"/api/queues/status/{job.id}", headers=header).status_code == 200
    other = auth_header_b("read", "admin")
    assert client.get(f"/api/exports/{shown['id']}/download", headers=other).status_code == 404
    assert client.get("/api/exports", headers=other).json == {"data": [], "nextCursor": None}
    with app.app_context():
        written = sa.select(AuditLog.action, AuditLog.subject).where(AuditLog.target == queued["exportId"])
        assert db.session.execute(written).all() == [(f"{queue.rstrip('s')}.create", user_a.id)]


@pytest.mark.requirement("I15", "A44")
@pytest.mark.parametrize(
    ("path", "body", "media_type", "start"),
    [
        (REPORTS, {"type": "compliance", "format": "pdf"}, "application/pdf", b"%PDF"),
        (DATA, {"entities": ["users", "stations"], "format": "csv"}, "application/zip", b"PK"),
        (DATA, {"entities": ["users"], "format": "csv"}, "text/csv; charset=utf-8", b'"id"'),
    ],
)
def test_a_file_is_sent_as_what_it_is(
    app: Flask,
    client: FlaskClient,
    auth_header: Headers,
    filled: None,
    path: str,
    body: dict[str, Any],
    media_type: str,
    start: bytes,
) -> None:
    header = auth_header("read", "enqueue", "admin")
    order = client.post(path, json=body, headers=header).json
    work(app)

    file = client.get(f"/api/exports/{order['exportId']}/download", headers=header)  # type: ignore[index]

    assert (file.status_code, file.headers["Content-Type"]) == (200, media_type)
    assert file.data.startswith(start)


@pytest.mark.requirement("C23")
@pytest.mark.parametrize(("path", "body", "scope"), [case[:3] for case in BOTH])
def test_who_waits_gets_the_link_of_the_file(
    app: Flask,
    client: FlaskClient,
    auth_header: Headers,
    filled: None,
    path: str,
    body: dict[str, Any],
    scope: str,
) -> None:
    header = auth_header(scope, "read") | {"Idempotency-Key": "one"}

    with working(app):
        answer = client.post(f"{path}?wait=25", json=body, headers=header)

    assert (answer.status_code, answer.json and answer.json["status"]) == (200, "COMPLETED")
    assert client.get(answer.json["fileUrl"], headers=header).status_code == 200  # type: ignore[index]
    again = client.post(f"{path}?wait=25", json=body, headers=header)
    assert (again.status_code, again.json and again.json["jobId"]) == (200, answer.json["jobId"])  # type: ignore[index]
    assert stored(app) == 1


@pytest.mark.requirement("C23")
def test_who_waits_in_vain_is_told_that_it_is_queued(app: Flask, client: FlaskClient, auth_header: Headers) -> None:
    answer = client.post(f"{REPORTS}?wait=0.1", json=REPORT, headers=auth_header("enqueue"))
    assert (answer.status_code, answer.json and answer.json["status"]) == (202, "PENDING")

    app.extensions["understudy"].waiting_room = WaitingRoom(0, 0)
    answer = client.post(f"{REPORTS}?wait=25", json=REPORT, headers=auth_header("enqueue"))
    assert (answer.status_code, answer.json and answer.json["status"]) == (202, "PENDING")


@pytest.mark.requirement("C23")
def test_who_waits_is_told_that_it_has_failed(
    app: Flask, client: FlaskClient, auth_header: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.config["EXPORT_MAX_BYTES"] = 5  # no further try would help

    def run() -> None:
        with app.app_context(), TestWorker(jobs) as worker:
            wait_for(lambda: worker.sent(), "a job")
            worker.drain()

    thread = threading.Thread(target=run)
    thread.start()
    answer = client.post(f"{REPORTS}?wait=25", json=REPORT, headers=auth_header("enqueue"))
    thread.join(30)

    assert (answer.status_code, answer.json and answer.json["status"]) == (200, "FAILED")
    assert "5 bytes" in answer.json["error"] and answer.json["fileUrl"] is None  # type: ignore[index]


@pytest.mark.requirement("C32", "P04")
@pytest.mark.parametrize(("path", "body", "scope"), [case[:3] for case in BOTH])
def test_whose_it_is_says_the_token(
    app: Flask,
    client: FlaskClient,
    auth_header: Headers,
    user_a: User,
    user_b: User,
    path: str,
    body: dict[str, Any],
    scope: str,
) -> None:
    header = auth_header(scope)
    for foreign in ({"organizationId": user_b.tenant_id}, {"userId": user_b.id}, {"organization_id": "x"}):
        answer = client.post(path, json=body | foreign, headers=header)
        assert (answer.status_code, "Leave it out" in answer.text) == (403, True)
    assert stored(app) == 0

    own = {"organizationId": user_a.tenant_id, "userId": user_a.id}
    assert client.post(path, json=body | own, headers=header).status_code == 202


@pytest.mark.requirement("I15", "I16", "P01")
def test_the_scope_is_needed(app: Flask, client: FlaskClient, auth_header: Headers) -> None:
    for path, body, scope, *_ in BOTH:
        others = {"read", "payload", "enqueue", "operate", "admin"} - {scope}
        assert client.post(path, json=body, headers=auth_header(*others)).status_code == 403
        assert client.post(path, json=body).status_code == 401
    assert stored(app) == 0


@pytest.mark.requirement("I15")
def test_the_same_order_sent_twice_is_one_report(app: Flask, client: FlaskClient, auth_header: Headers) -> None:
    header = auth_header("enqueue") | {"Idempotency-Key": "report-1"}

    first, second = (client.post(REPORTS, json=REPORT, headers=header) for _ in range(2))

    assert (first.json, first.headers["Location"]) == (second.json, second.headers["Location"])
    assert stored(app) == 1


@pytest.mark.requirement("I15", "I16")
@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        (REPORTS, REPORT | {"type": "sales"}, "/type"),
        (REPORTS, REPORT | {"format": "docx"}, "/format"),
        (REPORTS, REPORT | {"filters": {"dateFrom": "x"}}, "/filters/dateFrom"),
        (REPORTS, REPORT | {"filters": "all"}, "/filters"),
        (REPORTS, REPORT | {"notifyEmail": "nobody"}, "/notifyEmail"),
        (REPORTS, REPORT | {"priority": 9}, "/priority"),
        (REPORTS, {"format": "json"}, "/type"),
        (REPORTS, REPORT | {"secret": "x"}, "/secret"),
        (f"{REPORTS}?wait=26", REPORT, "/wait"),
        (f"{REPORTS}?wait=nan", REPORT, "/wait"),
        (DATA, EXPORT | {"entities": []}, "/entities"),
        (DATA, EXPORT | {"entities": ["secrets"]}, "/entities/0"),
        (DATA, EXPORT | {"entities": ["users", "users"]}, "/entities/1"),
        (DATA, EXPORT | {"format": "pdf"}, "/format"),
        (DATA, {"format": "json"}, "/entities"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_stored(
    app: Flask, client: FlaskClient, auth_header: Headers, path: str, body: dict[str, Any], pointer: str
) -> None:
    answer = client.post(path, json=body, headers=auth_header("enqueue", "admin"))

    assert answer.status_code == 422, answer.text
    assert answer.json is not None and answer.json["errors"][0]["pointer"] == pointer
    assert stored(app) == 0
