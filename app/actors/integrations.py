"""Tokens of other services, renewed in the background before they expire (requirements A13 to A17, E01)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import dramatiq

from app.extensions import jobs
from app.models.base import utcnow
from app.services import integrations
from app.services.ownership import NotOwn
from flask_understudy import Limit

EVERY_FIVE_MINUTES = "*/5 * * * *"


@jobs.actor(
    queue_name="integrations",
    actor_name="integrations:refresh-tokens",
    max_retries=1,
    time_limit=30_000,
    limit=Limit(concurrency=1, key=lambda integration_id, asked_at=None: integration_id),
    throws=(integrations.IntegrationRefused, NotOwn),
)
def refresh_token(integration_id: str, asked_at: str | None = None) -> bool:
    """Renew the tokens of one grant, unless that was done meanwhile; say whether it was to be done.

    Two tries. One job at a time renews a grant, on all machines together.
    """
    return integrations.refresh(integration_id, None if asked_at is None else dt.datetime.fromisoformat(asked_at))


@jobs.schedule(EVERY_FIVE_MINUTES, timezone="UTC", name="refresh-tokens", overlap="skip")
@jobs.actor(queue_name="integrations", actor_name="integrations:refresh-expiring", max_retries=1, time_limit=30_000)
def refresh_expiring() -> int:
    """Queue the renewal of each grant whose token ends within five minutes; return how many."""
    found = integrations.expiring()
    jobs.send_many(
        [
            refresh_token.message_with_options(args=(id_,), tenant=tenant, dedup_key=f"refresh:{id_}")
            for id_, tenant in found
        ]
    )
    return len(found)


def queue_token_refresh(integration_id: str | None = None) -> dramatiq.Message[Any]:
    """Queue the renewal of one grant, or of all that are about to expire.

    Args:
        integration_id: The grant, renewed though its token still holds; None = all whose token ends within five
            minutes.

    Raises:
        IntegrationRefused: There is no such integration, or its grant has ended; nothing was stored.
    """
    if integration_id is None:
        return refresh_expiring.send()
    tenant = integrations.tenant_of(integration_id)
    return refresh_token.send_with_options(args=(integration_id, utcnow().isoformat()), tenant=tenant)
