"""Reports as the fourth seed document asks for them: made in the background, mailed at their ends, and weekly."""

import csv
import datetime as dt
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import openpyxl
import pypdf
import pytest
import sqlalchemy as sa
from flask import Flask

from app.actors import reports
from app.actors.reports import queue_report, queue_weekly_reports
from app.extensions import db, jobs
from app.models.base import utcnow
from app.models.export_job import ExportJob, ExportKind, ExportStatus
from app.models.tenant import Tenant
from app.models.user import User
from app.services.exports import files, lifecycle
from app.services.reports import types
from flask_understudy.contrib.api import Problem
from flask_understudy.testing import TestWorker
from tests.app import march
from tests.app.conftest import AppFactory
from tools.smtp import SmtpCatcher

TO = "boss@aster.example"
OURS = "Something went wrong inside the service. Its log has the details."


@pytest.fixture
def app(make_app: AppFactory, database_url: str, smtp_server: SmtpCatcher) -> Flask:
    return make_app(database_url, SMTP_HOST="127.0.0.1", SMTP_PORT=smtp_server.port, MAIL_SUPPRESS_SEND=False)


@pytest.fixture
def worker(app: Flask) -> Iterator[TestWorker]:
    with app.app_context(), TestWorker(jobs) as worker:
        yield worker


Ask = Callable[..., ExportJob]


@pytest.fixture
def ask(worker: TestWorker, tenant_a: Tenant, tenant_b: Tenant, user_a: User) -> Ask:
    """Order a report on March and commit."""
    march.fill(tenant_b)
    march.fill(tenant_a)

    def order(**more: Any) -> ExportJob:
        filters = march.MARCH | more.pop("filters", {})
        asked = {"type": "audits", "organization_id": tenant_a.id, "user_id": user_a.id, "notify_email": TO}
        report = queue_report(filters=filters, **(asked | more))
        db.session.commit()
        return report

    return order


def content(report: ExportJob) -> bytes:
    db.session.refresh(report)
    assert report.file_key is not None, report.error
    with files.storage().open(report.file_key) as file:
        return file.read()


def text_of(smtp_server: SmtpCatcher) -> str:
    [mail] = smtp_server.messages
    return str(mail.get_body(("plain",)).get_content())


def mails(smtp_server: SmtpCatcher) -> list[tuple[str, str]]:
    return [(mail["To"], mail["Subject"]) for mail in smtp_server.messages]


@pytest.mark.requirement("A25", "A42", "A47", "C12", "D11")
def test_a_report_is_made_in_stages_and_mailed_once(
    worker: TestWorker, ask: Ask, user_a: User, smtp_server: SmtpCatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages: list[Any] = []

    def compose(attempt: files.Attempt, on_stage: Any) -> Any:
        def noted(percent: float, message: str) -> None:
            on_stage(percent, message)
            stages.append(percent)

        return original(attempt, noted)

    original = types.compose
    monkeypatch.setattr(reports.types, "compose", compose)
    report = ask(type="compliance")
    job = jobs.get(str(report.job_id))
    assert job is not None
    assert (job.actor, job.queue, job.max_attempts, job.state) == ("report:generate", "reports", 3, "waiting")
    assert (job.tenant, job.owner, job.args, job.kwargs) == (user_a.tenant_id, user_a.id, [report.id], {})

    worker.drain(raise_errors=True)

    job = jobs.get(job.id)
    assert job is not None
    assert (stages, job.progress) == ([20, 35, 50], 100)
    assert job.result["report"] == report.id
    assert job.result["figures"]["Compliance rate in %"] == 42.9
    assert job.result["size"] == len(content(report))
    assert (report.status, report.kind, report.type) == (ExportStatus.COMPLETED, ExportKind.REPORT, "compliance")
    assert mails(smtp_server) == [(TO, "Compliance, 2026-03-01 to 2026-03-31 is ready (Aster Ltd)")]
    assert f"/exports?file={report.id}" in text_of(smtp_server)


@pytest.mark.requirement("A25", "T04")
def test_how_far_a_report_is_stands_in_the_database(
    worker: TestWorker, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compose(attempt: files.Attempt, on_stage: Any) -> Any:
        original(attempt, on_stage)
        raise ConnectionError("the power is off")

    original = types.compose
    report = ask()
    with monkeypatch.context() as patch:
        patch.setattr(reports.types, "compose", compose)
        job = worker.run(str(report.job_id))
    assert (job.state, job.progress, job.progress_message) == ("delayed", 50, "The tables are read")

    assert worker.run(str(report.job_id), raise_errors=True).progress == 100


@pytest.mark.requirement("A43", "A44", "C21")
@pytest.mark.parametrize("type_", ["audits", "incidents", "work-permits", "compliance"])
def test_every_report_comes_in_every_format(worker: TestWorker, ask: Ask, tenant_a: Tenant, type_: str) -> None:
    made = {name: ask(type=type_, format=name, notify_email=None) for name in ("json", "csv", "pdf", "xlsx")}
    worker.drain(raise_errors=True)

    read = json.loads(content(made["json"]))
    assert read["subtitle"] == f"{tenant_a.name}, 2026-03-01 to 2026-03-31"
    labels = [figure["label"] for figure in read["figures"]]
    lines = list(csv.reader(io.StringIO(content(made["csv"]).decode())))
    start = lines.index(["Figures"]) + 2
    assert [line[0] for line in lines[start : start + len(labels)]] == labels
    text = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content(made["pdf"]))).pages)
    assert tenant_a.name in text
    assert all(label.split()[0] in text for label in labels)
    book = openpyxl.load_workbook(io.BytesIO(content(made["xlsx"])))
    assert len(book.sheetnames) > len(read["tables"])


@pytest.mark.requirement("A42", "P04")
def test_a_report_counts_the_rows_of_its_organisation_alone(worker: TestWorker, ask: Ask) -> None:
    report = ask(filters={"status": "Completed"}, format="json")
    worker.drain(raise_errors=True)

    read = json.loads(content(report))
    assert read["figures"][0]["value"] == 3
    assert read["subtitle"].endswith("status Completed")
    assert "-" not in read["tables"][1]["rows"][0]["Station"]


@pytest.mark.requirement("A47", "D11")
def test_after_three_tries_the_failure_is_mailed_once(
    worker: TestWorker, ask: Ask, smtp_server: SmtpCatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = ask()
    with monkeypatch.context() as patch:
        patch.setattr(reports.types, "compose", broken)
        states = [worker.run(str(report.job_id)).state for _ in range(3)]
    worker.drain()

    assert states == ["delayed", "delayed", "failed"]
    db.session.refresh(report)
    assert (report.status, report.error) == (ExportStatus.FAILED, OURS)
    assert mails(smtp_server) == [(TO, "Audits, 2026-03-01 to 2026-03-31 could not be made (Aster Ltd)")]
    assert OURS in text_of(smtp_server)
    assert "abacus" not in text_of(smtp_server)

    lifecycle.settle(report)
    jobs.retry(str(report.job_id))
    worker.drain(raise_errors=True)
    assert [subject.rpartition(" to ")[2] for _, subject in mails(smtp_server)][1:] == [
        "2026-03-31 is ready (Aster Ltd)"
    ]


def broken(attempt: Any, on_stage: Any) -> Any:
    raise ConnectionError("the abacus is gone")


@pytest.mark.requirement("A47")
def test_mail_and_end_are_committed_together(
    worker: TestWorker, ask: Ask, smtp_server: SmtpCatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = ask()

    def tell(export: ExportJob) -> None:
        raise ConnectionError("no mail today")

    with lifecycle.ended.connected_to(tell):
        assert worker.run(str(report.job_id)).state == "delayed"
    worker.drain(queue="email")

    db.session.refresh(report)
    assert (report.status, mails(smtp_server)) == (ExportStatus.PROCESSING, [])
    worker.drain(include_delayed=True, raise_errors=True)
    db.session.refresh(report)
    assert (report.status, len(mails(smtp_server))) == (ExportStatus.COMPLETED, 1)


@pytest.mark.requirement("A47")
def test_what_ended_without_its_job_is_mailed_when_that_is_seen(
    worker: TestWorker, ask: Ask, smtp_server: SmtpCatcher
) -> None:
    report = ask()
    jobs.cancel(str(report.job_id), "not wanted any more")

    lifecycle.delete_expired()
    lifecycle.delete_expired()
    worker.drain(raise_errors=True)

    db.session.refresh(report)
    assert (report.status, report.error) == (ExportStatus.FAILED, "not wanted any more")
    assert mails(smtp_server) == [(TO, "Audits, 2026-03-01 to 2026-03-31 could not be made (Aster Ltd)")]
    [mail] = worker.sent("email:template")
    assert (mail.tenant, mail.owner) == (report.tenant_id, report.user_id)


@pytest.mark.requirement("A25")
def test_run_again_after_its_end_it_does_nothing(worker: TestWorker, ask: Ask, smtp_server: SmtpCatcher) -> None:
    report = ask()
    worker.drain(raise_errors=True)
    before = content(report)

    again = worker.run(reports.generate_report.send(report.id), raise_errors=True)
    worker.drain(raise_errors=True)

    assert again.result == {"report": report.id, "skipped": True}
    assert (content(report), len(mails(smtp_server))) == (before, 1)


@pytest.mark.requirement("A42", "A43", "A44", "P04")
@pytest.mark.parametrize(
    ("change", "pointer", "said"),
    [
        ({"type": "sales"}, "/type", "audits, incidents, work-permits, compliance"),
        ({"format": "docx"}, "/format", "json, csv, pdf, xlsx"),
        ({"filters": {"color": "red"}}, "/filters/color", "dateFrom, dateTo, stationId, status"),
        ({"filters": {"stationId": "other"}}, "/filters/stationId", "no station of the organisation"),
        ({"type": "work-permits", "filters": {"contractorId": "x"}}, "/filters/contractorId", "no contractor"),
        ({"notify_email": "nobody"}, "/notifyEmail", "nobody"),
        ({"organization_id": "none"}, "/organizationId", "no organisation 'none'"),
        ({"user_id": "other"}, "/userId", "Nobody in the organisation"),
        ({"user_id": "token:1"}, "/userId", "Nobody in the organisation"),
        ({"user_id": None}, "/userId", "no administrator"),
    ],
)
def test_what_cannot_be_reported_is_refused_and_nothing_is_stored(
    worker: TestWorker, ask: Ask, tenant_b: Tenant, user_b: User, change: dict[str, Any], pointer: str, said: str
) -> None:
    if change.get("user_id") == "other":
        change = {"user_id": user_b.id}
    if "stationId" in change.get("filters", {}):
        station = db.session.scalar(sa.text("SELECT id FROM stations WHERE tenant_id = :t LIMIT 1"), {"t": tenant_b.id})
        change = {"filters": {"stationId": station}}

    with pytest.raises(Problem) as refusal:
        ask(**change)

    [error] = refusal.value.errors
    assert refusal.value.title == "The file cannot be made"
    assert (error["pointer"], said in error["detail"]) == (pointer, True), error
    db.session.commit()
    assert (worker.sent(), db.session.scalar(sa.select(sa.func.count()).select_from(ExportJob))) == ([], 0)


@pytest.mark.requirement("C21")
def test_a_format_whose_package_is_missing_says_how_to_install_it(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(Problem, match=r"pip install 'flask-understudy\[pdf\]'"):
        ask(format="pdf")


@pytest.fixture
def admins(worker: TestWorker, tenant_a: Tenant, tenant_b: Tenant) -> None:
    """Both organisations have rows and an administrator; a third one has nobody."""
    for tenant, name in ((tenant_a, "ada"), (tenant_b, "bea")):
        march.fill(tenant)
        for number in range(2):
            created_at = utcnow() + dt.timedelta(minutes=number)
            address = f"{name}{number or ''}@{tenant.slug}.example"
            db.session.add(User(tenant_id=tenant.id, email=address, name=name, role="admin", created_at=created_at))
    db.session.add(Tenant(slug="empty", name="Nobody there"))
    db.session.commit()


@pytest.mark.requirement("E12", "U02")
def test_each_organisation_gets_one_report_a_week_however_often_it_runs(
    worker: TestWorker, admins: None, tenant_a: Tenant, tenant_b: Tenant, smtp_server: SmtpCatcher
) -> None:
    first = worker.run(queue_weekly_reports.send(), raise_errors=True)
    worker.drain(raise_errors=True)
    second = worker.run(queue_weekly_reports.send(), raise_errors=True)
    worker.drain(raise_errors=True)

    assert {name: first.result[name] for name in ("queued", "there", "skipped")} == {
        "queued": 2,
        "there": 0,
        "skipped": 1,
    }
    assert (second.result["queued"], second.result["there"], second.result["skipped"]) == (0, 2, 1)
    found = db.session.scalars(sa.select(ExportJob)).all()
    assert {report.tenant_id for report in found} == {tenant_a.id, tenant_b.id}
    for report in found:
        assert (report.type, report.format, report.status) == ("compliance", "pdf", ExportStatus.COMPLETED)
        first_day, last_day = (dt.date.fromisoformat(report.filters[name]) for name in ("dateFrom", "dateTo"))
        assert (first_day.isoweekday(), (last_day - first_day).days) == (7, 6)
        assert dt.timedelta(0) < utcnow().date() - last_day <= dt.timedelta(days=7)
        assert content(report).startswith(b"%PDF")
    assert sorted(to for to, _ in mails(smtp_server)) == ["ada@aster.example", "bea@birch.example"]


@pytest.mark.requirement("E12")
def test_two_runs_at_once_make_one_report_for_each(
    worker: TestWorker, admins: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.run(queue_weekly_reports.send(), raise_errors=True)
    monkeypatch.setattr(lifecycle, "once", lambda tenant_id, once_key: None)  # it looked before the other one wrote

    result = worker.run(queue_weekly_reports.send(), raise_errors=True).result

    assert (result["queued"], result["there"]) == (0, 2)
    assert len(worker.sent("report:generate")) == db.session.scalar(sa.select(sa.func.count(ExportJob.id))) == 2


@pytest.mark.requirement("E12", "U02")
def test_the_weekly_reports_are_scheduled_for_sunday_midnight(worker: TestWorker) -> None:
    [schedule] = [one for one in jobs.broker.schedules if one.name == "weekly-compliance-reports"]

    assert (schedule.expression, schedule.timezone, schedule.actor) == ("0 0 * * 0", "UTC", "report:weekly-compliance")


@pytest.mark.requirement("E12")
def test_an_organisation_whose_report_cannot_be_ordered_does_not_keep_the_others_from_theirs(
    worker: TestWorker, admins: None, tenant_b: Tenant, tenant_a: Tenant
) -> None:
    db.session.execute(sa.update(User).where(User.tenant_id == tenant_a.id).values(email=User.id))
    db.session.commit()

    result = worker.run(queue_weekly_reports.send(), raise_errors=True).result

    assert (result["queued"], result["skipped"]) == (1, 2)
    assert db.session.scalars(sa.select(ExportJob.tenant_id)).all() == [tenant_b.id]
