"""Exports whose files are in a bucket: made, fetched, sent on, deleted, and a bucket that is away."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from app.extensions import db
from app.models.export_job import ExportJob, ExportStatus
from app.models.user import User
from app.services.exports import lifecycle
from flask_understudy.contrib.exports import s3
from flask_understudy.testing import TestWorker
from tools.servers.sqs import SqsServer

Header = dict[str, str]


@pytest.fixture
def app(sqlite_app: Flask, s3_bucket: str) -> Flask:
    sqlite_app.config["EXPORT_STORAGE_URL"] = f"s3://{s3_bucket}/exports"
    return sqlite_app


@pytest.fixture
def header(auth_header: Callable[..., Header], user_a: User) -> Header:
    return auth_header("read", "enqueue")


@pytest.fixture(autouse=True)
def _is_quick_to_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(s3._RETRIES, "max_retries", 0)


def made(app: Flask, client: FlaskClient, header: Header, state: str = "completed", **body: Any) -> dict[str, Any]:
    answer = client.post("/api/exports", json={"type": "MEMBERS", **body}, headers=header)
    assert answer.status_code == 201
    assert answer.json is not None
    export: dict[str, Any] = answer.json["exportJob"]
    with TestWorker(app.extensions["understudy"]) as worker:
        assert worker.run(export["jobId"]).state == state
    return client.get(f"/api/exports/{export['id']}", headers=header).json["exportJob"]  # type: ignore[index, no-any-return]


def kept(server: SqsServer, bucket: str) -> list[str]:
    return [each["Key"] for each in server.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]


@pytest.mark.requirement("I02")
@pytest.mark.parametrize("format_", ["json", "xlsx"])
def test_file_is_made_and_fetched(
    app: Flask, client: FlaskClient, header: Header, shared_sqs: SqsServer, s3_bucket: str, format_: str
) -> None:
    export = made(app, client, header, format=format_)

    file = client.get(export["fileUrl"], headers=header)

    assert (file.status_code, file.content_length) == (200, export["size"])
    assert hashlib.sha256(file.data).hexdigest() == export["sha256"]
    assert f'filename="members-{export["createdAt"][:10]}.{format_}"' in file.headers["Content-Disposition"]
    [key] = kept(shared_sqs, s3_bucket)
    assert key.startswith("exports/")


def test_download_is_sent_on_to_a_link_that_works_for_a_minute(app: Flask, client: FlaskClient, header: Header) -> None:
    app.config["EXPORT_REDIRECT"] = True
    export = made(app, client, header, format="json")

    answer = client.get(export["fileUrl"], headers=header)

    assert (answer.status_code, answer.data) == (302, b"")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "X-Amz-Expires=60" in answer.headers["Location"]
    with urllib.request.urlopen(answer.headers["Location"], timeout=10) as file:
        assert json.load(file)[0]["email"] == "ada@aster.example"
        assert file.headers["Content-Type"] == "application/json"
        assert f'filename="members-{export["createdAt"][:10]}.json"' in file.headers["Content-Disposition"]


@pytest.mark.parametrize("is_sent_on", [False, True])
def test_nobody_gets_a_file_that_is_over(
    app: Flask, client: FlaskClient, header: Header, shared_sqs: SqsServer, s3_bucket: str, is_sent_on: bool
) -> None:
    app.config["EXPORT_REDIRECT"] = is_sent_on
    export = made(app, client, header)
    path = f"/api/exports/{export['id']}/download"

    with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(days=7, minutes=1)):
        assert client.get(path, headers=header).status_code == 410
    shared_sqs.client("s3").delete_object(Bucket=s3_bucket, Key=kept(shared_sqs, s3_bucket)[0])

    assert client.get(path, headers=header).status_code == 410


def test_deleted_export_takes_its_file_along(
    app: Flask, client: FlaskClient, header: Header, shared_sqs: SqsServer, s3_bucket: str
) -> None:
    export = made(app, client, header)
    assert len(kept(shared_sqs, s3_bucket)) == 1

    assert client.delete(f"/api/exports/{export['id']}", headers=header).status_code == 204

    assert kept(shared_sqs, s3_bucket) == []


def test_bucket_that_is_away_is_a_503_that_does_not_name_it(
    app: Flask, client: FlaskClient, header: Header, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = made(app, client, header)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")

    for answer in (
        client.get(export["fileUrl"], headers=header),
        client.delete(f"/api/exports/{export['id']}", headers=header),
    ):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
        assert answer.content_type == "application/problem+json"
        assert "test-" not in answer.text and "AWS" not in answer.text
    monkeypatch.undo()
    assert client.get(f"/api/exports/{export['id']}", headers=header).status_code == 200


def test_export_is_tried_again_while_the_bucket_is_away(
    app: Flask, client: FlaskClient, header: Header, shared_sqs: SqsServer, s3_bucket: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        export = made(app, client, header, state="delayed")
    with TestWorker(app.extensions["understudy"]) as worker:
        assert worker.run(export["jobId"]).state == "completed"

    found = client.get(f"/api/exports/{export['id']}", headers=header).json
    assert found is not None and found["exportJob"]["status"] == "COMPLETED"
    assert len(kept(shared_sqs, s3_bucket)) == 1


def test_export_fails_in_plain_words_when_the_bucket_stays_away(
    app: Flask, client: FlaskClient, header: Header, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    export = made(app, client, header, state="delayed")
    with TestWorker(app.extensions["understudy"]) as worker:
        assert [worker.run(export["jobId"]).state for _ in range(2)] == ["delayed", "failed"]

    found = client.get(f"/api/exports/{export['id']}", headers=header).json

    assert found is not None
    assert found["exportJob"]["status"] == "FAILED"
    assert found["exportJob"]["error"] == "The storage of files could not be reached."
    assert found["exportJob"]["fileUrl"] is None


def test_file_of_a_failed_export_is_cleaned_up_when_the_bucket_is_back(
    app: Flask, client: FlaskClient, header: Header, shared_sqs: SqsServer, s3_bucket: str
) -> None:
    export = made(app, client, header)
    with app.app_context():
        row = db.session.get_one(ExportJob, export["id"])
        row.status, row.expires_at = ExportStatus.FAILED, None
        db.session.commit()

        assert lifecycle.delete_expired() == 1
        assert lifecycle.delete_expired() == 0

    assert kept(shared_sqs, s3_bucket) == []


@pytest.mark.parametrize(
    "url", ["ftp://host/x", "s3://", "s3://KEY:secret@bucket", "s3://bucket?x=1", "file://", "https://bucket"]
)
def test_wrong_url_is_refused_at_the_start_without_showing_it(
    make_app: Callable[..., Flask], sqlite_url: str, url: str
) -> None:
    with pytest.raises(ValueError, match="EXPORT_STORAGE_URL: got .not shown., expected a folder, file:///folder"):
        make_app(sqlite_url, EXPORT_STORAGE_URL=url)
