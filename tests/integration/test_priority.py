"""An urgent job passes the backlog, whatever carries the news of it."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
import redis

from tests.integration.conftest import Install
from tests.integration.deployment import Deployment
from tests.integration.service.actors import quick, slow


@pytest.fixture
def service(urls: tuple[str, str | None], install: Install) -> Deployment:
    """The service with a broker that holds few of the jobs only."""
    return install(*urls, UNDERSTUDY_RUNWAY="10")


def send_apart(service: Deployment, actor: Any, *args: Any, **options: Any) -> str:
    """Send a job in a millisecond of its own: Redis tells no order within one."""
    time.sleep(0.002)
    return service.send(actor, *args, **options)


def order(service: Deployment) -> list[str]:
    return [effect.job_id for effect in service.effects()]


@pytest.mark.requirement("C06")
def test_urgent_jobs_pass_a_backlog_that_is_being_worked_off(service: Deployment) -> None:
    backlog = service.send_many(slow, 40, 0.06)
    with service.workers(threads=1):
        service.wait(lambda: len(service.effects("start")) >= 3, "the first jobs")
        urgent = [send_apart(service, slow, 0.0, priority=-5) for _ in range(4)]
        begun = len(service.effects("start"))
        service.wait_for_end([*backlog, *urgent])

    places = [order(service).index(id) for id in urgent]
    assert max(places) <= begun + len(urgent) + 4  # one thread has up to four jobs in hand
    assert places == sorted(places)
    service.check(faultless=True)


@pytest.mark.requirement("C06", "C07")
def test_backlog_is_worked_off_in_order_of_priority_then_of_arrival(service: Deployment, dice: random.Random) -> None:
    sent = [(priority := dice.randint(1, 5), n, send_apart(service, quick, priority=priority)) for n in range(30)]
    with service.workers(threads=1):
        service.wait_for_end()

    assert order(service) == [id for _, _, id in sorted(sent)]
    service.check(faultless=True)


@pytest.mark.requirement("invariant-I12", "I9")
def test_broker_holds_no_more_than_its_runway_of_a_backlog(postgres_url: str, redis_url: str, install: Install) -> None:
    service = install(postgres_url, redis_url, UNDERSTUDY_RUNWAY="10")
    depths = []
    with redis.Redis.from_url(redis_url) as client:
        service.send_many(slow, 60, 0.02)
        assert client.zcard("understudy:work") == 10
        with service.workers(threads=2):
            while "waiting" in (states := service.states().values()) or "active" in states:
                depths.append(client.zcard("understudy:work"))
        service.wait_for_end()

    assert 0 < max(depths) <= 10
    service.check(faultless=True)
