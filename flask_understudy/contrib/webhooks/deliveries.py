"""Deliveries as rows: made with their jobs, read, done again, thrown away. The caller commits, but for `prune`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import dramatiq
import sqlalchemy as sa
from sqlalchemy.orm import Session

from ...encoding import encode
from ...errors import InvalidJob
from ...ledger import LIVE, Job
from . import breaker
from .errors import InvalidWebhook, WebhookConflict
from .tables import DELIVERED, FAILED, PENDING, WebhookAttempt, WebhookDelivery, WebhookEndpoint, new_id, now

MOST_REPLAYED = 1_000
MOST_BODY_BYTES = 262_144
KEPT = timedelta(days=30)
_CHUNK = 500
#: What a delivery says whose job came to an end without it: killed, cancelled, deleted.
LEFT = "its_job_ended"

#: Makes the message of a job that delivers: of the delivery's id, tenant, endpoint and URL, and options of the send.
MakeMessage = Callable[..., dramatiq.Message[Any]]
SendMany = Callable[[list[dramatiq.Message[Any]]], Any]


@dataclass(frozen=True, slots=True)
class Deliveries:
    """The deliveries, seen through one session.

    Attributes:
        session: What is read and written through.
        message: Makes the message of a delivery's job.
        send_many: Sends such messages, within the session's transaction.
    """

    session: Session
    message: MakeMessage
    send_many: SendMany

    def add(
        self,
        tenant: str,
        event: str,
        body: str,
        endpoints: Sequence[WebhookEndpoint],
    ) -> list[WebhookDelivery]:
        """Tell endpoints of an event: a delivery and a job each, all in the session's transaction."""
        return self.store(
            [
                WebhookDelivery(id=new_id(), tenant=tenant, endpoint_id=endpoint.id, event=event, body=body)
                for endpoint in endpoints
            ]
        )

    def store(self, deliveries: list[WebhookDelivery], **options: Any) -> list[WebhookDelivery]:
        """Store deliveries with their jobs."""
        messages = [self.message(d.id, d.tenant, d.endpoint_id, d.url, **options) for d in deliveries]
        for delivery, message in zip(deliveries, messages, strict=True):
            delivery.job_id = message.message_id
        self.session.add_all(deliveries)
        self.session.flush()
        self.send_many(messages)
        return deliveries

    def find(self, tenant: str | None, id: str) -> WebhookDelivery | None:
        """Return a delivery of a tenant, or with None whoever's it is; None for anybody else's, and for none."""
        found = sa.select(WebhookDelivery).where(WebhookDelivery.id == id)
        return self.session.scalar(found if tenant is None else found.where(WebhookDelivery.tenant == tenant))

    def page(
        self,
        tenant: str | None,
        limit: int,
        *,
        endpoint: str | None = None,
        state: str | None = None,
        after: tuple[datetime, str] | None = None,
    ) -> list[WebhookDelivery]:
        """Return a tenant's deliveries, the latest first.

        Args:
            tenant: Whose; None = of all tenants, which operators ask for.
            limit: How many at the most.
            endpoint: Only to this endpoint.
            state: Only in this state.
            after: Time and id of the last one on the page before.
        """
        query = sa.select(WebhookDelivery)
        if tenant is not None:
            query = query.where(WebhookDelivery.tenant == tenant)
        if endpoint is not None:
            query = query.where(WebhookDelivery.endpoint_id == endpoint)
        if state is not None:
            query = query.where(WebhookDelivery.state == state)
        if after is not None:
            moment = sa.literal(after[0], WebhookDelivery.created_at.type)
            place = sa.tuple_(WebhookDelivery.created_at, WebhookDelivery.id)
            query = query.where(place < sa.tuple_(moment, sa.literal(after[1])))
        query = query.order_by(WebhookDelivery.created_at.desc(), WebhookDelivery.id.desc()).limit(limit)
        return list(self.session.scalars(query))

    def made_at(self, tenant: str, event: str, since: datetime) -> Sequence[datetime]:
        """Return when a tenant's deliveries of an event were made, from a time on, the oldest first."""
        mine = sa.select(WebhookDelivery.created_at).where(
            WebhookDelivery.tenant == tenant, WebhookDelivery.created_at >= since, WebhookDelivery.event == event
        )
        return self.session.scalars(mine.order_by(WebhookDelivery.created_at)).all()

    def attempts(self, delivery: WebhookDelivery) -> Sequence[WebhookAttempt]:
        """Return what was tried for a delivery, in order."""
        mine = sa.select(WebhookAttempt).where(WebhookAttempt.delivery_id == delivery.id)
        return self.session.scalars(mine.order_by(WebhookAttempt.id)).all()

    def replay(self, delivery: WebhookDelivery) -> None:
        """Deliver again what has ended, under the same id, so that receivers can tell.

        Raises:
            WebhookConflict: It is being delivered.
        """
        if not self._reopen([delivery.id], (DELIVERED, FAILED)):
            raise WebhookConflict("The delivery is pending; it can be replayed once it has ended.")
        self.session.refresh(delivery)

    def replay_failed(self, endpoint: WebhookEndpoint, since: datetime) -> int:
        """Deliver again what failed at an endpoint since a time, the oldest first; return how many, up to 1,000."""
        failed = (
            sa.select(WebhookDelivery.id)
            .where(
                WebhookDelivery.endpoint_id == endpoint.id,
                WebhookDelivery.state == FAILED,
                WebhookDelivery.created_at >= since,
            )
            .order_by(WebhookDelivery.created_at, WebhookDelivery.id)
            .limit(MOST_REPLAYED)
        )
        return self._reopen(list(self.session.scalars(failed)), (FAILED,))

    def _reopen(self, ids: list[str], states: tuple[str, ...]) -> int:
        """Make deliveries pending again, those of them that are in a state, each with a new job."""
        again = (
            sa.update(WebhookDelivery)
            .where(WebhookDelivery.id.in_(ids), WebhookDelivery.state.in_(states))
            .values(state=PENDING, finished_at=None, error=None, queued_at=now())
            .returning(WebhookDelivery.id, WebhookDelivery.tenant, WebhookDelivery.endpoint_id, WebhookDelivery.url)
            .execution_options(synchronize_session=False)
        )
        rows = self.session.execute(again).all()
        messages = {row.id: self.message(*row) for row in rows}
        for id, message in messages.items():
            self.session.execute(
                sa.update(WebhookDelivery)
                .where(WebhookDelivery.id == id)
                .values(job_id=message.message_id)
                .execution_options(synchronize_session=False)
            )
        self.send_many(list(messages.values()))
        return len(messages)

    def settle(self, tenant: str | None = None) -> None:
        """Mark as failed what no live job delivers any more: it was killed for good, cancelled or deleted."""
        live = sa.select(Job.id).where(Job.state.in_(LIVE), Job.id == WebhookDelivery.job_id)
        left = sa.and_(WebhookDelivery.state == PENDING, ~live.exists())
        if tenant is not None:
            left = sa.and_(WebhookDelivery.tenant == tenant, left)
        ids = list(self.session.scalars(sa.select(WebhookDelivery.id).where(left).limit(MOST_REPLAYED)))
        if ids:  # most often there is nothing to write, and no lock to wait for
            self.session.execute(
                sa.update(WebhookDelivery)
                .where(WebhookDelivery.id.in_(ids), left)
                .values(state=FAILED, error=LEFT, finished_at=now())
                .execution_options(synchronize_session=False)
            )

    def prune(self, age: timedelta = KEPT) -> int:
        """Delete deliveries that ended longer ago than that, and commit each chunk; return how many."""
        self.settle()
        self.session.commit()
        deleted = 0
        while True:
            old = sa.select(WebhookDelivery.id).where(WebhookDelivery.finished_at < now() - age).limit(_CHUNK)
            ids = list(self.session.scalars(old))
            if not ids:
                break
            self.session.execute(sa.delete(WebhookAttempt).where(WebhookAttempt.delivery_id.in_(ids)))
            self.session.execute(sa.delete(WebhookDelivery).where(WebhookDelivery.id.in_(ids)))
            self.session.commit()
            deleted += len(ids)
        connection = self.session.connection(bind_arguments={"mapper": WebhookDelivery})
        breaker.forget(connection, int(age.total_seconds() * 1000))
        self.session.commit()
        return deleted


def body_of(payload: Any) -> str:
    """Return a payload as the JSON text that is signed and sent, written as browsers do it: without spaces.

    Raises:
        InvalidWebhook: It is no JSON, or too long.
    """
    try:
        body = encode(payload, "The payload")
    except InvalidJob as problem:
        raise InvalidWebhook("payload", str(problem)) from None
    if len(body.encode()) > MOST_BODY_BYTES:
        raise InvalidWebhook("payload", f"The payload has more than {MOST_BODY_BYTES} bytes; send ids instead.")
    return body
