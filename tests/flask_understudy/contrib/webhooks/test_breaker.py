"""The breaker of a receiver: shared by all workers, and one probe at a time."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from flask_understudy.contrib.webhooks import breaker, delivering
from flask_understudy.contrib.webhooks.tables import now
from tests.flask_understudy.contrib.webhooks.conftest import TENANT, Sender
from tools.receiver import Receiver, Reply

ROOT = Path(__file__).parents[4]

#: What one of several processes does: wait for the word, then ask.
ASKER = """
import sys
from sqlalchemy import create_engine
from flask_understudy.contrib.webhooks import breaker
from flask_understudy.ledger.database import harden_sqlite
engine = create_engine(sys.argv[1])
if engine.dialect.name == "sqlite":
    harden_sqlite(engine)
with engine.connect() as connection:
    connection.exec_driver_sql("SELECT 1")
print("ready", flush=True)
for line in sys.stdin:
    with engine.begin() as connection:
        admission = breaker.admit(connection, line.strip())
    print("probe" if admission.is_probe else "wait" if admission.wait_ms else "pass", flush=True)
"""


def open_up(sender: Sender, receiver: Receiver) -> tuple[str, str]:
    """Let a receiver fail until its breaker is open; return the endpoint and the delivery that was tried last."""
    receiver.always = Reply(503)
    endpoint = sender.subscribe(receiver.url)
    for _ in range(breaker.MOST_FAILURES):
        [delivery] = sender.publish()
        assert sender.run(delivery).attempt == 1
    return endpoint, delivery


@pytest.mark.requirement("J07", "T12")
def test_a_dead_receiver_is_left_alone_and_no_attempt_is_charged(sender: Sender, receiver: Receiver) -> None:
    endpoint, _ = open_up(sender, receiver)
    [waiting] = sender.publish()

    for _ in range(3):
        job = sender.run(waiting)
        assert (job.state, job.attempt, job.hand_backs, job.error) == ("delayed", 0, 0, None)
        assert (job.run_at - job.started_at).total_seconds() > 1

    assert len(receiver.requests) == breaker.MOST_FAILURES
    [row] = sender.breakers()
    assert (row.key, row.failures) == (endpoint, breaker.MOST_FAILURES)


@pytest.mark.requirement("J07", "T12")
def test_a_probe_that_fails_costs_nothing_and_lets_it_rest_longer(sender: Sender, receiver: Receiver) -> None:
    open_up(sender, receiver)
    [waiting] = sender.publish()

    rests = []
    for _ in range(7):
        sender.rested()
        job = sender.run(waiting)
        assert (job.state, job.attempt) == ("delayed", 0)
        rests.append(sender.breakers()[0].rest_ms)

    assert rests == [20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000]
    assert len(receiver.requests) == breaker.MOST_FAILURES + 7
    assert sender.delivery(waiting).state == "pending"


@pytest.mark.requirement("J07", "T12")
def test_a_probe_that_succeeds_lets_all_through_again(sender: Sender, receiver: Receiver) -> None:
    _, failed = open_up(sender, receiver)
    [waiting] = sender.publish()
    receiver.always = None

    sender.rested()
    assert sender.run(waiting).state == "completed"

    assert sender.breakers() == []
    assert sender.run(failed).state == "completed"


def test_one_receiver_s_outage_harms_no_other(sender: Sender, receiver: Receiver) -> None:
    open_up(sender, receiver)
    with Receiver() as healthy:
        sender.subscribe(healthy.url, "other.event")
        deliveries = [id for id in sender.publish("other.event") if sender.run(id).state == "completed"]
        assert len(deliveries) == len(healthy.requests) == 1


def test_receivers_without_a_subscription_have_a_breaker_per_tenant_and_host(
    sqlite_sender: Sender, receiver: Receiver
) -> None:
    receiver.always = Reply(500)

    def send(tenant: str) -> str:
        url = f"{receiver.url}?tenant={tenant}"
        id: str = sqlite_sender.act(lambda w: w.send(url, {}, "webhook-secret", "test.event", tenant).id)
        return id

    for _ in range(breaker.MOST_FAILURES):
        sqlite_sender.run(send(TENANT))
    assert sqlite_sender.run(send(TENANT)).attempt == 0
    assert sqlite_sender.run(send("birch")).attempt == 1


def test_a_refused_connection_is_an_outage_too(sqlite_sender: Sender, receiver: Receiver) -> None:
    receiver.close()
    sqlite_sender.subscribe(receiver.url)
    for _ in range(breaker.MOST_FAILURES):
        [delivery] = sqlite_sender.publish()
        assert sqlite_sender.run(delivery).attempt == 1
        assert sqlite_sender.delivery(delivery).error == "no_answer"
    [waiting] = sqlite_sender.publish()
    assert sqlite_sender.run(waiting).attempt == 0


def test_what_was_waited_for_too_long_is_given_up_and_the_endpoint_disabled(sender: Sender, receiver: Receiver) -> None:
    endpoint, _ = open_up(sender, receiver)
    [overdue], [waiting] = sender.publish(), sender.publish()
    long_ago = sender.site.moment(-delivering.PATIENCE.total_seconds() - 60)
    sender.site.execute(f"UPDATE understudy_webhook_deliveries SET queued_at = {long_ago} WHERE id = '{overdue}'")

    assert sender.run(overdue).state == "failed"
    assert sender.delivery(overdue).error == "receiver_away"
    assert sender.endpoint(endpoint).enabled

    sender.site.execute(f"UPDATE understudy_webhook_breakers SET since_at = {long_ago}")
    sender.rested()
    assert sender.run(waiting).state == "failed"
    assert sender.endpoint(endpoint).disabled_reason == "failing"

    sender.on(endpoint, lambda w, e: w.endpoints.change(e, enabled=True))
    assert (sender.endpoint(endpoint).disabled_reason, sender.breakers()) == (None, [])
    assert now() - sender.delivery(waiting).queued_at < timedelta(minutes=5)


@pytest.mark.requirement("T12")
def test_of_several_processes_exactly_one_is_the_probe(sender: Sender, receiver: Receiver) -> None:
    endpoint, _ = open_up(sender, receiver)
    url = sender.site.state.database.engine.url.render_as_string(hide_password=False)
    askers = [
        subprocess.Popen(
            [sys.executable, "-c", ASKER, url], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    try:
        for asker in askers:
            assert asker.stdout is not None and asker.stdout.readline() == "ready\n"
        for _ in range(20):
            sender.rested()
            for asker in askers:
                assert asker.stdin is not None
                asker.stdin.write(f"{endpoint}\n")
                asker.stdin.flush()
            answers = [asker.stdout.readline().strip() for asker in askers if asker.stdout is not None]
            assert sorted(answers) == ["probe", "wait", "wait"]
    finally:
        for asker in askers:
            asker.communicate(timeout=20)
