"""Which of the clocks leads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flask_understudy.clock import ClockLease
from tests.flask_understudy.conftest import Site

pytestmark = pytest.mark.requirement("promise-G10", "G7")


def lease(site: Site, holder: str, seconds: float = 10) -> ClockLease:
    return ClockLease(site.state.database, holder, seconds)


def let_it_run_out(site: Site) -> None:
    site.execute(f"UPDATE understudy_leases SET until = {site.moment(-1)}")


def test_one_leads_and_the_other_does_not(site: Site) -> None:
    first, second = lease(site, "a"), lease(site, "b")
    assert [first.hold(), second.hold()] == [True, False]
    assert [first.hold(), second.hold()] == [True, False]


def test_another_leads_when_the_lease_ran_out(site: Site) -> None:
    first, second = lease(site, "a"), lease(site, "b")
    first.hold()
    let_it_run_out(site)
    assert second.hold()
    assert not lease(site, "a").hold()


def test_the_holder_renews_even_a_lease_that_ran_out(site: Site) -> None:
    lease(site, "a").hold()
    let_it_run_out(site)
    assert lease(site, "a").hold()


def test_a_leader_notices_that_it_was_followed(site: Site) -> None:
    first = lease(site, "a", seconds=0.3)
    assert first.hold()
    let_it_run_out(site)
    assert lease(site, "b").hold()
    first._asked -= 1  # the time to renew has come
    assert not first.hold()


def test_asking_again_soon_costs_no_statement(site: Site) -> None:
    first = lease(site, "a")
    first.hold()
    site.execute("DELETE FROM understudy_leases")
    assert first.hold()
    assert lease(site, "b").hold()


def test_a_released_lease_is_free_at_once(site: Site) -> None:
    first, second = lease(site, "a"), lease(site, "b")
    first.hold()
    first.release()
    assert second.hold()
    first.release()
    assert not lease(site, "c").hold()


def test_of_many_who_ask_at_once_one_leads(site: Site) -> None:
    barrier = threading.Barrier(8)

    def ask(n: int) -> bool:
        barrier.wait()
        return lease(site, f"clock-{n}").hold()

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(ask, range(8))) == [False] * 7 + [True]


def test_a_closed_lease_is_not_taken_again_by_a_turn_that_still_runs(site: Site) -> None:
    """A process that leaves does not wait for its turns; one of them asking later would lead beyond its end."""
    first = lease(site, "a", seconds=0.3)
    first.hold()
    first.close()

    assert not first.hold()
    assert lease(site, "b").hold()


def test_a_lease_asked_for_while_it_is_closed_is_not_left_behind(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lease(site, "a")
    statement, asking, closing = site.state.database.statement, threading.Event(), threading.Event()

    def slow() -> Any:
        asking.set()
        closing.wait(0.2)  # the close comes while the statement is under way
        return statement()

    monkeypatch.setattr(site.state.database, "statement", slow)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(first.hold)
        assert asking.wait(5)
        first.close()
        assert held.result()

    monkeypatch.undo()
    assert lease(site, "b").hold()
