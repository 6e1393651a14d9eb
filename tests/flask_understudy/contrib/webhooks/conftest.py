"""A site with webhooks, and receivers that answer as told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from flask_understudy.contrib.webhooks.sending import Webhooks
from flask_understudy.contrib.webhooks.tables import WebhookAttempt, WebhookBreaker, WebhookDelivery, WebhookEndpoint
from flask_understudy.ledger import Job
from tests.flask_understudy.conftest import MakeSite, Site
from tools.receiver import Receiver

SETTINGS: dict[str, Any] = {"SECRET_KEY": "a key for tests only", "UNDERSTUDY_WEBHOOK_ALLOW": "127.0.0.0/8"}
TENANT = "aster"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Sender:
    """A site with its webhooks, each step committed."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.webhooks = Webhooks(site.jobs)

    def subscribe(self, url: str, *events: str, tenant: str = TENANT, **options: Any) -> str:
        """Make an endpoint and return its id."""
        with self.site.app.app_context():
            options = {"secret": SECRET} | options
            endpoint, _ = self.webhooks.endpoints.create(tenant, url, events or ("*",), **options)
            self.site.db.session.commit()
            return endpoint.id

    def publish(self, event: str = "incident.created", payload: Any = None, tenant: str = TENANT) -> list[str]:
        """Publish an event and return the ids of its deliveries."""
        with self.site.app.app_context():
            made = self.webhooks.publish(event, {"n": 1} if payload is None else payload, tenant)
            self.site.db.session.commit()
            return [delivery.id for delivery in made]

    def act(self, do: Callable[[Webhooks], Any]) -> Any:
        """Do something within an application context and commit it."""
        with self.site.app.app_context():
            result = do(self.webhooks)
            self.site.db.session.commit()
            return result

    def on(self, endpoint: str, do: Callable[[Webhooks, WebhookEndpoint], Any]) -> Any:
        """Do something with an endpoint and commit it."""

        def found(webhooks: Webhooks) -> Any:
            row = webhooks.endpoints.find(TENANT, endpoint)
            assert row is not None
            return do(webhooks, row)

        return self.act(found)

    def row(self, model: Any, id: str) -> Any:
        """A row as it is now."""
        with self.site.db_session() as session:
            return session.get_one(model, id)

    def delivery(self, id: str) -> WebhookDelivery:
        """A delivery as it is now."""
        row: WebhookDelivery = self.row(WebhookDelivery, id)
        return row

    def endpoint(self, id: str) -> WebhookEndpoint:
        """An endpoint as it is now."""
        row: WebhookEndpoint = self.row(WebhookEndpoint, id)
        return row

    def attempts(self, id: str) -> list[WebhookAttempt]:
        """What was tried for a delivery."""
        with self.site.db_session() as session:
            mine = sa.select(WebhookAttempt).where(WebhookAttempt.delivery_id == id).order_by(WebhookAttempt.id)
            return list(session.scalars(mine))

    def breakers(self) -> list[WebhookBreaker]:
        """All receivers that fail."""
        with self.site.db_session() as session:
            return list(session.scalars(sa.select(WebhookBreaker)))

    def run(self, delivery: str) -> Job:
        """Make one attempt at a delivery; return the job as that left it."""
        return self.site.worker.run(self.delivery(delivery).job_id)

    def rested(self) -> None:
        """Let the rest of all receivers be over."""
        self.site.execute(f"UPDATE understudy_webhook_breakers SET open_until = {self.site.moment(-1)}")


@pytest.fixture
def sender(make_site: MakeSite, ledger_url: str) -> Sender:
    """A site that sends webhooks, once on each database."""
    return Sender(make_site(ledger_url, **SETTINGS))


@pytest.fixture
def sqlite_sender(make_site: MakeSite, sqlite_ledger: str) -> Sender:
    """A site that sends webhooks, where the database makes no difference."""
    return Sender(make_site(sqlite_ledger, **SETTINGS))


@pytest.fixture(params=["embedded", "production"])
def carried_sender(request: pytest.FixtureRequest, make_site: MakeSite) -> Sender:
    """A site that sends webhooks in each mode: SQLite without a broker, PostgreSQL with Redis."""
    if request.param == "embedded":
        return Sender(make_site(request.getfixturevalue("sqlite_ledger"), **SETTINGS))
    urls = (request.getfixturevalue("postgres_ledger"), request.getfixturevalue("redis_url"))
    return Sender(make_site(*urls, **SETTINGS))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that takes whatever comes."""
    with Receiver() as receiver:
        yield receiver
