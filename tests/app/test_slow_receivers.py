"""A slow receiver of webhooks takes two requests at a time, of all workers together, and holds nobody up (S12)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from app.extensions import db, webhooks
from app.models.tenant import Tenant
from flask_understudy.contrib.webhooks.tables import DELIVERED, WebhookDelivery
from tests.app.conftest import AppFactory
from tests.app.processes import Running
from tools.receiver import Receiver

N = 9

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def settings(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> dict[str, str]:
    """The service on SQLite without a broker, and on PostgreSQL with Redis."""
    redis = {} if database_url.startswith("sqlite") else {"REDIS_URL": request.getfixturevalue("redis_url")}
    return {
        "DATABASE_URL": database_url,
        "SECRET_KEY": "a key for tests only",
        "UNDERSTUDY_WEBHOOK_ALLOW": "127.0.0.0/8",
        "INSTANCE_PATH": str(tmp_path / "instance"),
        **redis,
    }


@pytest.fixture
def app(make_app: AppFactory, settings: dict[str, str]) -> Flask:
    more = {name: value for name, value in settings.items() if name != "DATABASE_URL"}
    return make_app(settings["DATABASE_URL"], **more)


@pytest.fixture
def slow() -> Iterator[Receiver]:
    with Receiver(pause_seconds=0.15) as receiver:
        receiver.hold.clear()
        yield receiver


@pytest.fixture
def quick() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def delivered(ids: list[str]) -> int:
    with db.session() as session:
        return sum(session.get_one(WebhookDelivery, id).state == DELIVERED for id in ids)


@pytest.mark.requirement("invariant-I10")
@pytest.mark.parametrize("is_subscribed", [True, False])
def test_a_slow_receiver_has_two_requests_at_a_time_and_others_are_not_held_up(
    app: Flask,
    settings: dict[str, str],
    tenant_a: Tenant,
    slow: Receiver,
    quick: Receiver,
    tmp_path: Path,
    is_subscribed: bool,
) -> None:
    def send(receiver: Receiver, n: int) -> list[str]:
        if is_subscribed:
            webhooks.endpoints.create(tenant_a.id, receiver.url, [f"told.{receiver.port}"])
            db.session.commit()
            made = [webhooks.publish(f"told.{receiver.port}", {"n": i}, tenant_a.id)[0] for i in range(n)]
        else:
            made = [webhooks.send(receiver.url, {"n": i}, "a-long-secret", "told", tenant_a.id) for i in range(n)]
        return [delivery.id for delivery in made]

    command = ["dramatiq", "app.actors", "--processes", "3", "--threads", "3", "--queues", "webhooks"]
    with app.app_context(), Running(command, settings, tmp_path / "log") as workers:
        theirs = send(slow, N)
        workers.wait_until(lambda: len(slow.requests) >= 2, "the slow receiver's first")
        others = send(quick, N)
        workers.wait_until(lambda: delivered(others) == N, "the others")

        assert (len(slow.requests), delivered(theirs)) == (2, 0)
        slow.hold.set()
        workers.wait_until(lambda: delivered(theirs) == N, "the slow receiver's last")

    assert slow.most_at_once == 2
    assert sorted(len(receiver.requests) for receiver in (slow, quick)) == [N, N]
