"""The clock takes its turns, whatever goes wrong in one of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_understudy.clock import Clock, declare
from flask_understudy.errors import TransportError
from flask_understudy.operations import schedules
from tests.flask_understudy.conftest import MakeSite, Site
from tools.waiting import wait_for


@pytest.fixture
def clock(site: Site) -> Iterator[Clock]:
    clock = Clock(site.state, site.process())
    yield clock
    clock.stop()


@pytest.mark.requirement("promise-G10", "G6")
def test_nobody_is_rescued_before_the_database_was_there_for_a_while(make_site: MakeSite, ledger_url: str) -> None:
    site = make_site(ledger_url, UNDERSTUDY_RESCUE_GRACE_SECONDS=0.3)

    @site.jobs.actor()
    def work() -> None: ...

    message, dead, clock = work.send(), site.process(), Clock(site.state, site.process())
    site.claim(dead, message)
    site.kill(dead)

    clock._turn(clock.rescue)
    assert site.job(message).state == "active"
    time.sleep(0.31)
    clock._turn(clock.rescue)
    assert site.job(message).state == "waiting"
    clock.stop()


@pytest.mark.requirement("promise-G10")
def test_a_database_that_was_away_starts_that_while_again(site: Site, clock: Clock) -> None:
    clock._turn(lambda: None)
    assert clock._healthy_since is not None

    def away() -> None:
        raise sa.exc.OperationalError("SELECT", None, Exception("the database is away"))

    clock._turn(away)
    assert clock._healthy_since is None


@pytest.mark.requirement("G7", "F03")
def test_a_clock_that_leads_again_declares_again(site: Site, clock: Clock) -> None:
    """During a deployment an older release led in between, and dropped what it does not know."""
    site.jobs.schedule("@daily", name="new")(site.jobs.actor(actor_name="work")(lambda: None))
    clock._turn(clock.fire)
    site.execute("UPDATE understudy_leases SET holder = 'an older release'")
    clock.lease._asked = None
    clock._turn(clock.fire)
    declared = site.jobs.broker.schedules.pop()
    declare(site.state)
    assert schedules.listing(site.state) == []

    site.jobs.broker.schedules.append(declared)
    site.execute("DELETE FROM understudy_leases")
    clock.lease._asked = None
    clock._turn(clock.fire)

    assert [row.name for row in schedules.listing(site.state)] == ["new"]


@pytest.mark.parametrize("problem", [RuntimeError("unforeseen"), TransportError("Redis is down")])
def test_a_turn_that_fails_is_not_the_last(clock: Clock, problem: Exception) -> None:
    turns: list[int] = []

    def turn() -> None:
        turns.append(1)
        raise problem

    clock._turn(turn)
    clock._turn(turn)
    assert turns == [1, 1]


def test_a_clock_that_does_not_lead_takes_no_turn(site: Site, clock: Clock) -> None:
    turns: list[str] = []
    other = Clock(site.state, site.process())
    clock._turn(lambda: turns.append("first"))
    other._turn(lambda: turns.append("second"))
    assert turns == ["first"]
    clock.stop()
    other.lease._asked = None
    other._turn(lambda: turns.append("second"))
    assert turns == ["first", "second"]
    other.stop()


@pytest.mark.requirement("N06", "N08", "Q09")
def test_a_worker_prunes_by_itself(make_site: MakeSite, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_understudy.clock.PRUNE_SECONDS", 0.1)
    site = make_site(ledger_url, UNDERSTUDY_QUEUES={"default": {"keep_completed": timedelta(0)}})

    @site.jobs.actor()
    def work() -> None: ...

    site.start_worker()
    message = work.send()
    wait_for(lambda: site.jobs.get(message.message_id) is None, "the job to be deleted")


@pytest.mark.requirement("promise-G10", "G6")
def test_a_worker_rescues_the_jobs_of_another_by_itself(carried_site: Site) -> None:
    site = carried_site

    @site.jobs.actor()
    def work() -> None: ...

    message, dead = work.send(), site.process()
    claimed: Any = site.claim(dead, message)
    assert claimed
    site.execute(f"UPDATE understudy_workers SET suspects = '[]' WHERE id = '{dead.id}'")
    site.kill(dead)
    site.start_worker()
    job = site.eventually("completed", message)
    assert (job.attempt, job.hand_backs, job.fence) == (1, 1, 2)


@pytest.mark.requirement("C02")
def test_a_worker_lets_expired_jobs_fail_by_itself(carried_site: Site) -> None:
    site = carried_site

    @site.jobs.actor()
    def work() -> None: ...

    message = work.send_with_options(delay=60_000)
    site.change(message, expires_at=site.moment(0.1))
    site.start_worker()
    assert site.eventually("failed", message).reason == "expired"
