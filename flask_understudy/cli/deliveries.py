"""`webhooks deliveries`: what receivers were sent, how that went, and sending it again."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from .finding import When
from .group import NOT_FOUND, Commands, Refused, audited
from .printing import age, as_json_option, counted, emit, table, tell
from .webhooks import describe, endpoint_of, limit_option, plain_delivery, sender, tell_of_more, tenant_option, webhooks

if TYPE_CHECKING:
    from ..contrib.webhooks.sending import Webhooks
    from ..contrib.webhooks.tables import WebhookDelivery


@webhooks.group("deliveries", cls=Commands)
def deliveries() -> None:
    """What was sent, and how that went: list, show, replay.

    \b
    Example:
      flask jobs webhooks deliveries list --state failed
    """


@deliveries.command("list")
@tenant_option
@click.option("--endpoint", help="Only to this endpoint, by its id.")
@click.option("--state", "wanted", type=click.Choice(["pending", "delivered", "failed"]), help="Only in this state.")
@limit_option
@as_json_option
def list_deliveries(tenant: str | None, endpoint: str | None, wanted: str | None, limit: int, as_json: bool) -> None:
    """List deliveries, the latest first.

    \b
    Example:
      flask jobs webhooks deliveries list --state failed --tenant acme
    """
    found = _settled().deliveries.page(tenant, limit + 1, endpoint=endpoint, state=wanted)
    shown, more = found[:limit], len(found) > limit
    if as_json:
        emit({"data": [plain_delivery(row) for row in shown], "more": more})
        return
    rows = [(d.id, d.tenant or None, d.state, d.event, d.attempts, d.status, age(d.created_at), d.error) for d in shown]
    table(("id", "tenant", "state", "event", "tries", "status", "made", "error"), rows, "Nothing was sent.")
    tell_of_more(more, limit)


@deliveries.command("show")
@click.argument("delivery_id", metavar="ID")
@click.option("--payload", "reveal", is_flag=True, help="Show what is sent and answered; audited.")
@as_json_option
def show_delivery(delivery_id: str, reveal: bool, as_json: bool) -> None:
    """Describe a delivery with its attempts.

    \b
    Example:
      flask jobs webhooks deliveries show 5f0c2f4e-…
    """
    here = _settled()
    delivery = _found_delivery(delivery_id)
    tries = [
        {
            "number": one.number,
            "at": one.at,
            "status": one.status,
            "durationMs": one.duration_ms,
            "response": one.response if reveal else None,
            "error": one.error,
        }
        for one in here.deliveries.attempts(delivery)
    ]
    shown, body = plain_delivery(delivery), delivery.body if reveal else None
    if reveal:
        with audited("webhook.payload", delivery_id, tenant=delivery.tenant):
            pass
    if as_json:
        emit({"delivery": shown, "body": body, "tries": tries})
        return
    describe({**shown, "body": body}, as_json)
    if tries:
        click.echo("")
        table(("try", "at", "status", "ms", "answer", "error"), [tuple(one.values()) for one in tries])


@deliveries.command("replay")
@click.argument("delivery_id", metavar="[ID]", required=False)
@click.option("--endpoint", help="All that failed at this endpoint, by its id; up to 1,000.")
@click.option("--since", type=When(), help="Made since this time; goes with --endpoint.")
@as_json_option
def replay_delivery(delivery_id: str | None, endpoint: str | None, since: datetime | None, as_json: bool) -> None:
    """Deliver again, under the same id: one that has ended, or all that failed at an endpoint since a time.

    \b
    Examples:
      flask jobs webhooks deliveries replay 5f0c2f4e-…
      flask jobs webhooks deliveries replay --endpoint 5f0c2f4e-… --since 2h
    """
    if (delivery_id is None) == (endpoint is None) or (endpoint is None) != (since is None):
        raise click.UsageError("Give the id of a delivery, or --endpoint and --since.")
    here = _settled()
    if endpoint is not None and since is not None:
        row = endpoint_of(endpoint)
        with audited("webhook.replay", endpoint, tenant=row.tenant):
            n = here.deliveries.replay_failed(row, since)
        tell({"replayed": n}, f"{counted(n, 'failed webhook')} delivered again.", as_json)
        return
    delivery = _found_delivery(delivery_id or "")
    with audited("webhook.replay", delivery.id, tenant=delivery.tenant):
        here.deliveries.replay(delivery)
    tell(plain_delivery(delivery), f"Delivery {delivery.id} is queued: flask jobs watch {delivery.job_id}", as_json)


def _settled() -> Webhooks:
    """Return the webhooks, after what no job delivers any more was marked as failed."""
    here = sender()
    here.deliveries.settle()
    here.session.commit()
    return here


def _found_delivery(delivery_id: str) -> WebhookDelivery:
    found = sender().deliveries.find(None, delivery_id)
    if found is None:
        raise Refused(f"There is no delivery {delivery_id!r}.", NOT_FOUND)
    return found
