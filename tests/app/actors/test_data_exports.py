"""An organisation's data: every entity, in one file, of nobody else."""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.actors.data_exports import queue_data_export
from app.extensions import db, jobs
from app.models.export_job import ExportJob, ExportKind, ExportStatus
from app.models.tenant import Tenant
from app.models.user import User
from app.services.exports import data, files
from flask_understudy.contrib.api import Problem
from flask_understudy.contrib.exports import LocalStorage
from flask_understudy.testing import TestWorker
from tests.app import march
from tests.app.conftest import AppFactory
from tools.smtp import SmtpCatcher

ALL = ["stations", "audits", "incidents", "work-permits", "contractors", "users"]
COUNTS = {"stations": 2, "audits": 8, "incidents": 6, "work-permits": 6, "contractors": 2, "users": 1}
TO = "boss@aster.example"

Ask = Callable[..., ExportJob]


@pytest.fixture
def app(make_app: AppFactory, database_url: str, smtp_server: SmtpCatcher) -> Flask:
    return make_app(database_url, SMTP_HOST="127.0.0.1", SMTP_PORT=smtp_server.port, MAIL_SUPPRESS_SEND=False)


@pytest.fixture
def worker(app: Flask) -> Iterator[TestWorker]:
    with app.app_context(), TestWorker(jobs) as worker:
        yield worker


@pytest.fixture
def ask(worker: TestWorker, tenant_a: Tenant, tenant_b: Tenant, user_a: User, user_b: User) -> Ask:
    """Order an export and commit."""
    march.fill(tenant_b)
    march.fill(tenant_a)
    db.session.execute(sa.update(User).values(password_hash="scrypt:secret"))
    db.session.commit()

    def order(**more: Any) -> ExportJob:
        asked = {"organization_id": tenant_a.id, "entities": ALL, "user_id": user_a.id, "notify_email": TO}
        export = queue_data_export(**(asked | more))
        db.session.commit()
        return export

    return order


def content(export: ExportJob) -> bytes:
    db.session.refresh(export)
    assert export.file_key is not None, export.error
    with files.storage().open(export.file_key) as file:
        return file.read()


@pytest.mark.requirement("A45", "A46", "A47", "C12", "P04")
def test_everything_an_organisation_has_stands_in_one_object(
    worker: TestWorker, ask: Ask, tenant_a: Tenant, user_a: User, smtp_server: SmtpCatcher
) -> None:
    export = ask()
    job = jobs.get(str(export.job_id))
    assert job is not None
    assert (job.actor, job.queue, job.max_attempts) == ("data-export:generate", "data-exports", 2)
    assert (job.tenant, job.owner, job.args) == (tenant_a.id, user_a.id, [export.id])

    worker.drain(raise_errors=True)

    text = content(export)
    read = json.loads(text)
    assert list(read) == ALL
    assert {entity: len(rows) for entity, rows in read.items()} == COUNTS
    assert read["users"][0]["email"] == user_a.email
    assert b"scrypt" not in text and b"password" not in text
    known = {station["id"] for station in read["stations"]}
    assert {audit["station_id"] for audit in read["audits"]} == known
    assert (export.kind, export.rows, export.size) == (ExportKind.DATA, 25, len(text))
    assert [(mail["To"], mail["Subject"]) for mail in smtp_server.messages] == [
        (TO, "Data: stations, audits, incidents and 3 more is ready (Aster Ltd)")
    ]


@pytest.mark.requirement("A45", "A46")
def test_tables_come_in_an_archive_and_one_alone_comes_plain(worker: TestWorker, ask: Ask) -> None:
    many, one = ask(format="csv"), ask(format="csv", entities=["contractors"])
    worker.drain(raise_errors=True)

    with zipfile.ZipFile(io.BytesIO(content(many))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"{entity}.csv" for entity in ALL]
        for entity in ALL:
            table = list(csv.DictReader(io.StringIO(archive.read(f"{entity}.csv").decode(), newline="")))
            assert len(table) == COUNTS[entity], entity
        plain = archive.read("contractors.csv")
    assert content(one) == plain
    assert b"'=1+1" in plain  # no spreadsheet runs it


@pytest.mark.requirement("A45")
def test_an_organisation_without_rows_has_empty_arrays(worker: TestWorker, ask: Ask, user_a: User) -> None:
    for table in ("incidents", "audits"):
        db.session.execute(sa.text(f"DELETE FROM {table}"))
    db.session.commit()
    export = ask(entities=["incidents", "audits"])
    worker.drain(raise_errors=True)

    assert json.loads(content(export)) == {"incidents": [], "audits": []}


@pytest.mark.requirement("A45")
@pytest.mark.parametrize("format_", ["json", "csv"])
def test_rows_are_written_as_they_come(
    worker: TestWorker, ask: Ask, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    written: list[str] = []
    save = LocalStorage.save

    def watched(storage: Any, key: str, chunks: Iterator[bytes], **more: Any) -> Any:
        def noted() -> Iterator[bytes]:
            for chunk in chunks:
                written.append("chunk")
                yield chunk

        return save(storage, key, noted(), **more)

    def streams(original: Any) -> Any:
        def iterate(stream: Any) -> Iterator[bytes]:
            written.append("rows")
            return original(stream)

        return iterate

    monkeypatch.setattr(LocalStorage, "save", watched)
    monkeypatch.setattr(data.RowStream, "__iter__", streams(data.RowStream.__iter__))
    ask(entities=["stations", "audits"], format=format_)
    worker.drain(raise_errors=True)

    first, second = (index for index, word in enumerate(written) if word == "rows")
    assert "chunk" in written[first:second]  # the second entity is read when the first is in the file


@pytest.mark.requirement("A47", "D12")
def test_after_two_tries_the_failure_is_mailed_once(
    worker: TestWorker, ask: Ask, smtp_server: SmtpCatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*parts: Any) -> Any:
        raise OSError("the disk is on fire")

    monkeypatch.setattr(data, "write", broken)
    export = ask(entities=["users"])
    states = [worker.run(str(export.job_id)).state for _ in range(2)]
    worker.drain(raise_errors=True)

    assert states == ["delayed", "failed"]
    db.session.refresh(export)
    assert (export.status, export.error) == (
        ExportStatus.FAILED,
        "Something went wrong inside the service. Its log has the details.",
    )
    assert [mail["Subject"] for mail in smtp_server.messages] == ["Data: users could not be made (Aster Ltd)"]


@pytest.mark.requirement("A45", "A46", "P04")
@pytest.mark.parametrize(
    ("change", "pointer", "said"),
    [
        ({"entities": ["stations", "salaries"]}, "/entities/1", "stations, audits, incidents, work-permits"),
        ({"entities": ["users", "users"]}, "/entities/1", "twice"),
        ({"entities": []}, "/entities", "takes a list"),
        ({"entities": "users"}, "/entities", "takes a list"),
        ({"format": "pdf"}, "/format", "json, csv"),
        ({"notify_email": "a@b\nBcc: c@d"}, "/notifyEmail", ""),
        ({"organization_id": "none"}, "/organizationId", "no organisation"),
        ({"user_id": "none"}, "/userId", "Nobody"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_nothing_is_stored(
    worker: TestWorker, ask: Ask, change: dict[str, Any], pointer: str, said: str
) -> None:
    with pytest.raises(Problem) as refusal:
        ask(**change)

    [error] = refusal.value.errors
    assert (error["pointer"], said in error["detail"]) == (pointer, True), error
    db.session.commit()
    assert (worker.sent(), db.session.scalar(sa.select(sa.func.count()).select_from(ExportJob))) == ([], 0)
