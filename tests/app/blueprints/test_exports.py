"""Exports over HTTP: ordered, made by a real job, fetched by their owner alone."""

import csv
import datetime as dt
import hashlib
import io
import json
import sys
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import openpyxl
import pyarrow.parquet as pq
import pypdf
import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from app.extensions import db, jobs
from app.models.export_job import ExportJob
from app.models.tenant import Tenant
from app.models.user import User
from app.models.wiki_page import WikiPage
from app.services.exports import files
from flask_understudy.contrib.exports import ALL_FORMATS
from flask_understudy.testing import TestWorker

Header = dict[str, str]
Headers = Callable[..., Header]


@pytest.fixture
def header(auth_header: Headers) -> Header:
    return auth_header("read", "enqueue")


@pytest.fixture
def pages(app: Flask, user_a: User) -> None:
    with app.app_context():
        for number in range(3):
            page = {"slug": f"page-{number}", "title": f"Page {number}", "body": "Text, with a comma\n"}
            db.session.add(WikiPage(tenant_id=user_a.tenant_id, author_id=user_a.id, **page))
        db.session.commit()


def order(client: FlaskClient, header: Header, **body: Any) -> dict[str, Any]:
    answer = client.post("/api/exports", json={"type": "WIKI_PAGES"} | body, headers=header)
    assert answer.status_code == 201, answer.json
    return answer.json["exportJob"]  # type: ignore[index, no-any-return]


def made(app: Flask, client: FlaskClient, header: Header, **body: Any) -> dict[str, Any]:
    """Order an export, have it made, return its description."""
    ordered = order(client, header, **body)
    with TestWorker(app.extensions["understudy"]) as worker:
        job = worker.run(ordered["jobId"], raise_errors=True)
    assert job.state == "completed"
    return described(client, header, ordered["id"])


def described(client: FlaskClient, header: Header, export_id: str) -> dict[str, Any]:
    answer = client.get(f"/api/exports/{export_id}", headers=header)
    assert answer.status_code == 200, answer.json
    return answer.json["exportJob"]  # type: ignore[index, no-any-return]


@pytest.mark.requirement("I02", "K03", "C12")
def test_order_is_stored_pending_with_its_job(app: Flask, client: FlaskClient, header: Header, user_a: User) -> None:
    answer = client.post("/api/exports", json={"type": "MEMBERS", "filters": {"role": "member"}}, headers=header)

    assert answer.status_code == 201
    assert answer.json is not None and answer.json["queued"] is True
    export = answer.json["exportJob"]
    assert answer.headers["Location"] == f"/api/exports/{export['id']}"
    assert export | {"id": "", "jobId": "", "createdAt": ""} == {
        "id": "",
        "userId": user_a.id,
        "kind": "export",
        "type": "MEMBERS",
        "status": "PENDING",
        "format": "csv",
        "filters": {"role": "member"},
        "entities": None,
        "notifyEmail": None,
        "jobId": "",
        "fileUrl": None,
        "size": None,
        "rows": None,
        "sha256": None,
        "error": None,
        "createdAt": "",
        "completedAt": None,
        "expiresAt": None,
    }
    job = jobs.get(export["jobId"])
    assert job is not None
    assert (job.queue, job.actor, job.max_attempts, job.state) == ("exports", "export:generate", 3, "waiting")
    assert (job.tenant, job.owner) == (user_a.tenant_id, user_a.id)
    with app.app_context():
        assert db.session.get_one(ExportJob, export["id"]).job_id == job.id


@pytest.mark.requirement("A40", "I02", "I04", "U04")
def test_file_is_made_and_fetched(app: Flask, client: FlaskClient, header: Header, pages: None) -> None:
    export = made(app, client, header)

    assert export["status"] == "COMPLETED"
    assert (export["rows"], export["error"]) == (3, None)
    answer = client.get(export["fileUrl"], headers=header)
    assert answer.status_code == 200
    assert answer.content_length == export["size"] == len(answer.data)
    assert hashlib.sha256(answer.data).hexdigest() == export["sha256"]
    table = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [row["slug"] for row in table] == ["page-0", "page-1", "page-2"]
    assert table[0]["body"] == "Text, with a comma\n"
    status = client.get(f"/api/queues/status/{export['jobId']}", headers=header)
    assert status.json is not None and status.json["state"] == "completed"


@pytest.mark.requirement("A40")
@pytest.mark.parametrize("type_", ["USER_DATA", "WIKI_PAGES", "MEMBERS", "ANALYTICS"])
@pytest.mark.parametrize("format_", ALL_FORMATS)
def test_every_type_comes_in_every_format(
    app: Flask, client: FlaskClient, header: Header, pages: None, type_: str, format_: str
) -> None:
    export = made(app, client, header, type=type_, format=format_)

    file = client.get(export["fileUrl"], headers=header)
    if format_ == "json":
        assert len(json.loads(file.data)) == export["rows"]
    elif format_ == "jsonl":
        assert len([json.loads(line) for line in file.data.splitlines()]) == export["rows"]
    elif format_ == "xlsx":
        assert openpyxl.load_workbook(io.BytesIO(file.data)).active.max_row == export["rows"] + 1
    elif format_ == "parquet":
        assert pq.read_table(io.BytesIO(file.data)).num_rows == export["rows"]
    elif format_ == "pdf":
        assert type_.replace("_", " ").capitalize() in pypdf.PdfReader(io.BytesIO(file.data)).pages[0].extract_text()
    else:
        assert len(list(csv.reader(io.StringIO(file.text, newline="")))) == export["rows"] + 1


def test_file_is_sent_as_a_download_that_nothing_runs(
    app: Flask, client: FlaskClient, header: Header, pages: None
) -> None:
    export = made(app, client, header)

    headers = client.get(export["fileUrl"], headers=header).headers
    assert headers["Content-Type"] == "text/csv; charset=utf-8"
    assert headers["Content-Disposition"] == f'attachment; filename="wiki-pages-{export["createdAt"][:10]}.csv"'
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Security-Policy"].startswith("sandbox")
    digest = b64encode(bytes.fromhex(export["sha256"])).decode()
    assert headers["Repr-Digest"] == f"sha-256=:{digest}:"


def test_part_of_a_file_cannot_be_asked_for(app: Flask, client: FlaskClient, header: Header, pages: None) -> None:
    export = made(app, client, header)

    bomb = {"Range": "bytes=" + ",".join(["0-"] * 500)}
    answer = client.get(export["fileUrl"], headers=header | bomb)
    assert (answer.status_code, len(answer.data)) == (200, export["size"])


def test_owner_needs_no_signature(app: Flask, client: FlaskClient, header: Header, pages: None) -> None:
    export = made(app, client, header)

    assert client.get(f"/api/exports/{export['id']}/download", headers=header).status_code == 200


def test_link_alone_opens_nothing(app: Flask, client: FlaskClient, header: Header, pages: None) -> None:
    export = made(app, client, header)

    answer = client.get(export["fileUrl"])
    assert answer.status_code == 401
    assert answer.content_type == "application/problem+json"


@pytest.mark.requirement("P09", "I03")
def test_nobody_else_sees_an_export(
    app: Flask,
    client: FlaskClient,
    header: Header,
    auth_header_b: Headers,
    other_user_a: User,
    make_token: Any,
    pages: None,
) -> None:
    export = made(app, client, header)
    colleague = {"Authorization": f"Bearer {make_token(other_user_a, 'read', 'enqueue', 'operate', 'admin')}"}

    for stranger in (auth_header_b("read", "enqueue"), colleague):
        unknown = client.get("/api/exports/00000000-0000-0000-0000-000000000000", headers=stranger)
        for path in ("", "/download", export["fileUrl"].removeprefix(f"/api/exports/{export['id']}")):
            answer = client.get(f"/api/exports/{export['id']}{path}", headers=stranger)
            assert answer.status_code == 404
            assert answer.json is not None and unknown.json is not None
            assert answer.json["detail"] == unknown.json["detail"]
        assert client.delete(f"/api/exports/{export['id']}", headers=stranger).status_code == 404
        assert client.get("/api/exports", headers=stranger).json == {"data": [], "nextCursor": None}
    assert client.get(export["fileUrl"], headers=header).status_code == 200


def test_link_of_another_export_is_refused(app: Flask, client: FlaskClient, header: Header, pages: None) -> None:
    first, second = (made(app, client, header) for _ in range(2))
    token = first["fileUrl"].partition("?")[2]

    answer = client.get(f"/api/exports/{second['id']}/download?{token}", headers=header)
    assert answer.status_code == 403
    assert client.get(f"{second['fileUrl']}x", headers=header).status_code == 403
    assert client.get(f"/api/exports/{second['id']}/download?token=", headers=header).status_code == 403


def test_link_is_gone_after_a_quarter_of_an_hour(app: Flask, client: FlaskClient, header: Header, pages: None) -> None:
    export = made(app, client, header)

    with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(minutes=16)):
        answer = client.get(export["fileUrl"], headers=header)
        assert answer.status_code == 410
        fresh = described(client, header, export["id"])["fileUrl"]
        assert client.get(fresh, headers=header).status_code == 200


def test_link_survives_a_change_of_the_secret(app: Flask, client: FlaskClient, header: Header, pages: None) -> None:
    export = made(app, client, header)

    old, app.config["SECRET_KEY"] = app.config["SECRET_KEY"], "quite another secret"
    assert client.get(export["fileUrl"], headers=header).status_code == 403
    app.config["SECRET_KEY_FALLBACKS"] = [old]
    assert client.get(export["fileUrl"], headers=header).status_code == 200


def test_file_is_gone_after_a_week(app: Flask, client: FlaskClient, header: Header, pages: None) -> None:
    export = made(app, client, header)
    assert export["expiresAt"] > export["completedAt"]

    with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(days=7, minutes=1)):
        answer = client.get(f"/api/exports/{export['id']}/download", headers=header)
        assert answer.status_code == 410
        assert answer.json is not None and "ask for a new export" in answer.json["detail"]


def test_file_that_disappeared_is_gone(app: Flask, client: FlaskClient, header: Header, pages: None) -> None:
    export = made(app, client, header)
    with app.app_context():
        files.storage().delete(str(db.session.get_one(ExportJob, export["id"]).file_key))

    assert client.get(export["fileUrl"], headers=header).status_code == 410


def test_file_that_is_not_made_yet_is_a_conflict(client: FlaskClient, header: Header) -> None:
    export = order(client, header)

    answer = client.get(f"/api/exports/{export['id']}/download", headers=header)
    assert (answer.status_code, answer.headers["Retry-After"]) == (409, "2")
    assert answer.json is not None and "PENDING" in answer.json["detail"]


@pytest.mark.requirement("J02", "C13", "decision-C13")
def test_order_is_accepted_and_carried_out_though_redis_is_down(
    make_app: Any, database_url: str, make_person: Any
) -> None:
    app: Flask = make_app(database_url, REDIS_URL="redis://127.0.0.1:1/0")
    header = make_person(app)
    client = app.test_client()

    answer = client.post("/api/exports", json={"type": "MEMBERS"}, headers=header)

    assert answer.status_code == 201
    assert answer.json is not None and answer.json["queued"] is False
    export = answer.json["exportJob"]
    assert export["status"] == described(client, header, export["id"])["status"] == "PENDING"
    with TestWorker(app.extensions["understudy"]) as worker:
        worker.drain("exports")
    assert described(client, header, export["id"])["status"] == "COMPLETED"


@pytest.fixture
def make_person() -> Callable[[Flask], Header]:
    """Make a person with a token in an app, and return the header."""
    from app.services import tokens

    def make(app: Flask) -> Header:
        with app.app_context():
            tenant = Tenant(slug="cedar", name="Cedar")
            db.session.add(tenant)
            db.session.flush()
            user = User(tenant_id=tenant.id, email="cy@cedar.example", name="Cy")
            db.session.add(user)
            db.session.flush()
            _, secret = tokens.create(tenant_id=tenant.id, user_id=user.id, name="t", scopes=("read", "enqueue"))
            db.session.commit()
        return {"Authorization": f"Bearer {secret}"}

    return make


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({"type": "EVERYTHING"}, "/type", "'EVERYTHING' is no export; there are USER_DATA, WIKI_PAGES"),
        ({"type": "wiki_pages"}, "/type", "no export"),
        ({"type": 7}, "/type", "string"),
        ({}, "/type", "required"),
        ({"type": "MEMBERS", "format": "xls"}, "/format", "'xls' is no format; there are csv, json, jsonl"),
        ({"type": "MEMBERS", "filters": {"shoe": 1}}, "/filters/shoe", "'shoe' is no filter of MEMBERS"),
        ({"type": "MEMBERS", "filters": []}, "/filters", "object"),
        ({"type": "MEMBERS", "notifyEmail": "nobody"}, "/notifyEmail", "'nobody' is no mail address"),
        ({"type": "MEMBERS", "notifyEmail": ["a@b.example"]}, "/notifyEmail", "string"),
        ({"type": "MEMBERS", "userId": "x"}, "/userId", "not permitted"),
        ({"type": "MEMBERS", "tenantId": "x"}, "/tenantId", "not permitted"),
    ],
)
def test_wrong_order_is_refused_and_nothing_is_stored(
    app: Flask, client: FlaskClient, header: Header, body: Any, pointer: str, detail: str
) -> None:
    answer = client.post("/api/exports", json=body, headers=header)

    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert answer.json is not None
    [error] = answer.json["errors"]
    assert error["pointer"] == pointer
    assert detail in error["detail"]
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(ExportJob)) == 0
    assert jobs.stats()["exports"]["total"] == 0


@pytest.mark.requirement("C21")
def test_format_without_its_package_is_refused_with_the_command(
    client: FlaskClient, header: Header, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "reportlab", None)

    answer = client.post("/api/exports", json={"type": "MEMBERS", "format": "pdf"}, headers=header)

    assert answer.status_code == 422
    assert answer.json is not None
    [error] = answer.json["errors"]
    assert error == {"pointer": "/format", "detail": "pdf needs a package: pip install 'flask-understudy[pdf]'"}


def test_order_that_cannot_be_queued_is_not_stored(
    app: Flask, client: FlaskClient, header: Header, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the ledger is out of reach")

    monkeypatch.setattr("app.blueprints.exports.generate_export.send", refuse)

    assert client.post("/api/exports", json={"type": "MEMBERS"}, headers=header).status_code == 500
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(ExportJob)) == 0


def test_program_has_no_data_of_its_own(client: FlaskClient, make_token: Any, tenant_a: Tenant) -> None:
    header = {"Authorization": f"Bearer {make_token(tenant_a, 'read', 'enqueue')}"}

    answer = client.post("/api/exports", json={"type": "USER_DATA"}, headers=header)
    assert answer.status_code == 422
    assert client.post("/api/exports", json={"type": "MEMBERS"}, headers=header).status_code == 201


@pytest.mark.parametrize(("method", "path"), [("post", ""), ("delete", "/x")])
def test_reader_cannot_order_or_delete(client: FlaskClient, auth_header: Headers, method: str, path: str) -> None:
    answer = getattr(client, method)(f"/api/exports{path}", json={"type": "MEMBERS"}, headers=auth_header("read"))

    assert answer.status_code == 403


@pytest.mark.parametrize("path", ["", "/x", "/x/download"])
def test_token_is_needed(client: FlaskClient, path: str) -> None:
    assert client.get(f"/api/exports{path}").status_code == 401


@pytest.mark.parametrize("export_id", ["1 OR 1=1", "x" * 10_000, "%00", "..%2f..%2fetc", "{x}", "é"])
def test_odd_ids_are_not_found(client: FlaskClient, header: Header, export_id: str) -> None:
    assert client.get(f"/api/exports/{export_id}", headers=header).status_code in {400, 404}
    assert client.get(f"/api/exports/{export_id}/download", headers=header).status_code in {400, 404}


@pytest.mark.requirement("I03")
def test_list_has_the_callers_exports_page_by_page(client: FlaskClient, header: Header) -> None:
    ordered = [order(client, header)["id"] for _ in range(5)]

    seen: list[str] = []
    cursor = ""
    for _ in range(3):
        answer = client.get(f"/api/exports?limit=2{cursor}", headers=header).json
        assert answer is not None
        seen += [export["id"] for export in answer["data"]]
        if answer["nextCursor"]:
            cursor = f"&cursor={answer['nextCursor']}"
    assert seen == ordered[::-1]
    assert answer["nextCursor"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "cursor=abc", "sort=id", "cursor="])
def test_wrong_page_is_refused(client: FlaskClient, header: Header, query: str) -> None:
    order(client, header)
    answer = client.get(f"/api/exports?{query}", headers=header)

    assert answer.status_code == (200 if query == "cursor=" else 422)


def test_deleted_export_is_gone_with_its_file(app: Flask, client: FlaskClient, header: Header, pages: None) -> None:
    export = made(app, client, header)

    assert client.delete(f"/api/exports/{export['id']}", headers=header).status_code == 204
    assert client.get(f"/api/exports/{export['id']}", headers=header).status_code == 404
    with app.app_context():
        assert list(files.storage().root.iterdir()) == []


def test_deleted_order_is_not_carried_out(app: Flask, client: FlaskClient, header: Header) -> None:
    export = order(client, header)

    assert client.delete(f"/api/exports/{export['id']}", headers=header).status_code == 204

    job = jobs.get(export["jobId"])
    assert job is not None and job.state == "cancelled"
    with TestWorker(app.extensions["understudy"]) as worker:
        assert worker.drain("exports") == []


@pytest.mark.requirement("A47")
@pytest.mark.parametrize("fails", [False, True])
def test_whoever_is_to_be_told_of_an_export_is_mailed_once(
    app: Flask, client: FlaskClient, header: Header, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    if fails:
        monkeypatch.setitem(app.config, "EXPORT_MAX_BYTES", 1)
    order = {"type": "MEMBERS", "notifyEmail": "boss@aster.example"}

    answer = client.post("/api/exports", json=order, headers=header)

    assert (answer.status_code, answer.json and answer.json["exportJob"]["notifyEmail"]) == (201, order["notifyEmail"])
    with app.app_context(), TestWorker(jobs) as worker:
        worker.drain("exports")
        [mail] = worker.sent("email:template")
        assert mail.kwargs["email"] == "boss@aster.example"
        assert mail.kwargs["mail"] == ("export-failed" if fails else "export-ready")
        assert mail.kwargs["data"]["organization"] == "Aster Ltd"
