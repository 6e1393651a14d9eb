"""Redis refuses, hangs, forgets: every job is done all the same, once, and no sender waits for it."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from flask_understudy.errors import BrokerUnavailable
from tests.integration.conftest import Install
from tests.integration.deployment import Deployment
from tests.integration.service.actors import (
    patient,
    quick,
    second_time_lucky,
    slow,
    strict,
    urgent,
    urgent_and_failing_once,
)
from tests.integration.service.ext import Effect, db, jobs
from tools.servers import RedisServer

FIRST_SEND_SECONDS = 1.5
BLOCKED_SECONDS = 0.25


@pytest.fixture
def service(postgres_url: str, redis_server: RedisServer, install: Install) -> Deployment:
    """The service on PostgreSQL and a Redis of its own, which may be hurt."""
    return install(postgres_url, redis_server.url)


def is_up(service: Deployment) -> bool:
    with service.app.app_context():
        return jobs.is_broker_up


def timed_sends(service: Deployment, n: int) -> list[float]:
    """Send jobs one by one, as requests do; return how long each took."""
    seconds = []
    for _ in range(n):
        began = time.perf_counter()
        service.send(quick)
        seconds.append(time.perf_counter() - began)
    return seconds


def kill(redis_: RedisServer) -> Callable[[], object]:
    redis_.kill()
    return redis_.start


def freeze(redis_: RedisServer) -> Callable[[], object]:
    redis_.pause()
    return redis_.resume


def fill(redis_: RedisServer) -> Callable[[], object]:
    """Leave no memory: Redis answers, and takes nothing in."""
    with redis.Redis.from_url(redis_.url) as client:
        client.config_set("maxmemory", "1")

    def heal() -> None:
        with redis.Redis.from_url(redis_.url) as client:
            client.config_set("maxmemory", "0")

    return heal


@pytest.mark.requirement("G1", "G3", "G9", "promise-G10", "I1", "I9", "invariant-I13", "invariant-I14")
@pytest.mark.parametrize("hurt", [kill, freeze, fill])
def test_jobs_are_done_while_redis_is_away_and_after(
    service: Deployment, redis_server: RedisServer, hurt: Callable[[RedisServer], Callable[[], object]], figure
) -> None:
    with service.workers(threads=3):
        before = [
            *service.send_many(quick, 10),
            *service.send_many(slow, 6, 1.0),
            *service.send_many(second_time_lucky, 4),
            *(service.send(quick, delay=1500) for _ in range(4)),
        ]
        service.wait(lambda: service.effects("start"), "running jobs")
        heal = hurt(redis_server)
        away = time.monotonic()
        latencies = timed_sends(service, 12)
        while not (ended := service.states()) or not all(ended[id] == "completed" for id in before):
            assert time.monotonic() - away < 40, service.report()
            time.sleep(0.05)
        alone = time.monotonic() - away
        during = timed_sends(service, 4)
        service.wait_for_end(seconds=20)

        heal()
        back = time.monotonic()
        service.wait(lambda: is_up(service), "the breaker to close", 10)
        id = service.send(quick)
        service.wait_for_end([id], seconds=10)
        dispatched = time.monotonic() - back

    figure("s of the slowest send()", max(latencies))
    figure("s of the median send() afterwards", statistics.median(latencies[1:] + during))
    figure("s to finish without Redis", alone)
    figure("s from Redis being back to the first dispatch", dispatched)
    assert max(latencies) <= FIRST_SEND_SECONDS
    assert statistics.median(latencies[1:] + during) <= BLOCKED_SECONDS
    assert dispatched <= 5
    assert set(service.states().values()) == {"completed"}
    service.check(faultless=True)


@pytest.mark.requirement("G1", "G3", "promise-G10", "I9", "invariant-I14")
@pytest.mark.parametrize("loss", ["flushed", "restarted empty"])
def test_redis_that_forgot_everything_is_told_again(
    service: Deployment, redis_server: RedisServer, loss: str, figure
) -> None:
    service.change("INSERT INTO understudy_queues (name, paused_at) VALUES ('work', now())")
    waiting = [*service.send_many(quick, 30), *(service.send(quick, delay=700) for _ in range(5))]
    with service.workers(threads=2):
        service.change("UPDATE understudy_queues SET paused_at = NULL")
        running = service.send_many(slow, 4, 0.7)
        if loss == "flushed":
            with redis.Redis.from_url(redis_server.url) as client:
                client.flushall()
        else:
            redis_server.kill()
            redis_server.start()
        lost = time.monotonic()
        service.wait_for_end([*waiting, *running], seconds=30)
        seconds = time.monotonic() - lost

    figure("s from the loss until everything was done", seconds)
    assert seconds <= 5 + 5
    assert sorted(effect.job_id for effect in service.effects()) == sorted([*waiting, *running])
    service.check(faultless=True)


@pytest.mark.requirement("G1", "promise-G10", "invariant-I14")
def test_clock_announces_again_what_redis_lost_to_workers_that_only_listen(
    service: Deployment, redis_server: RedisServer, figure
) -> None:
    """A worker looks at the ledger by itself every few seconds only: being faster than that is the clock's doing."""
    with service.workers(threads=2), redis.Redis.from_url(redis_server.url) as client:
        service.wait_for_end([service.send(quick)])
        seconds = []
        for _ in range(4):
            id = service.send(quick, delay=60_000)
            service.change("UPDATE understudy_jobs SET state = 'waiting', run_at = now() WHERE id = :id", id=id)
            client.flushall()
            began = time.monotonic()
            service.wait_for_end([id], seconds=10)
            seconds.append(time.monotonic() - began)

    figure("s at the most until a lost announcement was repeated", max(seconds))
    assert max(seconds) <= 5
    service.check(faultless=True)


@pytest.mark.requirement("G3", "I4", "I9")
def test_forged_repeated_and_late_announcements_run_nothing(service: Deployment, redis_server: RedisServer) -> None:
    with service.workers(threads=2), redis.Redis.from_url(redis_server.url) as client:
        done, cancelled, later = service.send(quick), *(service.send(quick, delay=60_000) for _ in range(2))
        service.wait_for_end([done])
        with service.app.app_context():
            jobs.cancel(cancelled)
        forged = {f"forged-{n}": n for n in range(300)} | {id: -n for n, id in enumerate([done, cancelled, later])}
        for _ in range(3):
            client.zadd("understudy:work", forged)
            service.wait(lambda: not client.exists("understudy:work"), "the announcements to be taken")
        assert service.states() == {done: "completed", cancelled: "cancelled", later: "delayed"}
        service.change("UPDATE understudy_jobs SET run_at = now() WHERE state = 'delayed'")
        service.wait_for_end()

    assert sorted(effect.job_id for effect in service.effects()) == sorted([done, later])
    service.check(faultless=True)


@pytest.fixture
def outage(service: Deployment, redis_server: RedisServer) -> Iterator[Callable[[], object]]:
    """Redis is down, and this process knows; call it to bring Redis back."""
    redis_server.kill()
    service.send(patient)
    assert not is_up(service)
    yield redis_server.start
    service.check(faultless=True)


@pytest.mark.requirement("G9", "G3", "I9", "invariant-I13")
def test_sync_job_runs_in_the_request_and_never_again(
    service: Deployment, outage: Callable[[], object], figure
) -> None:
    began = time.perf_counter()
    id = service.send(urgent)
    figure("s of a send() that ran its job", time.perf_counter() - began)
    job = service.job(id)

    outage()
    with service.workers():
        service.wait_for_end()
        service.wait_for_end([service.send(urgent)])

    assert (job.state, job.result, job.fence) == ("completed", os.getpid(), 1)
    assert service.job(id) == job
    assert len(service.effects(job_id=id)) == 1


@pytest.mark.requirement("G9", "G3")
def test_sync_job_that_fails_in_the_request_is_retried_by_a_worker(
    service: Deployment, outage: Callable[[], object]
) -> None:
    id = service.send(urgent_and_failing_once)
    assert (service.job(id).state, service.job(id).attempt) == ("delayed", 1)

    with service.workers():  # without Redis
        service.wait_for_end()

    assert (service.job(id).state, service.job(id).attempt) == ("completed", 2)


@pytest.mark.requirement("G9", "G2", "invariant-I13")
def test_breaker_also_serves_a_send_that_joined_the_callers_transaction(
    service: Deployment, redis_server: RedisServer, figure
) -> None:
    redis_server.pause()  # the worst kind: every exchange waits for its time limit
    seconds = []
    sent = []
    with service.app.app_context():
        for commits in (True, True, False, True):
            db.session.add(Effect(job_id="a request", fence=0, attempt=0, actor="", kind="request", pid=0, at=0))
            began = time.perf_counter()
            sent.append((urgent.send().message_id, commits))
            assert jobs.get(sent[-1][0]).state == "waiting", "it ran before the caller's commit"
            if commits:
                db.session.commit()
            else:
                db.session.rollback()
            seconds.append(time.perf_counter() - began)
    redis_server.resume()

    figure("s of the first request", seconds[0])
    figure("s of the requests after it", max(seconds[1:]))
    states = service.states()
    assert [states.get(id) for id, _ in sent] == ["completed" if commits else None for _, commits in sent]
    assert seconds[0] <= FIRST_SEND_SECONDS
    service.change("DELETE FROM effects WHERE kind = 'request'")
    service.check(faultless=True)


@pytest.mark.requirement("G9", "G1")
def test_job_on_hold_is_done_by_workers_that_never_saw_redis(service: Deployment, outage: Callable[[], object]) -> None:
    ids = [service.send(patient) for _ in range(3)]
    assert {service.job(id).state for id in ids} == {"waiting"}

    with service.workers():
        service.wait_for_end()

    assert len(service.effects()) == len(service.states()) == 4


@pytest.mark.requirement("G9")
def test_strict_job_is_refused_while_redis_is_down_and_accepted_when_it_is_back(
    service: Deployment, outage: Callable[[], object]
) -> None:
    known = service.states()
    with pytest.raises(BrokerUnavailable):
        service.send(strict)
    assert service.states() == known

    outage()
    service.wait(lambda: is_up(service), "the breaker to close", 5)
    with service.workers():
        service.wait_for_end([service.send(strict)])
        service.wait_for_end()


@pytest.mark.requirement("G9", "G3", "I9")
def test_worker_and_request_that_want_the_same_sync_job_do_not_both_run_it(
    service: Deployment, redis_server: RedisServer
) -> None:
    with service.workers(threads=3):
        redis_server.kill()
        ids = [service.send(urgent, 0.05) for _ in range(15)]
        redis_server.start()
        ids += [service.send(urgent, 0.05) for _ in range(15)]
        service.wait_for_end(ids)

    assert sorted(effect.job_id for effect in service.effects()) == sorted(ids)
    service.check(faultless=True)


@pytest.mark.requirement("promise-G11", "G3", "I9")
@pytest.mark.parametrize("hurt", [kill, freeze])
def test_workers_stop_in_good_order_while_redis_is_away(
    service: Deployment, redis_server: RedisServer, hurt: Callable[[RedisServer], Callable[[], object]], figure
) -> None:
    ids = service.send_many(slow, 8, 1.0)
    with service.workers(threads=2) as workers:
        service.wait(lambda: len(service.effects("start")) >= 2, "running jobs")
        hurt(redis_server)
        began = time.monotonic()
        workers.process.terminate()
        code = workers.leave()
        figure("s from SIGTERM to the end of the command", time.monotonic() - began)

    started = len(service.effects("start"))
    assert code == 0, workers.output()
    assert time.monotonic() - began < 15
    assert len(service.effects()) == started < len(ids)
    assert {job.attempt for job in map(service.job, ids) if job.state == "waiting"} == {0}
    service.check(settled=False, faultless=True)
