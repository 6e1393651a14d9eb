"""Deliveries as rows: replayed once, settled when nobody makes them, thrown away in time."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from flask_understudy.contrib.webhooks.errors import WebhookConflict
from flask_understudy.contrib.webhooks.tables import WebhookAttempt, WebhookDelivery
from tests.flask_understudy.contrib.webhooks.conftest import TENANT, Sender
from tools.receiver import Receiver, Reply


def count(sender: Sender, model: type) -> int:
    with sender.site.db_session() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(model)) or 0


def aged(sender: Sender, id: str, days: int) -> None:
    moment = sender.site.moment(-86_400 * days)
    sender.site.execute(f"UPDATE understudy_webhook_deliveries SET finished_at = {moment} WHERE id = '{id}'")


def test_deliveries_are_kept_for_thirty_days_after_their_end(sender: Sender, receiver: Receiver) -> None:
    sender.subscribe(receiver.url)
    old, recent, pending = (sender.publish()[0] for _ in range(3))
    for id in (old, recent):
        sender.run(id)
    aged(sender, old, 31)
    aged(sender, recent, 29)

    assert sender.act(lambda w: w.prune()) == 1
    assert sender.act(lambda w: w.prune()) == 0

    assert {sender.delivery(id).state for id in (recent, pending)} == {"delivered", "pending"}
    assert (count(sender, WebhookDelivery), count(sender, WebhookAttempt)) == (2, 1)
    assert sender.act(lambda w: w.prune(timedelta(days=1))) == 1


def test_a_delivery_is_replayed_once_and_keeps_its_id(sender: Sender, receiver: Receiver) -> None:
    sender.subscribe(receiver.url)
    [delivery] = sender.publish()
    first = sender.run(delivery)

    def replay() -> None:
        sender.act(lambda w: w.deliveries.replay(w.deliveries.find(TENANT, delivery)))

    replay()
    with pytest.raises(WebhookConflict, match="pending"):
        replay()
    second = sender.run(delivery)

    assert (second.state, second.id != first.id) == ("completed", True)
    assert [got.headers["webhook-id"] for got in receiver.requests] == [delivery, delivery]
    assert [one.number for one in sender.attempts(delivery)] == [1, 2]


def test_a_rolled_back_replay_leaves_nothing(sender: Sender, receiver: Receiver) -> None:
    sender.subscribe(receiver.url)
    [delivery] = sender.publish()
    sender.run(delivery)

    with sender.site.app.app_context():
        row = sender.webhooks.deliveries.find(TENANT, delivery)
        assert row is not None
        sender.webhooks.deliveries.replay(row)
        sender.site.db.session.rollback()

    assert sender.delivery(delivery).state == "delivered"
    assert len(sender.site.all_jobs()) == 1


def test_what_no_job_delivers_any_more_has_failed_and_can_be_replayed(sender: Sender, receiver: Receiver) -> None:
    receiver.replies = [Reply(400)]
    endpoint = sender.subscribe(receiver.url)
    cancelled, waiting = sender.publish()[0], sender.publish()[0]
    sender.run(waiting)
    sender.site.jobs.cancel(sender.delivery(cancelled).job_id)

    sender.act(lambda w: w.deliveries.settle("birch"))
    assert sender.delivery(cancelled).state == "pending"
    sender.act(lambda w: w.deliveries.settle(TENANT))

    states = [(row.state, row.error) for row in map(sender.delivery, (cancelled, waiting))]
    assert states == [("failed", "its_job_ended"), ("pending", "http_400")]
    long_ago = sender.delivery(cancelled).created_at - timedelta(days=1)
    assert sender.on(endpoint, lambda w, e: w.deliveries.replay_failed(e, long_ago)) == 1
    assert sender.run(cancelled).state == "completed"


@pytest.mark.parametrize("is_subscribed", [True, False])
def test_two_at_a_time_holds_for_what_is_replayed_and_for_a_receiver_alone(
    sender: Sender, receiver: Receiver, is_subscribed: bool
) -> None:
    def send(url: str) -> str:
        return sender.act(lambda w: w.send(url, {}, "a-long-secret", "told", TENANT).id)  # type: ignore[no-any-return]

    receiver.always = Reply(410)
    if is_subscribed:
        sender.subscribe(receiver.url)
        ids = [sender.publish()[0] for _ in range(3)]
    else:
        ids = [send(f"{receiver.url}/{n}") for n in range(3)]
    for id in ids:
        sender.run(id)
    for id in ids:
        sender.act(lambda w, id=id: w.deliveries.replay(w.deliveries.find(TENANT, id)))
    other = sender.delivery(send("http://127.0.0.2:9/hook")).job_id

    process = sender.site.process()
    jobs = [sender.delivery(id).job_id for id in ids]
    claimed = [sender.site.claim(process, id) is not None for id in [*jobs, other]]

    assert claimed == [True, True, False, True]
    assert len({sender.site.job(id).limit_key for id in jobs}) == 1
