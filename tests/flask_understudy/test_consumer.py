"""What a worker claims, in which order, and what it leaves alone."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import redis

from flask_understudy import current_job
from flask_understudy.consumer import MOST_AHEAD, Capacity, LedgerConsumer
from flask_understudy.operations.jobs import amend
from tests.flask_understudy.conftest import MakeSite, Site
from tools.servers import RedisServer
from tools.waiting import wait_for


@pytest.mark.requirement("C06", "C07", "G13")
def test_an_urgent_job_goes_before_ten_thousand_others(crossed_site: Site) -> None:
    """Sent last, it starts before every one that was not claimed by then."""
    site = crossed_site
    started: list[tuple[float, str]] = []
    go = threading.Event()

    @site.jobs.actor()
    def work(name: str) -> None:
        started.append((time.monotonic(), name))
        go.wait(30)

    site.jobs.send_many([work.message_with_options(args=(str(n),), priority=5) for n in range(10_000)])
    site.start_worker()
    wait_for(lambda: len(started) >= site.state.config.concurrency, "the threads to be busy")
    claimed = site.jobs.stats()["default"]["active"]

    urgent = work.send_with_options(args=("urgent",), priority=1)
    go.set()

    job = site.eventually("completed", urgent, within=30)
    position = [name for _, name in started].index("urgent")
    assert position <= claimed + site.state.config.concurrency
    assert job.started_at is not None


@pytest.mark.requirement("G09", "G11")
def test_what_is_claimed_while_the_worker_is_asked_to_stop_is_handed_back(site: Site, monkeypatch: Any) -> None:
    @site.jobs.actor()
    def work() -> None: ...

    message, process, capacity = work.send(), site.process(), Capacity(1)
    consumer = LedgerConsumer(process, capacity, "default", 0.01)
    claim = consumer._claim

    def claim_late(places: int) -> Any:
        claimed = claim(places)
        process.stopping.set()
        return claimed

    monkeypatch.setattr(consumer, "_claim", claim_late)
    assert next(consumer) is None
    assert process.writer.flush(10)
    job = site.job(message)
    assert (job.state, job.attempt, job.hand_backs, process.held()) == ("waiting", 0, 1, [])
    assert capacity.acquire(1, 0) == 1


@pytest.mark.requirement("C06", "G12", "G07")
def test_one_thread_runs_a_backlog_in_its_exact_order(make_site: MakeSite, ledger_url: str, transport_url: Any) -> None:
    site = make_site(ledger_url, transport_url, QUEUE_CONCURRENCY=1, UNDERSTUDY_RUNWAY=20)
    order: list[int] = []

    @site.jobs.actor()
    def work(n: int) -> None:
        order.append(n)

    priorities = [(n * 7) % 5 for n in range(150)]
    site.jobs.send_many([work.message_with_options(args=(n,), priority=p) for n, p in enumerate(priorities)])
    site.start_worker()
    wait_for(lambda: len(order) == 150, "all jobs", timeout_seconds=30)
    assert [priorities[n] for n in order] == sorted(priorities)
    if transport_url is None:  # Redis knows milliseconds, in which many are sent at once
        assert order == sorted(range(150), key=lambda n: (priorities[n], n))


@pytest.mark.requirement("G07", "G12", "H04")
@pytest.mark.parametrize("threads", [1, 3])
def test_concurrency_is_how_many_run_at_a_time(make_site: MakeSite, sqlite_ledger: str, threads: int) -> None:
    site = make_site(sqlite_ledger, QUEUE_CONCURRENCY=threads)
    now, most = [0], [0]
    lock, go = threading.Lock(), threading.Event()

    @site.jobs.actor()
    def work() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        go.wait(10)
        with lock:
            now[0] -= 1

    messages = site.jobs.send_many([work.message() for _ in range(8)])
    site.start_worker()
    wait_for(lambda: now[0] == threads, "the threads to be busy")
    assert site.jobs.stats()["default"]["active"] == threads
    go.set()
    for message in messages:
        site.eventually("completed", message)
    assert most[0] == threads


@pytest.mark.requirement("L03")
def test_a_paused_queue_is_left_alone_until_it_is_resumed(carried_site: Site) -> None:
    site = carried_site

    @site.jobs.actor(queue_name="slow")
    def slow() -> None: ...

    @site.jobs.actor(queue_name="fast")
    def fast() -> None: ...

    site.start_worker()
    site.jobs.pause("slow")
    left = slow.send()
    site.eventually("completed", fast.send())
    site.eventually("completed", fast.send())
    assert site.job(left).state == "waiting"
    site.jobs.resume("slow")
    site.eventually("completed", left, within=5)


@pytest.mark.requirement("C01", "C02", "A26")
def test_a_delayed_job_runs_soon_after_its_time(carried_site: Site) -> None:
    site = carried_site

    @site.jobs.actor()
    def work() -> None: ...

    site.start_worker()
    job = site.eventually("completed", work.send_with_options(delay=300))
    late = (job.started_at - job.run_at).total_seconds()
    assert 0 <= late < 2


@pytest.mark.requirement("V01", "Q06", "Q07", "Q08")
def test_a_failing_job_is_retried_by_itself_until_it_has_failed(carried_site: Site) -> None:
    site = carried_site

    @site.jobs.actor(max_retries=2, min_backoff=50, backoff_factor=1)
    def explode() -> None:
        raise ValueError("bad luck")

    site.start_worker()
    job = site.eventually("failed", explode.send())
    assert (job.attempt, job.reason) == (3, "exhausted")


@pytest.mark.requirement("B07", "G8", "O04", "T06")
def test_a_running_job_notices_that_it_is_to_stop(carried_site: Site) -> None:
    site = carried_site

    @site.jobs.actor(max_retries=3)
    def endless() -> None:
        while True:
            current_job.check_cancelled()
            time.sleep(0.01)

    site.start_worker()
    message = endless.send()
    site.eventually("active", message)
    assert site.jobs.cancel(message.message_id) == "requested"
    job = site.eventually("cancelled", message, within=5)
    assert (job.attempt, job.reason) == (1, "cancelled")


@pytest.mark.requirement("B07", "G8")
def test_a_job_that_does_not_look_may_still_complete(sqlite_site: Site) -> None:
    site = sqlite_site
    go, flags = threading.Event(), []

    @site.jobs.actor()
    def stubborn() -> str:
        go.wait(10)
        flags.append(current_job.cancelled)
        return "done"

    site.start_worker()
    message = stubborn.send()
    site.eventually("active", message)
    site.jobs.cancel(message.message_id)
    [running] = site.jobs.broker.worker.interrupts.running()
    wait_for(lambda: running.stop_asked, "the wish to arrive", timeout_seconds=5)
    go.set()
    assert site.eventually("completed", message).result == "done"
    assert flags == [True]


@pytest.mark.requirement("G3")
def test_a_job_of_an_actor_that_this_release_does_not_know_is_handed_back(carried_site: Site) -> None:
    site = carried_site

    @site.jobs.actor()
    def newer() -> None: ...

    message = newer.send()
    declared = site.jobs.broker.actors.pop("newer")
    site.start_worker()

    job = site.eventually("delayed", message)
    assert (job.attempt, job.hand_backs) == (0, 1)
    assert 60 < (job.run_at - job.started_at).total_seconds() < 80
    assert "No actor is named 'newer' in this release" in job.error
    site.jobs.broker.actors["newer"] = declared
    site.change(message, run_at=site.moment(-1))
    site.eventually("completed", message)


@pytest.mark.requirement("G1", "G3", "I9")
def test_duplicate_and_stale_announcements_run_nothing_twice(
    make_site: MakeSite, ledger_url: str, redis_url: str
) -> None:
    site = make_site(ledger_url, redis_url)
    runs: list[int] = []

    @site.jobs.actor()
    def work(n: int) -> None:
        runs.append(n)

    site.start_worker()
    messages = [work.send(n) for n in range(50)]
    with redis.Redis.from_url(redis_url) as client:
        for _ in range(5):
            client.zadd("understudy:default", {message.message_id: 0 for message in messages})
    for message in messages:
        site.eventually("completed", message)
    wait_for(lambda: not site.state.transport.depths(["default"])["default"], "the stale ids to be taken")
    assert sorted(runs) == list(range(50))


def test_a_job_that_was_moved_is_left_to_its_new_queue(make_site: MakeSite, ledger_url: str, redis_url: str) -> None:
    site = make_site(ledger_url, redis_url)

    @site.jobs.actor(queue_name="email")
    def work() -> None:
        """Is announced where it was sent first."""

    @site.jobs.actor(queue_name="reports")
    def other() -> None:
        """Declares the other queue."""

    id = str(work.send().message_id)
    assert site.state.transport.depths(["email"]) == {"email": 1}
    amend(site.state, id, queue="reports")

    def claimed(queue: str) -> list[str]:
        message = next(LedgerConsumer(site.process(), Capacity(1), queue, 0.01))
        return [] if message is None else [message.message_id]

    assert claimed("email") == []
    assert claimed("reports") == [id]


@pytest.mark.requirement("G1", "promise-G10", "J02")
class TestBrokerDown:
    """The workers go on from the ledger and return to Redis by themselves."""

    def test_jobs_sent_while_it_is_down_run(
        self, make_site: MakeSite, ledger_url: str, redis_server: RedisServer
    ) -> None:
        site = make_site(ledger_url, redis_server.url)

        @site.jobs.actor()
        def work(n: int) -> int:
            return n

        site.start_worker()
        site.eventually("completed", work.send(0))
        redis_server.kill()
        for message in [work.send(n) for n in range(5)]:
            site.eventually("completed", message)
        assert not site.jobs.is_broker_up
        redis_server.start()
        wait_for(lambda: site.jobs.is_broker_up, "the broker to be found again", timeout_seconds=5)
        site.eventually("completed", work.send(9))
        assert site.jobs.is_broker_up

    def test_waiting_delayed_and_running_jobs_survive_a_flush(
        self, make_site: MakeSite, ledger_url: str, redis_url: str
    ) -> None:
        site = make_site(ledger_url, redis_url, QUEUE_CONCURRENCY=1)
        go = threading.Event()
        runs: list[int] = []

        @site.jobs.actor()
        def work(n: int) -> None:
            runs.append(n)
            go.wait(10)

        site.start_worker()
        running = work.send(0)
        site.eventually("active", running)
        messages = [running, *(work.send(n) for n in range(1, 6)), work.send_with_options(args=(6,), delay=200)]
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        go.set()
        for message in messages:
            site.eventually("completed", message)
        assert sorted(runs) == list(range(7))


@pytest.mark.requirement("H05", "G08", "G03")
def test_an_idle_worker_starts_a_job_at_once(carried_site: Site) -> None:
    site = carried_site

    @site.jobs.actor()
    def work() -> None: ...

    site.start_worker()
    site.eventually("completed", work.send())
    waits = []
    for _ in range(5):
        time.sleep(0.06)  # so that every consumer waits
        job = site.eventually("completed", work.send())
        waits.append((job.started_at - job.created_at).total_seconds())
    assert sorted(waits)[2] < 0.5


class TestCapacity:
    """How much a process may claim ahead."""

    pytestmark = pytest.mark.requirement("G12")

    def test_no_more_than_its_threads_at_first(self) -> None:
        capacity = Capacity(4)
        assert capacity.acquire(64, 0) == 4
        assert capacity.acquire(1, 0) == 0
        capacity.release(2)
        assert capacity.acquire(1, 0) == 1

    def test_more_ahead_of_short_jobs(self) -> None:
        capacity = Capacity(4)
        capacity.acquire(1, 0)
        capacity.ran(0.0001)
        assert capacity.size == 4 + 4 * MOST_AHEAD

    def test_nothing_ahead_of_long_jobs(self) -> None:
        capacity = Capacity(4)
        capacity.acquire(1, 0)
        capacity.ran(10)
        assert capacity.size == 4

    def test_a_waiter_is_woken_by_a_place(self) -> None:
        capacity = Capacity(1)
        capacity.acquire(1, 0)
        threading.Timer(0.05, capacity.release).start()
        began = time.monotonic()
        assert capacity.acquire(1, 5) == 1
        assert time.monotonic() - began < 2
