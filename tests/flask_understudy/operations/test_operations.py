"""Verbs of the doors: in the caller's transaction when that has writes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from flask_understudy.errors import InvalidJob
from tests.flask_understudy.conftest import MakeSite, Site


@pytest.fixture
def work(site: Site) -> Any:
    @site.jobs.actor()
    def work() -> None: ...

    return work


def add_note(site: Site) -> None:
    site.db.session.add(site.Note(text="x"))
    site.db.session.flush()


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_cancellation_beside_writes_is_committed_with_them(site: Site, work: Any, heard: list, end: str) -> None:
    message = work.send()
    heard.clear()
    with site.app.app_context():
        add_note(site)
        assert site.jobs.cancel(message.message_id) == "cancelled"
        assert heard == []
        getattr(site.db.session, end)()
    assert site.job(message).state == ("cancelled" if end == "commit" else "waiting")
    assert len(heard) == (end == "commit")


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_retry_beside_writes_is_committed_with_them(site: Site, work: Any, end: str) -> None:
    message = work.send()
    site.jobs.cancel(message.message_id)
    with site.app.app_context():
        add_note(site)
        site.jobs.retry(message.message_id)
        getattr(site.db.session, end)()
    assert site.job(message).state == ("waiting" if end == "commit" else "cancelled")


def test_a_refused_retry_does_not_spoil_the_caller_s_transaction(site: Site, work: Any) -> None:
    message = work.send_with_options(dedup_key="k")
    site.jobs.cancel(message.message_id)
    work.send_with_options(dedup_key="k")
    with site.app.app_context():
        add_note(site)
        with pytest.raises(Exception, match="dedup key"):
            site.jobs.retry(message.message_id)
        site.db.session.commit()
    assert site.notes() == ["x"]


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_an_unknown_queue_is_refused_with_those_there_are(site: Site, work: Any, verb: str) -> None:
    with pytest.raises(InvalidJob, match="No queue is named 'emial'. There are: default"):
        getattr(site.jobs, verb)("emial")


def test_pausing_twice_keeps_the_first_time(site: Site, work: Any) -> None:
    def paused_at() -> Any:
        with site.state.database.statement() as connection:
            return connection.exec_driver_sql("SELECT paused_at FROM understudy_queues").scalar()

    site.jobs.resume("default")
    site.jobs.pause("default")
    first = paused_at()
    site.jobs.pause("default")
    assert first is not None
    assert paused_at() == first
    site.jobs.resume("default")
    assert paused_at() is None


@pytest.mark.requirement("L04", "I06", "L05", "C27")
@pytest.mark.requirement("N05")
class TestClean:
    def test_deletes_what_ended_before_the_grace(self, site: Site, work: Any) -> None:
        old, young, waiting = work.send(), work.send(), work.send()
        for message in (old, young):
            site.jobs.cancel(message.message_id)
        site.change(old, finished_at=site.moment(-7200))

        assert site.jobs.clean("default", "cancelled", grace=3_600_000) == 1

        assert {job.id for job in site.all_jobs()} == {young.message_id, waiting.message_id}

    @pytest.mark.parametrize(
        ("queue", "status", "grace", "remedy"),
        [
            ("nowhere", "completed", 0, "No queue is named 'nowhere'"),
            ("default", "waiting", 0, "status is 'waiting'; it takes one of completed, failed, cancelled"),
            ("default", "completed", -1, "grace is -1; it takes whole milliseconds"),
            ("default", "completed", 1.5, "grace is 1.5; it takes whole milliseconds"),
        ],
    )
    def test_refuses_what_cannot_be(
        self, site: Site, work: Any, queue: str, status: str, grace: Any, remedy: str
    ) -> None:
        with pytest.raises(InvalidJob, match=remedy):
            site.jobs.clean(queue, status, grace=grace)


class TestHealth:
    """The seeds' answer."""

    def test_without_redis(self, site: Site, work: Any) -> None:
        work.send()
        health = site.jobs.health()
        assert (health["overallStatus"], health["redisConnected"], health["transport"]) == (
            "healthy",
            False,
            "database",
        )
        [queue] = health["queues"]
        assert (queue["name"], queue["waiting"], queue["active"], queue["failed"]) == ("default", 1, 0, 0)
        assert health["timestamp"].endswith("Z")
        datetime.fromisoformat(health["timestamp"])

    def test_with_redis(self, make_site: MakeSite, sqlite_ledger: str, redis_url: str) -> None:
        health = make_site(sqlite_ledger, redis_url).jobs.health()
        assert (health["overallStatus"], health["redisConnected"]) == ("healthy", True)

    @pytest.mark.requirement("J05")
    def test_with_a_redis_that_is_down(self, make_site: MakeSite, sqlite_ledger: str) -> None:
        site = make_site(sqlite_ledger, "redis://127.0.0.1:1")
        health = site.jobs.health()
        assert (health["overallStatus"], health["redisConnected"]) == ("degraded", False)
        assert not site.jobs.is_broker_up

    def test_with_jobs_that_nobody_takes(self, site: Site, work: Any) -> None:
        site.change(work.send(), run_at=site.moment(-61))
        assert site.jobs.health()["overallStatus"] == "unhealthy"
        assert site.jobs.health()["reasons"] == ["jobs have waited for more than a minute: no worker lives"]
        site.process()
        assert site.jobs.health()["overallStatus"] == "healthy"
        site.execute(f"UPDATE understudy_workers SET drained_at = {site.moment(0)}")
        assert site.jobs.health()["reasons"] == [
            "jobs have waited for more than a minute: all workers that live are drained"
        ]

    def test_with_a_database_that_is_down(self, make_site: MakeSite, postgres_server: Any) -> None:
        site = make_site(postgres_server.url)
        postgres_server.stop()
        health = site.jobs.health()
        assert (health["overallStatus"], health["queues"]) == ("unhealthy", [])
        assert health["database"] == "OperationalError"

    @pytest.mark.requirement("P04")
    def test_of_one_tenant(self, site: Site, work: Any) -> None:
        for tenant in ("aster", "birch", "birch"):
            work.send_with_options(tenant=tenant)
        assert site.jobs.health(tenant="aster")["queues"][0]["waiting"] == 1
