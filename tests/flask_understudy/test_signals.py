"""What the rest of the process hears about jobs."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from dramatiq.errors import RateLimitExceeded

from flask_understudy import signals
from flask_understudy.signals import JobNotice
from tests.flask_understudy.conftest import Site

Heard = list[tuple[str, JobNotice]]


@pytest.mark.requirement("M01", "M02", "M03", "Q01", "Q03", "Q05")
def test_a_job_is_heard_of_from_its_start_to_its_end(site: Site, heard: Heard) -> None:
    @site.jobs.actor(queue_name="email", actor_name="email:send")
    def send_mail(to: str, *, copies: int) -> None: ...

    message = send_mail.send_with_options(args=("a@example.com",), kwargs={"copies": 2}, tenant="aster")
    site.worker.run(message)

    assert [name for name, _ in heard] == ["job-added", "job-started", "job-completed"]
    for _, notice in heard:
        assert (notice.id, notice.queue, notice.actor) == (message.message_id, "email", "email:send")
        assert (notice.args, notice.kwargs, notice.tenant) == (("a@example.com",), {"copies": 2}, "aster")
    added, started, completed = (notice for _, notice in heard)
    assert (added.attempt, started.attempt, completed.attempt) == (0, 1, 1)
    assert (started.duration_ms, completed.duration_ms is not None) == (None, True)


@pytest.mark.requirement("M04", "Q06", "Q07", "Q08", "L08")
def test_each_failure_says_whether_another_attempt_follows(site: Site, heard: Heard) -> None:
    @site.jobs.actor(max_retries=1)
    def explode() -> None:
        raise ValueError("bad luck")

    explode.send()
    site.worker.drain(include_delayed=True)
    failures = [notice for name, notice in heard if name == "job-failed"]
    assert [(n.attempt, n.error, n.will_retry) for n in failures] == [
        (1, "ValueError: bad luck", True),
        (2, "ValueError: bad luck", False),
    ]
    assert all(n.duration_ms >= 0 for n in failures)


def test_a_cancelled_job_is_heard_of(site: Site, heard: Heard) -> None:
    @site.jobs.actor()
    def work() -> None: ...

    site.jobs.cancel(work.send_with_options(tenant="aster").message_id)
    assert [(name, notice.tenant) for name, notice in heard] == [("job-added", "aster"), ("job-cancelled", "aster")]


@pytest.mark.requirement("M01")
def test_a_job_that_follows_from_another_is_heard_of(site: Site, heard: Heard) -> None:
    @site.jobs.actor()
    def after(*_: Any) -> None: ...

    @site.jobs.actor(on_success=after)
    def work() -> None: ...

    work.send()
    site.worker.drain()
    assert [(name, notice.actor) for name, notice in heard] == [
        ("job-added", "work"),
        ("job-started", "work"),
        ("job-completed", "work"),
        ("job-added", "after"),
        ("job-started", "after"),
        ("job-completed", "after"),
    ]


def test_a_job_that_was_handed_back_is_no_failure(site: Site, heard: Heard) -> None:
    @site.jobs.actor()
    def limited() -> None:
        raise RateLimitExceeded("later")

    site.worker.run(limited.send())
    assert [name for name, _ in heard] == ["job-added", "job-started"]


@pytest.mark.requirement("G2")
def test_a_job_that_was_rolled_back_is_not_heard_of(site: Site, heard: Heard) -> None:
    @site.jobs.actor()
    def work() -> None: ...

    with site.app.app_context():
        site.db.session.add(site.Note(text="x"))
        work.send()
        assert heard == []
        site.db.session.rollback()
        assert heard == []
        site.db.session.add(site.Note(text="x"))
        work.send()
        site.db.session.commit()
    assert [name for name, _ in heard] == ["job-added"]


@pytest.mark.parametrize("name", ["job_added", "job_started", "job_completed"])
def test_a_subscriber_that_fails_harms_no_job_and_no_other(
    site: Site, heard: Heard, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(sender: Any, job: JobNotice) -> None:
        raise RuntimeError("subscriber")

    signal = getattr(signals, name)
    signal.connect(explode)

    @site.jobs.actor()
    def work() -> None: ...

    message = work.send()
    try:
        assert site.worker.run(message).state == "completed"
    finally:
        signal.disconnect(explode)
    assert [n for n, _ in heard] == ["job-added", "job-started", "job-completed"]
    assert "A subscriber of the signal" in caplog.text


@pytest.mark.requirement("G14", "S10")
def test_a_worker_that_starts_says_so(sqlite_site: Site, caplog: pytest.LogCaptureFixture) -> None:
    @sqlite_site.jobs.actor(queue_name="email")
    def work() -> None: ...

    with caplog.at_level(logging.INFO, "flask_understudy"):
        worker = sqlite_site.start_worker()
    assert f"Processor started: in-process {worker.id}" in caplog.text
    assert "queues email, 5 threads" in caplog.text


def test_the_sender_is_the_application(sqlite_site: Site) -> None:
    senders = []

    def hear(sender: Any, job: JobNotice) -> None:
        senders.append(sender)

    signals.job_added.connect(hear)
    signals.job_added.connect(hear, sender=sqlite_site.app)

    @sqlite_site.jobs.actor()
    def work() -> None: ...

    work.send()
    signals.job_added.disconnect(hear)
    assert senders == [sqlite_site.app] * len(senders)
    assert senders
