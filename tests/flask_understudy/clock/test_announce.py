"""What is due becomes waiting, and the broker holds what the ledger says it should."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from flask_understudy.clock import announce
from flask_understudy.clock.announce import expire, promote, refill
from tests.flask_understudy.conftest import MakeSite, Site


@pytest.fixture
def work(carried_site: Site) -> Any:
    @carried_site.jobs.actor()
    def work(n: int = 0) -> None: ...

    return work


@pytest.fixture
def redis_site(make_site: MakeSite, ledger_url: str, redis_url: str) -> Site:
    return make_site(ledger_url, redis_url, UNDERSTUDY_RUNWAY=10)


def held(url: str, queue: str = "default") -> list[str]:
    """The ids that Redis holds, the best first."""
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return client.zrange(f"understudy:{queue}", 0, -1)


@pytest.mark.requirement("C01", "C11")
def test_due_jobs_become_waiting_and_are_announced(carried_site: Site, work: Any) -> None:
    site = carried_site
    due, later = (work.send_with_options(delay=60_000) for _ in range(2))
    site.change(due, run_at=site.moment(-1))
    announce(site.state)
    assert (site.job(due).state, site.job(later).state) == ("waiting", "delayed")
    if site.state.transport.name == "redis":
        assert site.state.transport.take("default", 10) == [due.message_id]


def test_more_than_a_batch_is_due(sqlite_site: Site) -> None:
    @sqlite_site.jobs.actor()
    def work() -> None: ...

    sqlite_site.jobs.send_many([work.message() for _ in range(2500)], delay=60_000)
    sqlite_site.execute(f"UPDATE understudy_jobs SET run_at = {sqlite_site.moment(-1)}")
    assert promote(sqlite_site.state) == 2500


def test_expired_jobs_fail_and_are_told(carried_site: Site, work: Any, heard: list) -> None:
    message = work.send_with_options(tenant="aster")
    carried_site.change(message, expires_at=carried_site.moment(-1))
    heard.clear()
    assert expire(carried_site.state) == 1
    [(name, notice)] = heard
    assert (name, notice.id, notice.tenant) == ("job-failed", message.message_id, "aster")
    assert (notice.error, notice.will_retry) == ("Expired before it could run", False)


class TestRefill:
    """T8: after any loss the broker is told again."""

    pytestmark = pytest.mark.requirement("G1", "promise-G10", "invariant-I12")

    @pytest.fixture
    def work(self, redis_site: Site) -> Any:
        @redis_site.jobs.actor()
        def work(n: int = 0) -> None: ...

        return work

    def test_a_flushed_broker_is_told_again(self, redis_site: Site, work: Any, redis_url: str) -> None:
        ids = [work.send(n).message_id for n in range(5)]
        for n, id in enumerate(ids):  # not two within the same millisecond
            redis_site.change(id, run_at=redis_site.moment(n - 60))
        with redis.Redis.from_url(redis_url) as client:
            client.flushdb()
        announce(redis_site.state)
        assert held(redis_url) == ids

    def test_a_broker_that_holds_enough_is_left_alone(self, redis_site: Site, work: Any) -> None:
        for n in range(5):
            work.send(n)
        assert refill(redis_site.state) == 0

    def test_a_queue_beyond_the_runway_is_announced_from_its_best(
        self, redis_site: Site, work: Any, redis_url: str
    ) -> None:
        low = [work.send_with_options(args=(n,), priority=5).message_id for n in range(20)]
        for n, id in enumerate(low):  # not two within the same millisecond
            redis_site.change(id, run_at=redis_site.moment(n - 60))
        with redis.Redis.from_url(redis_url) as client:
            client.zremrangebyrank("understudy:default", 0, 4)  # taken by a worker that died with them
        assert refill(redis_site.state) == 10
        assert held(redis_url) == low[:10]
        assert len(held(redis_url)) == redis_site.state.config.runway

    def test_a_paused_queue_is_not_announced(self, redis_site: Site, work: Any, redis_url: str) -> None:
        work.send()
        redis_site.jobs.pause("default")
        with redis.Redis.from_url(redis_url) as client:
            client.flushdb()
        announce(redis_site.state)
        assert held(redis_url) == []
        redis_site.jobs.resume("default")
        announce(redis_site.state)
        assert len(held(redis_url)) == 1

    def test_delayed_and_ended_jobs_are_not_announced(self, redis_site: Site, work: Any, redis_url: str) -> None:
        work.send_with_options(delay=60_000)
        for state in ("active", "completed", "failed", "cancelled"):
            redis_site.change(work.send(), state=f"'{state}'")
        with redis.Redis.from_url(redis_url) as client:
            client.flushdb()
        announce(redis_site.state)
        assert held(redis_url) == []

    def test_a_broker_that_is_down_does_not_stop_the_ledger(
        self, make_site: MakeSite, sqlite_ledger: str, redis_server: Any
    ) -> None:
        site = make_site(sqlite_ledger, redis_server.url)

        @site.jobs.actor()
        def work() -> None: ...

        message = work.send_with_options(delay=60_000)
        site.change(message, run_at=site.moment(-1))
        redis_server.close()
        announce(site.state)
        assert site.job(message).state == "waiting"
