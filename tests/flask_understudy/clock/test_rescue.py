"""Taking back the jobs of workers that died."""

from __future__ import annotations

from typing import Any

import pytest

from flask_understudy.clock import rescue
from tests.flask_understudy.conftest import Site

pytestmark = pytest.mark.requirement("promise-G10", "G6", "I1")


@pytest.fixture
def work(carried_site: Site) -> Any:
    @carried_site.jobs.actor(max_retries=1)
    def work() -> None: ...

    return work


def workers(site: Site) -> list[str]:
    with site.state.database.statement() as connection:
        return list(connection.exec_driver_sql("SELECT id FROM understudy_workers").scalars())


def test_jobs_of_the_dead_are_announced_and_the_dead_forgotten(carried_site: Site, work: Any) -> None:
    site = carried_site
    message, alive, dead = work.send(), site.process(), site.process()
    site.state.transport.take("default", 10)
    site.claim(dead, message)
    site.kill(dead)

    assert rescue(site.state) == 1

    assert site.job(message).state == "waiting"
    assert workers(site) == [alive.id]
    if site.state.transport.name == "redis":
        assert site.state.transport.take("default", 10) == [message.message_id]
    assert rescue(site.state) == 0


def test_the_living_keep_their_jobs(carried_site: Site, work: Any) -> None:
    message, process = work.send(), carried_site.process()
    carried_site.claim(process, message)
    assert rescue(carried_site.state) == 0
    assert workers(carried_site) == [process.id]


def test_a_job_of_a_worker_without_a_row_is_taken_back(carried_site: Site, work: Any) -> None:
    site = carried_site
    message, process = work.send(), site.process()
    site.claim(process, message)
    site.execute("DELETE FROM understudy_workers")
    assert rescue(site.state) == 1
    assert (site.job(message).state, workers(site)) == ("waiting", [])


def test_suspects_alone_are_blamed(carried_site: Site, work: Any) -> None:
    site = carried_site
    running, waiting, process = work.send(), work.send(), site.process()
    for message in (running, waiting):
        site.claim(process, message)
    suspects = f'["{running.message_id}"]'
    site.execute(
        f"UPDATE understudy_workers SET suspects = '{suspects}', lease_until = {site.moment(-1)} "
        f"WHERE id = '{process.id}'"
    )
    assert rescue(site.state) == 2
    assert (site.job(running).crashes, site.job(waiting).crashes) == (1, 0)


def test_a_job_that_fails_by_it_is_told(carried_site: Site, work: Any, heard: list) -> None:
    site = carried_site
    message, process = work.send_with_options(tenant="aster"), site.process()
    site.change(message, attempt="1")
    site.claim(process, message)
    site.kill(process)
    heard.clear()
    rescue(site.state)
    assert site.job(message).reason == "exhausted"
    [(name, notice)] = heard
    assert (name, notice.id, notice.tenant) == ("job-failed", message.message_id, "aster")
    assert notice.error == f"Its worker {process.id} died (exhausted)"
