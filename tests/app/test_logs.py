import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import logs
from app.actors.cleanup import delete_old_sessions
from app.actors.email import send_password_reset_email
from app.extensions import jobs
from app.services import cleanup
from flask_understudy import signals
from flask_understudy.testing import TestWorker
from tools.servers.process import free_port


class Lines:
    """The lines that the service wrote, as documents."""

    def __init__(self, stream: io.StringIO) -> None:
        self.stream = stream

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def named(self, event: str) -> dict[str, Any]:
        (line,) = (line for line in self.all() if line["event"] == event)
        return line


@pytest.fixture
def app(sqlite_app: Flask) -> Flask:
    return sqlite_app


@pytest.fixture
def lines(app: Flask) -> Iterator[Lines]:
    yield from written(app)


def written(app: Flask) -> Iterator[Lines]:
    (handler,) = (h for h in logging.getLogger().handlers if isinstance(h, logs.ServiceHandler))
    stream = io.StringIO()
    before = handler.setStream(stream)
    yield Lines(stream)
    handler.setStream(before)


def notice(**values: Any) -> signals.JobNotice:
    return signals.JobNotice(**{"id": "job-1", "queue": "email", "actor": "email:welcome"} | values)


@pytest.mark.requirement("M01", "C31")
def test_added_job_is_logged_with_its_masked_recipient(app: Flask, lines: Lines) -> None:
    signals.emit(signals.job_added, app, job=notice(kwargs={"to": "ada@aster.example"}))

    line = lines.named("job added")
    assert (line["jobId"], line["queue"], line["to"]) == ("job-1", "email", "a***@aster.example")


@pytest.mark.requirement("M01")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"args": ("ada@aster.example", "Ada")}, "a***@aster.example"),
        ({"kwargs": {"email": "ada@aster.example"}}, "a***@aster.example"),
        ({"kwargs": {"to": ["ada@a.example", "bea@b.example"]}}, "a***@a.example, b***@b.example"),
        ({"args": ("export-7",)}, None),
    ],
)
def test_recipient_is_found_among_the_arguments(
    app: Flask, lines: Lines, arguments: dict[str, Any], expected: str | None
) -> None:
    signals.emit(signals.job_added, app, job=notice(**arguments))

    assert lines.named("job added").get("to") == expected


@pytest.mark.requirement("M01", "C31")
def test_recipient_is_shown_in_full_on_request(make_app: Any, sqlite_url: str) -> None:
    app = make_app(sqlite_url, UNDERSTUDY_LOG_PII=True)
    stream = written(app)
    lines = next(stream)

    signals.emit(signals.job_added, app, job=notice(kwargs={"to": "ada@aster.example"}))

    assert lines.named("job added")["to"] == "ada@aster.example"
    next(stream, None)


@pytest.mark.requirement("M02")
def test_started_job_is_logged_as_processing(app: Flask, lines: Lines) -> None:
    signals.emit(signals.job_started, app, job=notice(attempt=1))

    line = lines.named("job processing")
    assert (line["jobId"], line["queue"], line["status"]) == ("job-1", "email", "processing")


@pytest.mark.requirement("M03")
def test_completed_job_is_logged_with_its_duration(app: Flask, lines: Lines) -> None:
    signals.emit(signals.job_completed, app, job=notice(attempt=1, duration_ms=1500))

    line = lines.named("job completed")
    assert (line["status"], line["duration"], line["level"]) == ("completed", 1500, "info")


@pytest.mark.requirement("M04", "L08")
@pytest.mark.parametrize(("will_retry", "level"), [(True, "warning"), (False, "error")])
def test_failed_job_is_logged_with_error_and_attempts(app: Flask, lines: Lines, will_retry: bool, level: str) -> None:
    failed = notice(attempt=3, error="SMTPServerDisconnected: gone", will_retry=will_retry)
    signals.emit(signals.job_failed, app, job=failed)

    line = lines.named("job failed")
    assert (line["status"], line["attempts"], line["level"]) == ("failed", 3, level)
    assert line["error"] == "SMTPServerDisconnected: gone"


@pytest.mark.requirement("M01", "M02", "M03", "V05")
def test_life_of_a_job_is_three_lines(app: Flask, lines: Lines, understudy: TestWorker) -> None:
    with app.app_context():
        job_id = delete_old_sessions.send().message_id
    understudy.drain()

    life = [line for line in lines.all() if line.get("jobId") == job_id]
    assert [line["event"] for line in life] == ["job added", "job processing", "job completed"]
    assert {line["queue"] for line in life} == {"cleanup"}
    assert isinstance(life[-1]["duration"], int)


@pytest.mark.requirement("M04", "L03")
def test_failing_job_is_logged_with_its_error_at_each_attempt(
    app: Flask, lines: Lines, understudy: TestWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> int:
        logging.getLogger("app.services").warning("about to fail")
        raise ConnectionError("no route")

    monkeypatch.setattr(cleanup, "delete_old_sessions", fail)
    with app.app_context():
        job_id = delete_old_sessions.send_with_options(max_retries=0).message_id
    understudy.drain()

    failed = lines.named("job failed")
    assert (failed["jobId"], failed["attempts"], failed["willRetry"]) == (job_id, 1, False)
    assert "no route" in failed["error"]
    assert lines.named("about to fail")["jobId"] == job_id


@pytest.mark.requirement("M05")
def test_lines_of_every_library_are_json_with_time_and_level(app: Flask, lines: Lines) -> None:
    logging.getLogger("dramatiq.worker.Thread").warning("Failed to process %s", "message")

    (line,) = lines.all()
    assert (line["event"], line["level"]) == ("Failed to process message", "warning")
    assert line["logger"] == "dramatiq.worker.Thread"
    assert line["timestamp"].endswith("Z")


@pytest.mark.requirement("L08")
def test_exception_is_logged_with_its_stack(app: Flask, lines: Lines) -> None:
    try:
        raise LookupError("no such page")
    except LookupError:
        logging.getLogger("app").exception("failed")

    assert "Traceback" in lines.named("failed")["exception"]
    assert "LookupError: no such page" in lines.named("failed")["exception"]


def test_request_is_logged_with_the_id_that_the_caller_got(client: FlaskClient, lines: Lines) -> None:
    answer = client.get("/nowhere?token=us_" + "x" * 40)

    line = lines.named("request")
    assert (line["method"], line["path"], line["status"]) == ("GET", "/nowhere", 404)
    assert line["requestId"] == answer.headers["X-Request-ID"]


def test_secrets_are_taken_out_by_name_and_by_look(app: Flask, lines: Lines) -> None:
    canary = "CANARY-9f3"
    logging.getLogger("app").warning(
        "connecting to redis://:%s@host with Bearer %s and us_%s",
        canary,
        canary,
        canary + "x" * 20,
        extra={"password": canary, "apiKey": canary, "reset_token": canary},
    )

    assert canary not in lines.stream.getvalue()
    assert lines.all()[0]["password"] == "***"


@pytest.mark.parametrize("level", ["debug", "error"])
def test_arguments_of_a_job_are_not_logged_whatever_becomes_of_it(make_app: Any, sqlite_url: str, level: str) -> None:
    app = make_app(sqlite_url, LOG_LEVEL=level, SMTP_PORT=free_port(), MAIL_SUPPRESS_SEND=False)
    stream = written(app)
    lines = next(stream)

    with app.app_context():
        send_password_reset_email("ada@aster.example", "CANARY-42")
    with TestWorker(jobs) as worker:
        worker.drain()

    events = [line["event"] for line in lines.all()]
    assert any("Failed to process message email:password-reset" in event for event in events)
    assert "CANARY" not in lines.stream.getvalue()
    next(stream, None)


def test_line_breaks_and_escapes_stay_inside_a_line(app: Flask, lines: Lines) -> None:
    logging.getLogger("app").warning('one\r\n{"event": "forged"}\x1b[2J')

    assert len(lines.stream.getvalue().splitlines()) == 1
    assert "\x1b" not in lines.stream.getvalue()


def test_long_field_is_cut(app: Flask, lines: Lines) -> None:
    logging.getLogger("app").warning("long", extra={"detail": "x" * 10_000})

    assert len(lines.named("long")["detail"]) == logs.MAX_FIELD


def test_second_app_adds_no_second_handler(make_app: Any, sqlite_url: str) -> None:
    make_app(sqlite_url)
    make_app(sqlite_url)

    ours = [h for h in logging.getLogger().handlers if isinstance(h, logs.ServiceHandler)]
    assert len(ours) == 1


def test_job_is_logged_once_however_many_apps_there_are(make_app: Any, sqlite_url: str) -> None:
    make_app(sqlite_url)
    app = make_app(sqlite_url)
    stream = written(app)
    lines = next(stream)

    signals.emit(signals.job_added, app, job=notice())

    assert len(lines.all()) == 1
    next(stream, None)
