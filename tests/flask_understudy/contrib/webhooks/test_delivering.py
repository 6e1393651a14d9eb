"""One attempt after the other at a delivery, to real receivers."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import standardwebhooks
import time_machine

from flask_understudy.contrib.webhooks import verify, verify_headers
from flask_understudy.contrib.webhooks.errors import DeliveryGivenUp, InvalidWebhook
from flask_understudy.contrib.webhooks.tables import WebhookDelivery
from tests.flask_understudy.conftest import MakeSite
from tests.flask_understudy.contrib.webhooks.conftest import SECRET, TENANT, Sender
from tools.receiver import Receiver, Reply


@pytest.mark.requirement("P06", "P07", "C25", "K06", "decision-C11")
def test_a_delivery_carries_both_signatures_over_the_bytes_that_arrive(sender: Sender, receiver: Receiver) -> None:
    sender.subscribe(receiver.url, "incident.created")
    payload = {"event": "incident.created", "data": {"title": "Größe ☂", "n": 1.5}}

    [delivery] = sender.publish("incident.created", payload)
    job = sender.run(delivery)

    assert (job.state, job.result) == ("completed", {"delivery": delivery, "status": 204})
    [got] = receiver.requests
    assert json.loads(got.body) == payload
    assert (got.path, got.headers["content-type"]) == ("/hook", "application/json")
    assert standardwebhooks.Webhook(SECRET).verify(got.body, dict(got.headers)) == payload
    verify(SECRET, got.headers["x-webhook-timestamp"], got.headers["x-webhook-signature"], got.body)
    assert got.headers["webhook-id"] == got.headers["x-webhook-id"] == delivery
    assert got.headers["x-webhook-event"] == "incident.created"
    assert verify_headers(SECRET, got.headers, got.body) == delivery
    row = sender.delivery(delivery)
    assert (row.state, row.attempts, row.status, row.error) == ("delivered", 1, 204, None)


@pytest.mark.requirement("A27", "D13", "A53")
def test_attempts_are_five_and_wait_longer_each_time(
    sender: Sender, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.always = Reply(400, body=b"no such \x00 thing\x1b[2J")
    sender.subscribe(receiver.url)
    [delivery] = sender.publish()

    waits = []
    for _ in range(4):
        job = sender.run(delivery)
        assert job.state == "delayed"
        waits.append((job.run_at - job.started_at).total_seconds())
    last = sender.run(delivery)

    for waited, expected in zip(waits, (10, 50, 250, 1250), strict=True):
        assert 0.85 * expected - 1 < waited < 1.15 * expected + 2
    assert (last.state, last.reason, last.max_attempts) == ("failed", "exhausted", 5)
    assert (last.queue, last.actor) == ("webhooks", "webhook:send")
    row = sender.delivery(delivery)
    assert (row.state, row.attempts, row.status, row.error) == ("failed", 5, 400, "http_400")
    tried = sender.attempts(delivery)
    assert [(one.number, one.status) for one in tried] == [(n, 400) for n in range(1, 6)]
    assert tried[0].response.isprintable() and "thing" in tried[0].response
    assert tried[0].duration_ms is not None
    assert "Traceback" not in caplog.text
    assert sender.breakers() == []  # it is this delivery that the receiver refuses


def test_each_attempt_has_its_own_time_and_the_same_id(sqlite_sender: Sender, receiver: Receiver) -> None:
    receiver.replies = [Reply(400)]
    sqlite_sender.subscribe(receiver.url)
    [delivery] = sqlite_sender.publish()

    sqlite_sender.run(delivery)
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=10)):
        sqlite_sender.run(delivery)

    first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) >= 600
    assert first.body == second.body


@pytest.mark.requirement("D06")
def test_a_send_may_ask_for_five_retries_and_thirty_seconds(sqlite_sender: Sender, receiver: Receiver) -> None:
    delivery = sqlite_sender.act(
        lambda w: w.send(receiver.url, {"a": 1}, "webhook-secret", "test.event", max_retries=5, time_limit=30_000).id
    )

    job = sqlite_sender.site.job(sqlite_sender.delivery(delivery).job_id)
    assert (job.max_attempts, job.options["time_limit"]) == (6, 30_000)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_is_not_followed(sqlite_sender: Sender, receiver: Receiver, status: int) -> None:
    receiver.replies = [Reply(status, {"Location": f"http://127.0.0.1:{receiver.port}/elsewhere"})]
    sqlite_sender.subscribe(receiver.url)
    [delivery] = sqlite_sender.publish()

    assert sqlite_sender.run(delivery).state == "delayed"
    assert [got.path for got in receiver.requests] == ["/hook"]
    assert sqlite_sender.delivery(delivery).error == f"http_{status}"


def test_gone_disables_the_endpoint(sender: Sender, receiver: Receiver) -> None:
    receiver.replies = [Reply(410)]
    endpoint = sender.subscribe(receiver.url)
    first, second = sender.publish()[0], sender.publish()[0]

    assert sender.run(first).state == "failed"
    assert sender.run(second).state == "failed"

    row = sender.endpoint(endpoint)
    assert (row.enabled, row.disabled_reason) == (False, "gone")
    assert (sender.delivery(first).error, sender.delivery(second).error) == ("http_410", "endpoint_disabled")
    assert len(receiver.requests) == 1
    assert sender.publish() == []


@pytest.mark.parametrize(
    ("status", "given", "low", "high"),
    [
        (429, "120", 115, 130),
        (503, "600", 595, 610),
        (502, "0", 8, 12),
        (504, "soon", 8, 12),
        (503, "9" * 30, 86_390, 86_410),
        (500, "600", 8, 12),
        (400, "600", 8, 12),
    ],
)
def test_retry_after_is_honoured_where_it_means_that_and_bounded(
    sqlite_sender: Sender, receiver: Receiver, status: int, given: str, low: int, high: int
) -> None:
    receiver.replies = [Reply(status, {"Retry-After": given})]
    sqlite_sender.subscribe(receiver.url)
    [delivery] = sqlite_sender.publish()

    job = sqlite_sender.run(delivery)

    assert (job.state, job.attempt) == ("delayed", 1)
    assert low <= (job.run_at - job.started_at).total_seconds() <= high


def test_retry_after_may_be_a_date(sqlite_sender: Sender, receiver: Receiver) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=300)
    receiver.replies = [Reply(503, {"Retry-After": format_datetime(moment, usegmt=True)})]
    sqlite_sender.subscribe(receiver.url)
    [delivery] = sqlite_sender.publish()

    job = sqlite_sender.run(delivery)

    assert 280 <= (job.run_at - job.started_at).total_seconds() <= 305


@pytest.mark.requirement("A48", "C33")
def test_a_secret_is_nowhere_in_clear(sender: Sender, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "webhook-secret-canary"
    receiver.always = Reply(200, body=f"thanks for {secret}".encode())

    raw = sender.act(lambda w: w.send(receiver.url, {"event": "test"}, secret, "test.event", TENANT).id)
    sender.subscribe(receiver.url, secret=secret)
    [other] = sender.publish()
    for delivery in (raw, other):
        assert sender.run(delivery).state == "completed"

    for got in receiver.requests:
        verify(secret, got.headers["x-webhook-timestamp"], got.headers["x-webhook-signature"], got.body)
    assert sender.attempts(raw)[0].response == "thanks for ***"
    job = sender.site.job(sender.delivery(raw).job_id)
    assert job.args == [raw] and not job.kwargs
    with sender.site.state.database.transaction() as connection:
        for table in ("jobs", "attempts", "webhook_endpoints", "webhook_deliveries", "webhook_attempts"):
            assert secret not in str(connection.exec_driver_sql(f"SELECT * FROM understudy_{table}").all())
    assert secret not in caplog.text


def test_a_raw_send_verifies_with_the_bytes_of_its_secret(sqlite_sender: Sender, receiver: Receiver) -> None:
    delivery = sqlite_sender.act(lambda w: w.send(receiver.url, {"a": 1}, "webhook-secret", "test.event").id)
    sqlite_sender.run(delivery)

    [got] = receiver.requests
    assert standardwebhooks.Webhook(b"webhook-secret").verify(got.body, dict(got.headers)) == {"a": 1}


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"url": "https://receiver.invalid:22/"}, "url"),
        ({"url": "ftp://example.com"}, "url"),
        ({"secret": "short"}, "secret"),
        ({"secret": "with a space in it"}, "secret"),
        ({"secret": "whsec_no-base64-at-all"}, "secret"),
        ({"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS"}, "secret"),
        ({"event": "no event"}, "event"),
        ({"event": "x" * 101}, "event"),
        ({"payload": float("nan")}, "payload"),
        ({"payload": "a\x00b"}, "payload"),
        ({"payload": "x" * 300_000}, "payload"),
    ],
)
def test_what_cannot_be_sent_is_refused_and_nothing_stored(
    sqlite_sender: Sender, values: dict[str, Any], field: str
) -> None:
    given: dict[str, Any] = {"url": "https://example.com", "payload": {}, "secret": "long-enough", "event": "a.b"}
    with pytest.raises(InvalidWebhook) as refused:
        sqlite_sender.act(lambda w: w.send(**(given | values)))

    assert refused.value.field == field
    assert sqlite_sender.site.all_jobs() == []


def test_what_is_rolled_back_is_not_told(sender: Sender, receiver: Receiver) -> None:
    sender.subscribe(receiver.url)

    with sender.site.app.app_context():
        sender.site.db.session.add(sender.site.Note(text="an incident"))
        assert len(sender.webhooks.publish("incident.created", {}, TENANT)) == 1
        sender.site.db.session.rollback()

    assert sender.site.all_jobs() == []
    assert sender.act(lambda w: w.deliveries.page(TENANT, 10)) == []


def test_what_stands_alone_is_committed_at_once(sender: Sender, receiver: Receiver) -> None:
    sender.subscribe(receiver.url)

    with sender.site.app.app_context():
        sender.webhooks.publish("incident.created", {}, TENANT)

    assert [job.state for job in sender.site.all_jobs()] == ["waiting"]


def test_only_listening_endpoints_of_the_tenant_are_told(sender: Sender, receiver: Receiver) -> None:
    heard = sender.subscribe(receiver.url, "incident.created")
    everything = sender.subscribe(receiver.url, "*")
    sender.subscribe(receiver.url, "incident.closed")
    sender.subscribe(receiver.url, "*", tenant="birch")
    silent = sender.subscribe(receiver.url, "*")
    sender.on(silent, lambda w, e: w.endpoints.change(e, enabled=False))

    deliveries = sender.publish("incident.created")

    assert [sender.delivery(id).endpoint_id for id in deliveries] == [heard, everything]
    assert {job.tenant for job in sender.site.all_jobs()} == {TENANT}


def test_a_delivered_one_is_not_sent_again_by_a_late_job(sqlite_sender: Sender, receiver: Receiver) -> None:
    sqlite_sender.subscribe(receiver.url)
    [delivery] = sqlite_sender.publish()
    sqlite_sender.run(delivery)

    job = sqlite_sender.site.worker.run(sqlite_sender.webhooks.actor.send(delivery))

    assert job.result == {"delivery": delivery, "skipped": True}
    assert len(receiver.requests) == 1


@pytest.mark.requirement("A53")
def test_a_failed_job_that_is_retried_delivers(sqlite_sender: Sender, receiver: Receiver) -> None:
    receiver.replies = [Reply(400)] * 5
    sqlite_sender.subscribe(receiver.url)
    [delivery] = sqlite_sender.publish()
    for _ in range(5):
        job = sqlite_sender.run(delivery)
    assert job.state == "failed"

    sqlite_sender.site.jobs.retry(job.id)
    assert sqlite_sender.run(delivery).state == "completed"
    assert sqlite_sender.delivery(delivery).state == "delivered"


def test_a_host_that_leads_inside_is_given_up_with_one_text_for_all(make_site: MakeSite, sqlite_ledger: str) -> None:
    sender = Sender(make_site(sqlite_ledger, SECRET_KEY="a key for tests only"))
    seen = []
    for url in ("https://nowhere.invalid/", "https://localtest.example.invalid/"):
        sender.subscribe(url)
        [delivery] = sender.publish()
        job = sender.run(delivery)
        seen.append((job.state, job.error, sender.delivery(delivery).error, sender.attempts(delivery)[0].duration_ms))
        sender.site.execute("DELETE FROM understudy_webhook_endpoints")

    assert set(seen) == {("failed", "DestinationNotAllowed: destination_not_allowed", "destination_not_allowed", None)}


def test_the_environment_s_proxy_is_not_used(
    sqlite_sender: Sender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    sqlite_sender.subscribe(receiver.url)
    [delivery] = sqlite_sender.publish()

    assert sqlite_sender.run(delivery).state == "completed"


def test_a_real_worker_delivers(carried_sender: Sender, receiver: Receiver) -> None:
    receiver.replies = [Reply(400)]
    carried_sender.subscribe(receiver.url)
    carried_sender.site.start_worker()

    [delivery] = carried_sender.publish()
    receiver.wait(1)
    carried_sender.site.eventually("delayed", carried_sender.delivery(delivery).job_id)
    carried_sender.site.change(carried_sender.delivery(delivery).job_id, run_at=carried_sender.site.moment(0))

    carried_sender.site.eventually("completed", carried_sender.delivery(delivery).job_id)
    assert [one.status for one in carried_sender.attempts(delivery)] == [400, 204]


def test_what_is_given_up_says_so(sqlite_sender: Sender, receiver: Receiver) -> None:
    endpoint = sqlite_sender.subscribe(receiver.url)
    [delivery] = sqlite_sender.publish()
    sqlite_sender.site.app.secret_key = "another key"

    with pytest.raises(DeliveryGivenUp, match="secret_unreadable"):
        sqlite_sender.site.worker.run(sqlite_sender.delivery(delivery).job_id, raise_errors=True)

    row: WebhookDelivery = sqlite_sender.delivery(delivery)
    assert (row.state, row.error, row.endpoint_id) == ("failed", "secret_unreadable", endpoint)
    assert receiver.requests == []
