"""The Redis transport: ids in order, few of them, and no waiting for a broker that is down."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from flask_understudy.errors import TransportError
from flask_understudy.ledger.transitions import Due
from flask_understudy.signals import broker_lost, broker_restored
from flask_understudy.transports import DatabaseTransport, RedisTransport, transport_for
from flask_understudy.transports.redis import score
from tools.servers import RedisServer
from tools.waiting import wait_for

NOW = 1_800_000_000_000
pytestmark = pytest.mark.requirement("G01", "G02")


def due(id: str, priority: int = 3, at: int = NOW, queue: str = "q") -> Due:
    return Due(id, queue, priority, at)


@pytest.fixture
def transport(redis_url: str) -> Iterator[RedisTransport]:
    transport = RedisTransport(redis_url, runway=5, timeout=1)
    yield transport
    transport.close()


def test_a_url_says_which_transport() -> None:
    assert isinstance(transport_for("database", runway=1, timeout=1), DatabaseTransport)
    assert isinstance(transport_for("redis://localhost", runway=1, timeout=1), RedisTransport)


@given(
    st.tuples(st.integers(-1000, 1000), st.integers(NOW, NOW + 10**12)),
    st.tuples(st.integers(-1000, 1000), st.integers(NOW, NOW + 10**12)),
)
def test_the_score_orders_by_priority_then_time(a: tuple[int, int], b: tuple[int, int]) -> None:
    first, second = score(due("a", *a)), score(due("b", *b))
    assert (first < second) == (a < b)
    assert float(first) == first


def test_ids_are_taken_best_first_and_forgotten(transport: RedisTransport) -> None:
    transport.announce([due("late", 3, NOW + 1), due("urgent", 1, NOW + 9), due("early", 3, NOW)])
    assert transport.take("q", 2) == ["urgent", "early"]
    assert transport.take("q", 5) == ["late"]
    assert transport.take("q", 5) == []


def test_announcing_twice_is_one_entry(transport: RedisTransport) -> None:
    for _ in range(3):
        transport.announce([due("a")])
    assert transport.depths(["q"]) == {"q": 1}


def test_the_worst_entries_beyond_the_runway_are_dropped(transport: RedisTransport) -> None:
    transport.announce([due(f"low{n}", 5, NOW + n) for n in range(8)])
    assert transport.depths(["q"]) == {"q": 5}
    transport.announce([due("urgent", 1, NOW + 99)])
    assert transport.take("q", 9) == ["urgent", "low0", "low1", "low2", "low3"]


def test_queues_are_apart(transport: RedisTransport) -> None:
    transport.announce([due("a", queue="one"), due("b", queue="two"), due("c", queue="two")])
    assert transport.depths(["one", "two", "three"]) == {"one": 1, "two": 2, "three": 0}
    assert transport.take("one", 9) == ["a"]
    assert transport.depths([]) == {}


def test_each_announcement_wakes_one_waiter(transport: RedisTransport) -> None:
    woken: list[list[str]] = []
    waiters = [threading.Thread(target=lambda: woken.append(transport.wait("q", 1))) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    time.sleep(0.1)
    transport.announce([due("a")])
    for waiter in waiters:
        waiter.join()
    assert sorted(woken) == [[], [], ["a"]]


def test_waiting_ends_when_nothing_comes(transport: RedisTransport) -> None:
    began = time.monotonic()
    assert transport.wait("q", 0.1) == []
    assert time.monotonic() - began < 1


@pytest.mark.requirement("G9", "J04", "J05", "invariant-I13")
class TestDown:
    """A broker that is down costs one short wait, once."""

    @pytest.fixture
    def down(self, redis_server: RedisServer) -> Iterator[tuple[RedisTransport, RedisServer]]:
        transport = RedisTransport(redis_server.url, runway=5, timeout=0.4)
        transport.announce([due("before")])
        yield transport, redis_server
        transport.close()

    def acts(self, transport: RedisTransport) -> list[Callable[[], Any]]:
        return [
            lambda: transport.announce([due("a")]),
            lambda: transport.take("q", 1),
            lambda: transport.depths(["q"]),
            lambda: transport.wait("q", 1),
        ]

    def test_refused_then_refused_at_once(self, down: tuple[RedisTransport, RedisServer]) -> None:
        transport, server = down
        server.kill()
        with pytest.raises(TransportError):
            transport.announce([due("a")])
        assert not transport.is_up
        began = time.monotonic()
        for act in self.acts(transport) * 100:
            with pytest.raises(TransportError, match="Redis is down"):
                act()
        assert time.monotonic() - began < 0.2
        assert not transport.check()

    def test_a_hung_broker_costs_its_timeout_once(self, down: tuple[RedisTransport, RedisServer]) -> None:
        transport, server = down
        server.pause()
        began = time.monotonic()
        with pytest.raises(TransportError):
            transport.announce([due("a")])
        assert 0.3 < time.monotonic() - began < 1
        began = time.monotonic()
        with pytest.raises(TransportError):
            transport.announce([due("b")])
        assert time.monotonic() - began < 0.05
        server.resume()
        wait_for(lambda: transport.is_up, "the probe to find it again")

    def test_it_is_found_again_by_the_probe(self, down: tuple[RedisTransport, RedisServer]) -> None:
        transport, server = down
        server.kill()
        with pytest.raises(TransportError):
            transport.take("q", 1)
        server.start()
        wait_for(lambda: transport.is_up, "the probe to find it again", timeout_seconds=5)
        transport.announce([due("a")])
        assert transport.take("q", 1) == ["a"]

    def test_one_that_was_never_there(self) -> None:
        transport = RedisTransport("redis://127.0.0.1:1", runway=5, timeout=0.4)
        assert transport.is_up
        assert not transport.check()
        assert not transport.is_up
        transport.close()


@pytest.mark.requirement("M11")
def test_losing_and_finding_the_broker_is_signalled(redis_server: RedisServer) -> None:
    heard = []
    lost = broker_lost.connect(lambda _, error: heard.append("lost"), weak=False)
    restored = broker_restored.connect(lambda _: heard.append("restored"), weak=False)
    transport = RedisTransport(redis_server.url, runway=5, timeout=0.4)
    try:
        redis_server.kill()
        for _ in range(3):
            with pytest.raises(TransportError):
                transport.take("q", 1)
        assert heard == ["lost"]
        redis_server.start()
        wait_for(lambda: heard == ["lost", "restored"], "the second signal", timeout_seconds=5)
    finally:
        broker_lost.disconnect(lost)
        broker_restored.disconnect(restored)
        transport.close()


def test_only_ids_travel(redis_url: str, make_site: Any, sqlite_ledger: str) -> None:
    site = make_site(sqlite_ledger, redis_url)

    @site.jobs.actor()
    def work(secret: str) -> None: ...

    message = work.send("s3cret")
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert client.keys() == ["understudy:default"]
        assert client.zrange("understudy:default", 0, -1) == [message.message_id]


@pytest.mark.requirement("G2", "I7")
def test_a_forged_id_runs_nothing(redis_url: str, make_site: Any, ledger_url: str) -> None:
    site = make_site(ledger_url, redis_url)
    ran = []

    @site.jobs.actor()
    def work() -> None:
        ran.append(1)

    cancelled, real = work.send(), work.send()
    site.jobs.cancel(cancelled.message_id)
    with redis.Redis.from_url(redis_url) as client:
        client.zadd(
            "understudy:default", dict.fromkeys(["forged", "'; DROP TABLE x", b"\xff\xfe", cancelled.message_id], 0)
        )
    site.start_worker()
    site.eventually("completed", real, within=2.5)  # less than Dramatiq takes to restart a consumer
    assert ran == [1]
