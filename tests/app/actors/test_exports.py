"""The job that writes a file: tried again, interrupted, killed, and never leaving half a file."""

import datetime as dt
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from app.actors.exports import generate_export
from app.extensions import db, jobs
from app.models.base import utcnow
from app.models.export_job import ExportJob, ExportStatus
from app.models.user import User
from app.services.exports import files, lifecycle
from flask_understudy import Principal, current_job
from flask_understudy.contrib.exports import StorageUnavailable
from flask_understudy.testing import TestWorker

Order = Callable[..., ExportJob]


@pytest.fixture
def inside(app: Flask) -> Iterator[Flask]:
    with app.app_context():
        yield app


@pytest.fixture
def worker(inside: Flask) -> Iterator[TestWorker]:
    with TestWorker(inside.extensions["understudy"]) as worker:
        yield worker


@pytest.fixture
def order(inside: Flask, user_a: User) -> Order:
    def make(type_: str = "MEMBERS", format_: str = "csv") -> ExportJob:
        caller = Principal(user_a.id, user_a.tenant_id, frozenset({"enqueue"}))
        export = lifecycle.order(caller, type_, {}, format_)
        export.job_id = generate_export.send(export.id).message_id
        db.session.commit()
        return export

    return make


def now(export: ExportJob) -> ExportJob:
    db.session.refresh(export)
    return export


def kept() -> list[str]:
    return sorted(os.listdir(files.storage().root))


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Let something happen in the middle of the writing."""
    original = files.write

    def put(happen: Callable[[], None]) -> None:
        def interrupted(attempt: files.Attempt, on_progress: Any, check: Any) -> Any:
            left = [happen]

            def checked() -> None:
                if left:
                    left.pop()()
                check()

            return original(attempt, on_progress, checked)

        monkeypatch.setattr("app.actors.exports.files.write", interrupted)

    return put


@pytest.mark.requirement("K03", "C8")
def test_export_is_processing_while_it_is_written(worker: TestWorker, order: Order, write: Any) -> None:
    export, seen = order(), []
    write(lambda: seen.append(_status_elsewhere(export.id)))

    job = worker.run(export.job_id, raise_errors=True)  # type: ignore[arg-type]

    assert seen == [ExportStatus.PROCESSING]
    assert job.state == "completed"
    assert job.result == {"export": export.id, "rows": 1, "size": now(export).size, "skipped": False}
    assert (export.status, export.rows) == (ExportStatus.COMPLETED, 1)
    assert export.expires_at is not None and export.completed_at is not None
    assert export.expires_at - export.completed_at == dt.timedelta(days=7)


def _status_elsewhere(export_id: str) -> ExportStatus:
    with db.engine.connect() as connection:
        query = db.select(ExportJob.status).where(ExportJob.id == export_id)
        return ExportStatus(connection.scalar(query))


@pytest.mark.requirement("D08", "C8")
def test_export_is_tried_three_times_and_then_failed(worker: TestWorker, order: Order, write: Any) -> None:
    export = order()

    def fail() -> None:
        raise OSError("the disk is on fire")

    write(fail)
    for attempt, seconds in ((1, 2), (2, 4)):
        job = worker.run(export.job_id)  # type: ignore[arg-type]
        assert (job.state, job.attempt) == ("delayed", attempt)
        wait = (job.run_at - utcnow()).total_seconds()
        assert seconds * 0.9 - 1 < wait <= seconds * 1.1
        assert now(export).status is ExportStatus.PROCESSING
        assert kept() == []

    assert worker.run(export.job_id).state == "failed"  # type: ignore[arg-type]
    assert now(export).status is ExportStatus.FAILED
    assert export.error == "Something went wrong inside the service. Its log has the details."
    assert export.file_key is None and kept() == []


def test_export_that_failed_for_now_succeeds_at_the_next_try(worker: TestWorker, order: Order, write: Any) -> None:
    export = order()

    def fail_once() -> None:
        if current_job.attempt == 1:
            raise OSError("not now")

    write(fail_once)
    assert worker.run(export.job_id).state == "delayed"  # type: ignore[arg-type]
    assert worker.run(export.job_id).state == "completed"  # type: ignore[arg-type]

    assert now(export).status is ExportStatus.COMPLETED
    assert export.error is None
    assert kept() == [export.file_key]


def test_export_that_is_too_large_is_not_tried_again(worker: TestWorker, order: Order, inside: Flask) -> None:
    inside.config["EXPORT_MAX_BYTES"] = 20
    export = order()

    job = worker.run(export.job_id)  # type: ignore[arg-type]

    assert (job.state, job.attempt) == ("failed", 1)
    assert now(export).status is ExportStatus.FAILED
    assert export.error == "The file is larger than 20 bytes."
    assert kept() == []


def test_storage_that_does_not_answer_is_asked_again(worker: TestWorker, order: Order, write: Any) -> None:
    export = order()

    def fail() -> None:
        raise StorageUnavailable("no answer")

    write(fail)
    assert worker.run(export.job_id).state == "delayed"  # type: ignore[arg-type]
    assert now(export).status is ExportStatus.PROCESSING


@pytest.mark.requirement("A47", "J02")
def test_storage_that_stays_away_is_told_in_plain_words_at_the_last_attempt(
    worker: TestWorker, order: Order, inside: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    export = order()
    export.notify_email = "ada@aster.example"
    db.session.commit()
    gone = files.storage().root

    attempt = lifecycle.begin(export.id)  # it died here
    assert attempt is not None
    shutil.rmtree(gone)
    gone.write_text("no folder")
    states = [worker.run(str(export.job_id)).state for _ in range(3)]

    assert states == ["delayed", "delayed", "failed"]
    job = jobs.get(str(export.job_id))
    assert job is not None and job.error == f"StorageUnavailable: {files.UNREACHABLE}"
    assert (now(export).status, export.error) == (ExportStatus.FAILED, files.UNREACHABLE)
    assert export.file_key == attempt.key  # for the clean-up
    [mail] = worker.sent("email:template")
    assert mail.kwargs["data"]["error"] == files.UNREACHABLE
    assert str(gone) in caplog.text

    gone.unlink()
    lifecycle.delete_expired()
    assert now(export).file_key is None


def test_storage_that_goes_away_while_a_file_is_written_is_told_in_plain_words(
    worker: TestWorker, order: Order, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    export, gone = order(), files.storage().root

    def write(attempt: files.Attempt, *_: Any) -> Any:
        def pieces() -> Iterator[bytes]:
            yield b"x"
            shutil.rmtree(gone)

        return files.save(attempt, pieces()), 1

    monkeypatch.setattr("app.actors.exports.files.write", write)
    for _ in range(3):
        job = worker.run(str(export.job_id))
        assert job.error == f"StorageUnavailable: {files.UNREACHABLE}"

    assert (now(export).status, export.error) == (ExportStatus.FAILED, files.UNREACHABLE)
    assert "FileNotFoundError" in caplog.text


def test_export_that_was_retried_by_hand_recovers(worker: TestWorker, order: Order, inside: Flask) -> None:
    inside.config["EXPORT_MAX_BYTES"] = 20
    export = order()
    worker.run(export.job_id)  # type: ignore[arg-type]
    inside.config["EXPORT_MAX_BYTES"] = None

    jobs.retry(str(export.job_id))
    worker.run(export.job_id)  # type: ignore[arg-type]

    assert now(export).status is ExportStatus.COMPLETED
    assert export.error is None


def test_job_that_runs_again_after_its_end_does_nothing(worker: TestWorker, order: Order) -> None:
    export = order()
    worker.run(export.job_id)  # type: ignore[arg-type]
    before = now(export).file_key

    again = worker.run(generate_export.send(export.id), raise_errors=True)

    assert again.result == {"export": export.id, "skipped": True}
    assert now(export).file_key == before and kept() == [before]


def test_what_a_killed_attempt_left_is_deleted_by_the_next(worker: TestWorker, order: Order) -> None:
    export = order()
    begun = lifecycle.begin(export.id)
    assert begun is not None
    # The attempt had written the file when its process was killed; another one was half way.
    (files.storage().root / begun.key).write_bytes(b"whole")
    (files.storage().root / f"{begun.key}.1234.part").write_bytes(b"half")

    worker.run(export.job_id, raise_errors=True)  # type: ignore[arg-type]

    assert now(export).status is ExportStatus.COMPLETED
    assert kept() == [export.file_key] != [begun.key]


def test_attempt_that_was_overtaken_changes_nothing(worker: TestWorker, order: Order) -> None:
    export = order()
    slow = lifecycle.begin(export.id)
    assert slow is not None
    worker.run(export.job_id, raise_errors=True)  # type: ignore[arg-type]
    done = now(export).file_key

    stored = files.storage().save(slow.key, [b"late"])
    assert lifecycle.finish(slow, stored, 1) is False
    lifecycle.fail(slow, "late")

    assert (now(export).status, export.file_key) == (ExportStatus.COMPLETED, done)
    assert kept() == [done]


def test_attempt_that_was_overtaken_does_not_end_the_next_one(worker: TestWorker, order: Order) -> None:
    export = order()
    slow, fast = lifecycle.begin(export.id), lifecycle.begin(export.id)
    assert slow is not None and fast is not None

    assert lifecycle.finish(slow, files.storage().save(slow.key, [b"late"]), 1) is False
    lifecycle.fail(slow, "late")

    assert (now(export).status, export.file_key) == (ExportStatus.PROCESSING, fast.key)
    assert lifecycle.finish(fast, files.storage().save(fast.key, [b"file"]), 1) is True
    assert kept() == [fast.key]


def test_export_that_was_deleted_meanwhile_leaves_no_file(worker: TestWorker, order: Order, write: Any) -> None:
    export = order()
    export_id, job_id = export.id, export.job_id

    def delete() -> None:
        with db.engine.begin() as connection:
            connection.execute(db.delete(ExportJob).where(ExportJob.id == export_id))

    write(delete)
    job = worker.run(job_id)  # type: ignore[arg-type]

    assert job.result is not None and job.result["skipped"] is True
    assert kept() == []


def test_cancelled_export_is_failed_and_leaves_no_file(worker: TestWorker, order: Order) -> None:
    export = order()

    jobs.cancel(str(export.job_id))
    lifecycle.settle(now(export))

    assert now(export).status is ExportStatus.FAILED
    assert "cancel" in str(export.error)


def test_running_export_stops_when_it_is_asked_to(worker: TestWorker, order: Order, write: Any) -> None:
    export = order()
    # The heartbeat does this when somebody cancels a running job.
    write(lambda: setattr(current_job, "stop_asked", True))

    job = worker.run(export.job_id)  # type: ignore[arg-type]

    assert job.state == "cancelled"
    assert now(export).status is ExportStatus.FAILED
    assert kept() == []


def test_export_whose_job_is_gone_is_failed(worker: TestWorker, order: Order) -> None:
    export = order()
    export.job_id = "00000000-0000-0000-0000-000000000000"
    db.session.commit()

    lifecycle.settle(export)

    assert (now(export).status, export.error) == (ExportStatus.FAILED, "Its job is gone.")


def test_unfinished_export_is_left_alone(worker: TestWorker, order: Order) -> None:
    export = order()

    lifecycle.settle(export)

    assert now(export).status is ExportStatus.PENDING


@pytest.mark.requirement("E05")
def test_expired_files_are_deleted_and_others_kept(worker: TestWorker, order: Order) -> None:
    old, fresh = order(), order()
    for export in (old, fresh):
        worker.run(export.job_id, raise_errors=True)  # type: ignore[arg-type]
    now(old).expires_at = utcnow() - dt.timedelta(minutes=1)
    db.session.commit()
    fresh_key = now(fresh).file_key

    assert lifecycle.delete_expired() == 1
    assert lifecycle.delete_expired() == 0

    assert kept() == [fresh_key]
    assert (now(old).status, old.file_key) == (ExportStatus.COMPLETED, None)
    assert now(fresh).file_key == fresh_key


def test_cleaning_up_settles_exports_whose_job_died(worker: TestWorker, order: Order) -> None:
    export = order()
    jobs.cancel(str(export.job_id))

    lifecycle.delete_expired()

    assert now(export).status is ExportStatus.FAILED


def test_progress_is_reported(worker: TestWorker, order: Order, write: Any) -> None:
    export = order()

    job = worker.run(export.job_id, raise_errors=True)  # type: ignore[arg-type]

    assert job.progress_message == "1 of 1 rows"


def test_order_of_a_transaction_that_rolls_back_never_runs(worker: TestWorker, inside: Flask, user_a: User) -> None:
    caller = Principal(user_a.id, user_a.tenant_id, frozenset({"enqueue"}))
    export = lifecycle.order(caller, "MEMBERS", {}, "csv")
    generate_export.send(export.id)

    db.session.rollback()

    assert worker.sent() == []


@pytest.mark.requirement("T04")
def test_last_progress_of_an_export_says_the_whole(
    worker: TestWorker, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    export, original = order(), files.write

    def write(attempt: files.Attempt, on_progress: Any, check: Any) -> Any:
        on_progress(1.0, "6 of 440 rows")  # what comes within half a second is not reported
        return original(attempt, on_progress, check)

    monkeypatch.setattr("app.actors.exports.files.write", write)
    job = worker.run(export.job_id, raise_errors=True)  # type: ignore[arg-type]

    assert (job.progress, job.progress_message) == (100, "1 of 1 rows")
