"""The lease of a worker process, and what it hears through it."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session

from flask_understudy.claims import ClaimedMessage
from flask_understudy.errors import LeaseLost
from flask_understudy.ledger import Worker
from flask_understudy.operations import workers
from flask_understudy.vitals import versions
from flask_understudy.worker import WorkerProcess
from tests.flask_understudy.conftest import MakeSite, Site
from tools.waiting import wait_for

pytestmark = pytest.mark.requirement("G3", "promise-G10")


def rows(site: Site) -> list[Worker]:
    with Session(site.state.database.engine, expire_on_commit=False) as session:
        return list(session.scalars(sa.select(Worker)))


def test_a_worker_is_in_the_ledger_while_it_lives(carried_site: Site) -> None:
    @carried_site.jobs.actor(queue_name="email")
    def work() -> None: ...

    worker = carried_site.start_worker()
    [row] = rows(carried_site)
    assert (row.id, row.kind, row.queues, row.threads) == (worker.id, "in-process", ["email"], 5)
    assert row.lease_until > row.started_at
    carried_site.jobs.stop_worker()
    assert rows(carried_site) == []


def test_the_lease_is_renewed_long_before_it_runs_out(carried_site: Site) -> None:
    @carried_site.jobs.actor()
    def work() -> None: ...

    carried_site.start_worker()
    first = rows(carried_site)[0].lease_until
    wait_for(lambda: rows(carried_site)[0].lease_until > first, "a renewal", timeout_seconds=3)


def test_a_worker_whose_row_is_gone_enters_anew_and_stops_its_jobs(site: Site) -> None:
    process = site.process()
    lost: list[int] = []
    process.lease_lost = lambda: lost.append(1)  # type: ignore[method-assign]
    process.heartbeat.renew()
    assert lost == []
    site.execute("DELETE FROM understudy_workers")
    process.heartbeat.renew()
    assert lost == [1]
    assert [row.id for row in rows(site)] == [process.id]


def test_its_row_tells_its_memory_and_releases(make_site: MakeSite, ledger_url: str) -> None:
    site = make_site(ledger_url, UNDERSTUDY_RELEASE="2026.11")
    process = site.process()
    [row] = rows(site)
    assert row.versions == versions("2026.11") and row.memory_bytes is not None
    assert row.master_pid == os.getppid()

    site.execute("UPDATE understudy_workers SET memory_bytes = NULL")
    process.heartbeat.renew()

    assert rows(site)[0].memory_bytes is not None


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals that a process sent itself."""
    sent: list[int] = []
    monkeypatch.setattr("flask_understudy.heartbeat.os.kill", lambda pid, number: sent.append(number))
    return sent


def look(process: WorkerProcess) -> None:
    """What the heartbeat does in two turns."""
    process.heartbeat.renew()
    process.heartbeat.end_when_idle()
    process.heartbeat.end_when_idle()


@pytest.mark.requirement("promise-G11")
def test_who_is_to_end_does_so_when_nothing_runs(site: Site, ended: list[int]) -> None:
    @site.jobs.actor()
    def work() -> None: ...

    process = site.process()
    claimed = site.claim(process, work.send())
    look(process)
    assert ended == []

    workers.stop(site.state, process.id)
    look(process)
    assert ended == [] and process.drained.is_set()

    site.execute(f"UPDATE understudy_jobs SET state = 'completed' WHERE id = '{claimed.id}'")
    process.heartbeat.end_when_idle()
    assert ended == []  # a claim might be on its way
    process.heartbeat.end_when_idle()
    assert ended == [signal.SIGTERM]


def test_who_is_about_to_claim_does_not_end(site: Site, ended: list[int]) -> None:
    process = site.process()
    workers.stop(site.state, process.id)
    with process.claiming():
        look(process)
    assert ended == []
    look(process)
    assert ended == [signal.SIGTERM]


def test_processes_of_one_command_end_together(site: Site, ended: list[int]) -> None:
    @site.jobs.actor()
    def work() -> None: ...

    process, beside, apart = site.process(), site.process(), site.process()
    site.execute(f"UPDATE understudy_workers SET master_pid = 1 WHERE id = '{apart.id}'")
    claimed = site.claim(beside, work.send())

    assert workers.stop(site.state, process.id) == [beside.id]

    look(process)
    look(apart)
    assert ended == [] and beside.drained.is_set() is False and apart.drained.is_set() is False
    beside.heartbeat.renew()
    assert beside.drained.is_set()
    site.execute(f"UPDATE understudy_jobs SET state = 'completed' WHERE id = '{claimed.id}'")
    look(process)
    assert ended == [signal.SIGTERM]


def test_an_end_can_be_called_off(site: Site, ended: list[int]) -> None:
    process, beside = site.process(), site.process()
    workers.stop(site.state, process.id)
    process.heartbeat.renew()

    workers.resume(site.state, beside.id)

    look(process)
    assert ended == [] and not process.drained.is_set() and not process.leaving.is_set()


def test_jobs_are_interrupted_before_anybody_may_take_them(
    make_site: MakeSite, ledger_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = make_site(ledger_url, UNDERSTUDY_LEASE_SECONDS=1)
    ended: list[str] = []

    @site.jobs.actor(max_retries=3)
    def work() -> None:
        try:
            while not ended:
                time.sleep(0.01)
        except LeaseLost:
            ended.append("LeaseLost")
            raise

    worker = site.start_worker()
    assert worker.heartbeat.watch is not None
    worker.heartbeat.watch.stop()  # the sibling would go on renewing
    message = work.send()
    site.eventually("active", message)

    def refuse(*_: Any) -> None:
        if not ended:
            raise sa.exc.OperationalError("SELECT", None, Exception("the database is away"))

    event.listen(site.state.database.own_engine, "before_cursor_execute", refuse)
    began = time.monotonic()
    wait_for(lambda: ended, "the interrupt", timeout_seconds=4)
    assert time.monotonic() - began < 2.5
    assert "could not renew its lease" in caplog.text
    wait_for(lambda: site.job(message).state in {"waiting", "completed"}, "the job to be handed back")  # and run again
    assert site.job(message).attempt <= 1


def test_a_wish_to_stop_is_passed_on_once(site: Site) -> None:
    @site.jobs.actor()
    def work() -> None: ...

    process: WorkerProcess = site.process()
    message = work.send()
    claimed = site.claim(process, message)
    held: ClaimedMessage = process.hold(claimed, None)
    held.begin()
    try:
        process.heartbeat.pass_on_cancellations()
        [running] = process.interrupts.running()
        assert not running.cancelled
        site.jobs.cancel(message.message_id)
        process.heartbeat.pass_on_cancellations()
        assert running.cancelled
    finally:
        held.ended(None, None)
        held.finish()
        process.writer.flush(5)
        process.writer.close(1)


def test_a_claim_whose_answer_was_lost_is_handed_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_understudy.worker.CLAIM_ANSWER_SECONDS", 0.0)

    @site.jobs.actor()
    def work() -> None: ...

    process = site.process()
    lost, known = work.send(), work.send()
    site.claim(process, lost)
    process.hold(site.claim(process, known), None)
    time.sleep(0.01)
    assert process.take_stock() == 1
    assert (site.job(lost).state, site.job(lost).attempt, site.job(lost).hand_backs) == ("waiting", 0, 1)
    assert site.job(known).state == "active"
    process.writer.close(1)


@pytest.mark.requirement("C14", "I9")
def test_a_job_that_outlasts_many_leases_is_left_to_its_worker(
    make_site: MakeSite, postgres_ledger: str, redis_url: str
) -> None:
    site = make_site(postgres_ledger, redis_url, UNDERSTUDY_LEASE_SECONDS=0.6, UNDERSTUDY_RESCUE_GRACE_SECONDS=0.1)
    runs: list[int] = []

    @site.jobs.actor()
    def slow() -> None:
        runs.append(1)
        time.sleep(2)

    site.start_worker()
    job = site.eventually("completed", slow.send())
    assert (job.attempt, job.crashes, runs) == (1, 0, [1])


def test_a_worker_that_nobody_drained_goes_on_claiming(site: Site) -> None:
    process = site.process()
    process.heartbeat.renew()
    assert not process.drained.is_set()

    site.execute(f"UPDATE understudy_workers SET drained_at = {site.moment(0)} WHERE id = '{process.id}'")
    process.heartbeat.renew()
    assert process.drained.is_set()
