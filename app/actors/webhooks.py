"""Webhooks in the background: the function of the seed documents that queues one (A48, A53).

The actor `webhook:send` is declared by `app.extensions.webhooks`.
"""

from __future__ import annotations

from typing import Any

from app.extensions import webhooks
from flask_understudy.contrib.webhooks.tables import WebhookDelivery


def queue_webhook(
    *,
    url: str,
    payload: Any,
    secret: str,
    event_type: str,
    organization_id: str,
    max_retries: int | None = None,
    time_limit: int | None = None,
) -> WebhookDelivery:
    """Queue a webhook to a URL, signed with a secret that stands nowhere in clear (C33).

    It joins the caller's transaction when that has uncommitted writes, and else is committed at once.

    Args:
        url: Where to.
        payload: What is sent, as JSON.
        secret: What signs, 8 to 200 printable characters.
        event_type: The event's name, such as ``incident.created``.
        organization_id: Whose it is.
        max_retries: Retries after the first try; default four (D06, D13).
        time_limit: ms that a try may take; default 30,000.

    Returns:
        The delivery, with the ``job_id`` that makes it.

    Raises:
        InvalidWebhook: Naming what is wrong; nothing was stored.
    """
    return webhooks.send(
        url, payload, secret, event_type, organization_id, max_retries=max_retries, time_limit=time_limit
    )
