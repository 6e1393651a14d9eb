"""Reading the ledger."""

from __future__ import annotations

from typing import Any

import pytest

from flask_understudy.ledger import queries
from tests.flask_understudy.conftest import Site


@pytest.fixture
def work(site: Site) -> Any:
    @site.jobs.actor(queue_name="email")
    def work(n: int = 0) -> None: ...

    return work


def counts(**given: int) -> dict[str, int]:
    names = ("waiting", "active", "completed", "failed", "delayed", "paused", "total")
    return dict.fromkeys(names, 0) | given


@pytest.mark.requirement("L05", "C8", "I08")
def test_stats_count_each_state_of_each_queue(site: Site, work: Any) -> None:
    @site.jobs.actor(queue_name="empty")
    def idle() -> None: ...

    states = ["waiting"] * 3 + ["active"] * 2 + ["completed", "failed", "delayed", "cancelled"]
    for state, message in zip(states, site.jobs.send_many([work.message() for _ in states]), strict=True):
        site.change(message, state=f"'{state}'")

    assert site.jobs.stats() == {
        "email": counts(waiting=3, active=2, completed=1, failed=1, delayed=1, total=9),
        "empty": counts(),
    }


@pytest.mark.requirement("L05", "C8")
def test_waiting_jobs_of_a_paused_queue_are_paused(site: Site, work: Any) -> None:
    work.send()
    work.send_with_options(delay=60_000)
    site.jobs.pause("email")
    assert site.jobs.stats()["email"] == counts(paused=1, delayed=1, total=2)
    site.jobs.resume("email")
    assert site.jobs.stats()["email"] == counts(waiting=1, delayed=1, total=2)


@pytest.mark.requirement("P04")
def test_stats_of_one_tenant_are_its_own(site: Site, work: Any) -> None:
    for tenant in ("aster", "aster", "birch"):
        work.send_with_options(tenant=tenant)
    assert site.jobs.stats(tenant="aster")["email"]["waiting"] == 2
    assert site.jobs.stats(tenant="none")["email"] == counts()
    assert site.jobs.stats()["email"]["waiting"] == 3


def test_configured_queues_are_there_without_a_job(make_site: Any, sqlite_ledger: str) -> None:
    site = make_site(sqlite_ledger, UNDERSTUDY_QUEUES={"reports": {}})
    assert site.jobs.stats() == {"reports": counts()}


def test_a_job_that_was_found_is_detached(site: Site, work: Any) -> None:
    message = work.send(7)
    with site.app.app_context():
        job = site.jobs.get(message.message_id)
        site.db.session.commit()
    assert (job.args, job.queue) == ([7], "email")
    assert repr(job) == f"<Job {job.id} work waiting attempt 0>"


def test_how_long_the_oldest_waits(site: Site, work: Any) -> None:
    assert queries.oldest_waiting_ms(site.state.database) == 0
    message = work.send()
    work.send()
    site.change(message, run_at=site.moment(-90))
    assert 89_000 < queries.oldest_waiting_ms(site.state.database) < 95_000


def test_workers_alive_are_those_with_a_lease_that_consume(site: Site) -> None:
    assert queries.workers_alive(site.state.database) == 0
    site.process()
    site.process("web")
    dead = site.process()
    site.execute(f"UPDATE understudy_workers SET lease_until = {site.moment(-1)} WHERE id = '{dead.id}'")
    assert queries.workers_alive(site.state.database) == 1
