"""Everything at once: random jobs, random faults; in the end everything is done, and nothing that must not be.

`make torture` repeats it with other dice.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
import redis

from tests.integration.conftest import Install
from tests.integration.deployment import Deployment
from tests.integration.invariants import MOST_CRASHES
from tests.integration.service import actors
from tests.integration.service.ext import Effect, db
from tests.integration.workers import Supervisor
from tools.proxy import FaultProxy
from tools.servers import PostgresServer, RedisServer

SECONDS = 14.0


class Chaos:
    """The faults of one round, each with its end."""

    def __init__(
        self,
        service: Deployment,
        dice: random.Random,
        crews: list[Supervisor],
        postgres: PostgresServer,
        redis_: RedisServer,
        proxy: FaultProxy,
    ) -> None:
        self.service, self.dice, self.crews = service, dice, crews
        self.postgres, self.redis, self.proxy = postgres, redis_, proxy
        self.happened: list[str] = []

    def one(self) -> None:
        """Let one fault happen, from its beginning to its end."""
        at_workers = [self.kill_worker, self.kill_group, self.freeze_group, self.stop_workers]
        at_servers = [self.cut_database, self.stop_database, self.kill_redis, self.freeze_redis, self.flush_redis]
        fault = self.dice.choice([*at_workers, *at_servers])
        self.happened.append(fault.__name__)
        fault()

    def last(self) -> None:
        time.sleep(self.dice.uniform(0.2, 2.0))

    def kill_worker(self) -> None:
        master = self.dice.choice(self.crews).current.process.pid
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            self.dice.choice(psutil.Process(master).children()).kill()

    def kill_group(self) -> None:
        self.dice.choice(self.crews).current.signal_all(signal.SIGKILL)

    def stop_workers(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.dice.choice(self.crews).current.process.pid, signal.SIGTERM)

    def freeze_group(self) -> None:
        crew = self.dice.choice(self.crews).current
        crew.signal_all(signal.SIGSTOP)
        time.sleep(self.dice.uniform(0.5, 6.0))
        crew.signal_all(signal.SIGCONT)

    def cut_database(self) -> None:
        self.proxy.latency(0.05)
        for _ in range(3):
            time.sleep(self.dice.uniform(0.05, 0.5))
            self.proxy.reset()
        self.proxy.latency(0)

    def stop_database(self) -> None:
        self.dice.choice([self.postgres.stop, self.postgres.kill])()
        self.last()
        self.postgres.start()

    def kill_redis(self) -> None:
        self.redis.kill()
        self.last()
        self.redis.start()

    def freeze_redis(self) -> None:
        self.redis.pause()
        self.last()
        self.redis.resume()

    def flush_redis(self) -> None:
        with redis.Redis.from_url(self.redis.url) as client:
            client.flushall()


def send_something(service: Deployment, dice: random.Random) -> None:
    """Send one job or some, in one of the ways there are."""
    ways: list[Callable[[], object]] = [
        lambda: service.send_many(actors.quick, 5),
        lambda: service.send(actors.slow, dice.uniform(0.1, 2.0), priority=dice.randint(1, 5)),
        lambda: service.send(actors.exact, dice.uniform(0.0, 0.5), 1),
        lambda: service.send(actors.parent, 3),
        lambda: service.send(actors.silent, dice.uniform(0.0, 1.0), delay=dice.randint(0, 3000)),
        lambda: service.send(actors.second_time_lucky),
        lambda: service.send(actors.urgent),
        lambda: send_and_roll_back(service),
    ]
    # The database may be away, and then nothing is accepted.
    with contextlib.suppress(Exception):
        dice.choice(ways)()


def send_and_roll_back(service: Deployment) -> None:
    with service.app.app_context():
        db.session.add(Effect(job_id="a request", fence=0, attempt=0, actor="", kind="request", pid=0, at=0))
        actors.quick.send()
        db.session.rollback()


@pytest.fixture
def sender(dice: random.Random) -> Iterator[Callable[[Deployment], Callable[[], None]]]:
    """Start sending; what it returns stops that."""
    stopped = threading.Event()
    threads: list[threading.Thread] = []

    def start(service: Deployment) -> Callable[[], None]:
        own = random.Random(dice.random())

        def run() -> None:
            while not stopped.wait(own.uniform(0.05, 0.4)):
                send_something(service, own)

        threads.append(threading.Thread(target=run, daemon=True))
        threads[0].start()
        return stop

    def stop() -> None:
        stopped.set()
        for thread in threads:
            thread.join()

    yield start
    stop()


@pytest.mark.requirement(
    "G1", "G2", "G3", "G4", "G5", "G6", "I1", "I2", "I3", "I5", "I7", "I8", "invariant-I10", "invariant-I11"
)
def test_no_promise_is_broken_by_random_faults(
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    fault_proxy: Callable[[str, int], FaultProxy],
    install: Install,
    dice: random.Random,
    sender: Callable[[Deployment], Callable[[], None]],
    figure,
) -> None:
    service = install(postgres_server.url, redis_server.url)
    proxy = fault_proxy(postgres_server.host, postgres_server.port)
    through_proxy = {"DATABASE_URL": proxy.url_for(postgres_server.url)}
    with (
        service.supervised(processes=2, threads=2, environ=through_proxy) as first,
        service.supervised(threads=3) as second,
    ):
        service.wait(lambda: service.rows("SELECT id FROM understudy_workers"), "a worker", 30)
        stop_sending = sender(service)
        chaos = Chaos(service, dice, [first, second], postgres_server, redis_server, proxy)
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            time.sleep(dice.uniform(0.2, 1.5))
            chaos.one()
        stop_sending()
        try:
            figure(f"s to the end of all jobs after {chaos.happened}", service.wait_for_end(seconds=70))
        except AssertionError as error:
            raise AssertionError(f"after {chaos.happened}: {error}") from None

    figure("jobs", len(service.states()))
    ended_badly = service.rows("SELECT * FROM understudy_jobs WHERE state <> 'completed'")
    for job in ended_badly:
        assert (job.state, job.reason) in {("failed", "poison"), ("failed", "exhausted")}
        assert job.crashes == MOST_CRASHES or job.attempt == job.max_attempts
    service.check()
