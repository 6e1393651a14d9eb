"""PostgreSQL goes away while jobs run: what they did is kept and recorded, and nothing is lost."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable

import pytest
from sqlalchemy.exc import OperationalError

from tests.integration.conftest import Install
from tests.integration.deployment import Deployment
from tests.integration.service.actors import quick, silent
from tests.integration.service.ext import Effect, db
from tools.proxy import FaultProxy
from tools.servers import PostgresServer


def stop(server: PostgresServer) -> Callable[[], object]:
    server.stop()
    return server.start


def kill(server: PostgresServer) -> Callable[[], object]:
    server.kill()
    return server.start


def freeze(server: PostgresServer) -> Callable[[], object]:
    server.pause()
    return server.resume


@pytest.fixture
def service(postgres_server: PostgresServer, redis_url: str, install: Install) -> Deployment:
    """The service on a PostgreSQL of its own that may be hurt, and leases that outlast a short outage."""
    return install(
        postgres_server.url,
        redis_url,
        UNDERSTUDY_LEASE_SECONDS="12",
        UNDERSTUDY_RESCUE_GRACE_SECONDS="4",
    )


@pytest.mark.requirement("G1", "G3", "promise-G10", "I1", "invariant-I14")
@pytest.mark.parametrize("hurt", [stop, kill, freeze])
def test_results_of_jobs_that_ended_during_an_outage_are_recorded_after_it(
    service: Deployment,
    postgres_server: PostgresServer,
    hurt: Callable[[PostgresServer], Callable[[], object]],
    figure,
) -> None:
    with service.workers(threads=4):
        ids = [*service.send_many(silent, 4, 1.5), *service.send_many(silent, 4, 0.2), *service.send_many(quick, 4)]
        service.wait(lambda: list(service.states().values()).count("active") >= 3, "running jobs")
        running = [id for id, state in service.states().items() if state == "active"]
        heal = hurt(postgres_server)
        time.sleep(3)  # how long the outage lasts
        heal()
        back = time.monotonic()
        service.wait_for_end(running, seconds=25)
        recorded = time.monotonic() - back
        service.wait_for_end(ids, seconds=25)
        seconds = time.monotonic() - back

    figure("s until the results were recorded", recorded)
    figure("s until everything was done", seconds)
    assert seconds <= 15
    assert {service.job(id).result for id in running} == {1}, "a job that was running ran again"
    assert set(service.states().values()) == {"completed"}
    service.check(faultless=True)


@pytest.mark.requirement("G1", "G3", "G4", "I1", "I8")
def test_outage_longer_than_the_lease_loses_nothing(
    postgres_server: PostgresServer, redis_url: str, install: Install, figure
) -> None:
    service = install(postgres_server.url, redis_url)
    with service.workers(processes=2, threads=3):
        ids = [*service.send_many(silent, 6, 5.0), *service.send_many(quick, 10)]
        ids += [service.send(quick, delay=1000) for _ in range(3)]
        service.wait(lambda: list(service.states().values()).count("active") >= 6, "running jobs")
        with service.app.app_context():
            db.session.add(Effect(job_id="a request", fence=0, attempt=0, actor="", kind="request", pid=0, at=0))
            db.session.flush()
            postgres_server.stop()
            with pytest.raises(OperationalError):
                quick.send()  # not accepted, so not promised
            db.session.rollback()
        with pytest.raises(OperationalError):
            service.send(quick)
        time.sleep(5)  # longer than the lease
        postgres_server.start()
        back = time.monotonic()
        ids.append(service.send(quick))
        service.wait_for_end(ids, seconds=40)

    figure("s until everything was done", time.monotonic() - back)
    assert sorted(service.states()) == sorted(ids)
    assert set(service.states().values()) == {"completed"}
    service.check()


@pytest.mark.requirement("G1", "promise-G11", "I1")
def test_workers_that_stop_while_the_database_is_away_leave_their_jobs_to_others(
    postgres_server: PostgresServer, redis_url: str, install: Install, figure
) -> None:
    service = install(postgres_server.url, redis_url)
    ids = service.send_many(silent, 6, 1.0)
    with service.workers(threads=2) as workers:
        service.wait(lambda: list(service.states().values()).count("active") >= 2, "running jobs")
        postgres_server.stop()
        began = time.monotonic()
        workers.process.terminate()
        workers.leave()
        figure("s from SIGTERM to the end of the command", time.monotonic() - began)
        assert time.monotonic() - began < 30

    postgres_server.start()
    with service.workers():
        service.wait_for_end(ids)
    assert set(service.states().values()) == {"completed"}
    service.check()


@pytest.mark.requirement("G1", "G3", "G4", "I1", "I2")
def test_answers_that_are_lost_on_the_way_strand_no_job(
    postgres_server: PostgresServer,
    redis_url: str,
    install: Install,
    fault_proxy: Callable[[str, int], FaultProxy],
    dice: random.Random,
    figure,
) -> None:
    """A claim or a finish may be committed though its worker was told of an error, or of nothing."""
    service = install(postgres_server.url, redis_url)
    proxy = fault_proxy(postgres_server.host, postgres_server.port)
    with service.workers(threads=4, environ={"DATABASE_URL": proxy.url_for(postgres_server.url)}) as workers:
        ids = []
        for _ in range(6):
            ids.append(service.send(silent, 0.0))
            service.wait_for_end(ids[-1:])  # it is connected
            proxy.latency(0.1)
            ids += service.send_many(silent, 6, 0.0)
            time.sleep(dice.uniform(0.1, 0.25))  # now the claim is there, and its answer is not here yet
            proxy.reset()
            proxy.latency(0)
        healed = time.monotonic()
        service.wait_for_end(ids, seconds=30)
        figure("s until everything was done", time.monotonic() - healed)
        assert workers.is_running

    assert set(service.states().values()) == {"completed"}
    service.check()


@pytest.mark.requirement("G1", "G3", "G4", "I1", "I8")
def test_sqlite_file_that_another_program_locks_longer_than_the_lease_loses_nothing(
    sqlite_url: str, install: Install, figure
) -> None:
    service = install(sqlite_url, None)
    with service.workers(threads=3):
        ids = [*service.send_many(silent, 3, 1.0), *service.send_many(quick, 6)]
        service.wait(lambda: list(service.states().values()).count("active") >= 3, "running jobs")
        with sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None, timeout=15) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(5)  # longer than the lease
            other.execute("ROLLBACK")
        other.close()
        figure("s until everything was done", service.wait_for_end(ids, seconds=40))

    assert set(service.states().values()) == {"completed"}
    service.check()
