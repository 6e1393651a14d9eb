"""Worker processes over SQS: it is only a bell, so losing, repeating and missing messages changes nothing."""

from __future__ import annotations

import json
import statistics
import time

import pytest

from tests.integration.conftest import Install
from tests.integration.deployment import Deployment
from tests.integration.service.actors import failing, patient, quick, second_time_lucky, slow, urgent
from tests.integration.service.ext import jobs
from tests.integration.test_broker_outages import is_up, timed_sends
from tools.servers.sqs import SqsServer

pytestmark = pytest.mark.requirement("G04", "V07")

FIRST_SEND_SECONDS = 1.5
BLOCKED_SECONDS = 0.25


@pytest.fixture
def service(postgres_url: str, sqs_server: SqsServer, aws_keys: dict[str, str], install: Install) -> Deployment:
    """The service on PostgreSQL and an SQS of its own, which may be hurt."""
    return install(postgres_url, None, SQS_QUEUE_URL=sqs_server.create("jobs"), **aws_keys)


@pytest.mark.requirement("V09", "H02", "H03", "G1", "I1", "I9", "C11")
def test_jobs_are_done_once_by_several_processes(service: Deployment, figure) -> None:
    with service.workers(processes=2, threads=2):
        ids = [
            *service.send_many(slow, 12, 0.8),
            *service.send_many(quick, 100),
            *(service.send(quick, n) for n in range(10)),
            *service.send_many(second_time_lucky, 4),
            *(service.send(patient, delay=1500) for _ in range(4)),
        ]
        seconds = service.wait_for_end()

    figure("s for 130 jobs over SQS", seconds)
    assert sorted(effect.job_id for effect in service.effects()) == sorted(ids)
    assert len({effect.pid for effect in service.effects("start")}) == 2, "only one process was woken"
    service.check(faultless=True)


@pytest.mark.requirement("G1")
def test_an_idle_worker_is_woken_by_its_message(service: Deployment, figure) -> None:
    """It looks at the ledger by itself every five seconds only, and the clock finds the queue not empty."""
    latencies = []
    with service.workers(threads=2, queues=("work",)):
        service.wait_for_end([service.send(quick)])
        for _ in range(8):
            began = time.time()
            id = service.send(quick)
            service.wait_for_end([id])
            latencies += [effect.at - began for effect in service.effects(job_id=id)]

    figure("s from send to run over SQS, median", statistics.median(latencies))
    assert statistics.median(latencies) < 1


@pytest.mark.requirement("G1", "G3", "promise-G10", "I9", "invariant-I14")
def test_messages_that_are_purged_or_repeated_change_nothing(
    service: Deployment, sqs_server: SqsServer, figure
) -> None:
    url = sqs_server.queue_url("jobs")
    service.change("INSERT INTO understudy_queues (name, paused_at) VALUES ('work', now())")
    waiting = service.send_many(quick, 30)
    with service.workers(processes=2, threads=2):
        service.change("UPDATE understudy_queues SET paused_at = NULL")
        sqs_server.client().purge_queue(QueueUrl=url)
        lost = time.monotonic()
        running = service.send_many(slow, 6, 0.5)
        for id in [*waiting[:5], *running, "no-such-job"]:
            for queue in ("work", "mail", "no-such-queue"):
                message = json.dumps({"queue": queue, "id": id})
                sqs_server.client().send_message(QueueUrl=url, MessageBody=message)
        service.wait_for_end(seconds=30)
        seconds = time.monotonic() - lost

    figure("s from the loss until everything was done", seconds)
    assert seconds <= 5 + 5
    assert sorted(effect.job_id for effect in service.effects()) == sorted([*waiting, *running])
    service.check(faultless=True)


@pytest.mark.requirement("G1", "G3", "G9", "promise-G10", "I1", "I9", "invariant-I13", "invariant-I14")
@pytest.mark.parametrize("hurt", ["killed", "frozen"])
def test_jobs_are_done_while_sqs_is_away_and_after(
    service: Deployment, sqs_server: SqsServer, hurt: str, figure
) -> None:
    with service.workers(threads=3):
        before = [*service.send_many(quick, 10), *service.send_many(slow, 6, 1.0)]
        service.wait(lambda: service.effects("start"), "running jobs")
        sqs_server.kill() if hurt == "killed" else sqs_server.pause()
        latencies = timed_sends(service, 12)
        assert not is_up(service)
        stood_in = service.send(urgent)  # its fallback is `sync`: this process does it
        assert service.job(stood_in).state == "completed"
        alone = service.wait_for_end(seconds=40)

        if hurt == "killed":
            sqs_server.start()
            sqs_server.create("jobs")
        else:
            sqs_server.resume()
        back = time.monotonic()
        service.wait(lambda: is_up(service), "the breaker to close", 10)
        id = service.send(quick)
        service.wait_for_end([id], seconds=10)
        dispatched = time.monotonic() - back

    figure("s of the slowest send()", max(latencies))
    figure("s to finish without SQS", alone)
    figure("s from SQS being back to the first dispatch", dispatched)
    assert max(latencies) <= FIRST_SEND_SECONDS
    assert statistics.median(latencies[1:]) <= BLOCKED_SECONDS
    assert dispatched <= 10
    assert set(before) <= set(service.states())
    assert set(service.states().values()) == {"completed"}
    service.check(faultless=True)


@pytest.mark.requirement("promise-G11", "G3")
def test_a_long_poll_keeps_no_worker_from_stopping(service: Deployment, figure) -> None:
    with service.workers(threads=2) as workers:
        service.wait_for_end([service.send(quick)])
        began = time.monotonic()
        workers.process.terminate()
        code = workers.leave()
        seconds = time.monotonic() - began

    figure("s from SIGTERM to the end of an idle command over SQS", seconds)
    assert code == 0, workers.output()
    assert seconds < 10  # of the 20 that a poll takes; the same over Redis


@pytest.mark.requirement("G05")
def test_jobs_that_failed_for_good_stay_in_the_ledger_and_not_in_a_dead_letter_queue(
    service: Deployment, sqs_server: SqsServer
) -> None:
    dead = sqs_server.create("dead")
    with service.workers(threads=2, environ={"SQS_DLQ_URL": dead}):
        id = service.send(failing)
        service.wait_for_state(id, "failed")

    with service.app.app_context():
        found = jobs.get(id)
    assert found is not None
    assert "this never works" in str(found.error)
    assert "Messages" not in sqs_server.client().receive_message(QueueUrl=dead)
