"""`webhooks endpoints`: who is told of what, and changing it. `deliveries` has what became of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, TextIO

import click

from .group import NOT_FOUND, Commands, Refused, audited, jobs, state
from .printing import age, as_json_option, emit, table, tell

if TYPE_CHECKING:
    from ..contrib.webhooks.sending import Webhooks
    from ..contrib.webhooks.tables import WebhookDelivery, WebhookEndpoint

MOST_SHOWN = 1000

tenant_option = click.option("--tenant", help="Whose; default all tenants'.")
limit_option = click.option(
    "--limit", type=click.IntRange(1, MOST_SHOWN), default=50, show_default=True, help="Show so many."
)
_secret_option = click.option(
    "--secret-file", type=click.File(), help="A file with the secret, - for the standard input; default a new one."
)


@jobs.group("webhooks", cls=Commands)
def webhooks() -> None:
    """Outbound webhooks: the endpoints that subscribed, and what they were sent.

    \b
    Examples:
      flask jobs webhooks endpoints list
      flask jobs webhooks deliveries list --state failed
    """


@webhooks.group("endpoints", cls=Commands)
def endpoints() -> None:
    """Subscriptions: list, add, show, enable, disable, rotate-secret, ping, delete.

    \b
    Example:
      flask jobs webhooks endpoints add https://example.com/hook --event incident.created --tenant acme
    """


@endpoints.command("list")
@tenant_option
@limit_option
@as_json_option
def list_endpoints(tenant: str | None, limit: int, as_json: bool) -> None:
    """List subscriptions, the oldest first.

    \b
    Example:
      flask jobs webhooks endpoints list --tenant acme
    """
    found = sender().endpoints.page(tenant, limit + 1)
    shown, more = found[:limit], len(found) > limit
    if as_json:
        emit({"data": [_endpoint(row) for row in shown], "more": more})
        return
    rows = [(e.id, e.tenant or None, _standing(e), age(e.created_at), ", ".join(e.events), e.url) for e in shown]
    table(("id", "tenant", "state", "made", "events", "url"), rows, "Nobody has subscribed.")
    tell_of_more(more, limit)


@endpoints.command("add")
@click.argument("url")
@click.option("--event", "events", multiple=True, default=("*",), help="Name of an event; default all. Repeat it.")
@click.option("--tenant", default="", help="Whose; default the empty tenant.")
@click.option("--description", default="", help="For people.")
@_secret_option
@as_json_option
def add_endpoint(
    url: str, events: tuple[str, ...], tenant: str, description: str, secret_file: TextIO | None, as_json: bool
) -> None:
    """Subscribe a URL. A secret that is made here is shown this once.

    \b
    Example:
      flask jobs webhooks endpoints add https://example.com/hook --event incident.created --tenant acme
    """
    here, chosen = sender(), _secret_of(secret_file)
    with audited("webhook.create", url.partition("?")[0][:200], tenant=tenant) as line:
        endpoint, secret = here.endpoints.create(tenant, url, events, secret=chosen, description=description)
        line.target = endpoint.id
    told = {"endpoint": _endpoint(endpoint), "secret": secret if chosen is None else None}
    sentence = f"Endpoint {endpoint.id} subscribes to {', '.join(endpoint.events)}."
    tell(told, sentence + (f" Its secret, shown this once: {secret}" if chosen is None else ""), as_json)


@endpoints.command("show")
@click.argument("endpoint_id", metavar="ID")
@as_json_option
def show_endpoint(endpoint_id: str, as_json: bool) -> None:
    """Describe a subscription; its secret is shown nowhere.

    \b
    Example:
      flask jobs webhooks endpoints show 5f0c2f4e-…
    """
    describe(_endpoint(endpoint_of(endpoint_id)), as_json)


@endpoints.command("enable")
@click.argument("endpoint_id", metavar="ID")
@as_json_option
def enable_endpoint(endpoint_id: str, as_json: bool) -> None:
    """Send to a subscription again, and forget what failed.

    \b
    Example:
      flask jobs webhooks endpoints enable 5f0c2f4e-…
    """
    _switch(endpoint_id, True, as_json)


@endpoints.command("disable")
@click.argument("endpoint_id", metavar="ID")
@as_json_option
def disable_endpoint(endpoint_id: str, as_json: bool) -> None:
    """Send nothing to a subscription any more; what waits for it fails.

    \b
    Example:
      flask jobs webhooks endpoints disable 5f0c2f4e-…
    """
    _switch(endpoint_id, False, as_json)


@endpoints.command("rotate-secret")
@click.argument("endpoint_id", metavar="ID")
@click.option(
    "--overlap-hours", type=click.IntRange(0, 168), default=24, show_default=True, help="How long the old one signs."
)
@_secret_option
@as_json_option
def rotate_secret(endpoint_id: str, overlap_hours: int, secret_file: TextIO | None, as_json: bool) -> None:
    """Give a subscription a new secret; the old one signs as well for a while.

    \b
    Example:
      flask jobs webhooks endpoints rotate-secret 5f0c2f4e-… --overlap-hours 48
    """
    endpoint, chosen = endpoint_of(endpoint_id), _secret_of(secret_file)
    with audited("webhook.rotate", endpoint_id, tenant=endpoint.tenant):
        secret, until = sender().endpoints.rotate(endpoint, secret=chosen, overlap=timedelta(hours=overlap_hours))
    told = {"endpoint": _endpoint(endpoint), "secret": secret if chosen is None else None}
    sentence = f"Endpoint {endpoint_id} has a new secret; the old one signs as well until {until:%Y-%m-%d %H:%M} UTC."
    tell(told, sentence + (f" Shown this once: {secret}" if chosen is None else ""), as_json)


@endpoints.command("ping")
@click.argument("endpoint_id", metavar="ID")
@as_json_option
def ping_endpoint(endpoint_id: str, as_json: bool) -> None:
    """Send a subscription a webhook.test, whatever it listens to.

    \b
    Example:
      flask jobs webhooks endpoints ping 5f0c2f4e-…
    """
    endpoint = endpoint_of(endpoint_id)
    with audited("webhook.test", endpoint_id, tenant=endpoint.tenant):
        delivery = sender().test(endpoint)
    tell(plain_delivery(delivery), f"Delivery {delivery.id} is queued: flask jobs watch {delivery.job_id}", as_json)


@endpoints.command("delete")
@click.argument("endpoint_id", metavar="ID")
@click.option("--yes", "-y", is_flag=True, help="Without asking.")
@as_json_option
def delete_endpoint(endpoint_id: str, yes: bool, as_json: bool) -> None:
    """Delete a subscription with its deliveries.

    \b
    Example:
      flask jobs webhooks endpoints delete 5f0c2f4e-… --yes
    """
    endpoint = endpoint_of(endpoint_id)
    if not yes:
        click.confirm(f"Delete the endpoint {endpoint.url} with its deliveries?", abort=True, err=True)
    with audited("webhook.delete", endpoint_id, tenant=endpoint.tenant):
        sender().endpoints.delete(endpoint)
    tell({"id": endpoint_id, "outcome": "deleted"}, f"Endpoint {endpoint_id} is gone.", as_json)


def sender() -> Webhooks:
    found: Webhooks | None = state().broker.companions.get("webhooks")
    if found is None:
        raise Refused("This application sends no webhooks: nobody made a Webhooks(jobs).")
    return found


def endpoint_of(endpoint_id: str) -> WebhookEndpoint:
    found = sender().endpoints.find(None, endpoint_id)
    if found is None:
        raise Refused(f"There is no endpoint {endpoint_id!r}.", NOT_FOUND)
    return found


def _switch(endpoint_id: str, enabled: bool, as_json: bool) -> None:
    endpoint = endpoint_of(endpoint_id)
    with audited("webhook.change", endpoint_id, tenant=endpoint.tenant, enabled=enabled):
        sender().endpoints.change(endpoint, enabled=enabled)
    tell(_endpoint(endpoint), f"Endpoint {endpoint_id} is {'enabled' if enabled else 'disabled'}.", as_json)


def _secret_of(file: TextIO | None) -> str | None:
    return None if file is None else file.read().strip()


def _standing(endpoint: WebhookEndpoint) -> str:
    return "enabled" if endpoint.enabled else f"disabled: {endpoint.disabled_reason}"


def _endpoint(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "tenant": endpoint.tenant,
        "url": endpoint.url,
        "description": endpoint.description,
        "events": endpoint.events,
        "enabled": endpoint.enabled,
        "disabledReason": endpoint.disabled_reason,
        "oldSecretUntil": endpoint.old_secret_until,
        "createdAt": endpoint.created_at,
        "updatedAt": endpoint.updated_at,
    }


def plain_delivery(delivery: WebhookDelivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "tenant": delivery.tenant,
        "endpointId": delivery.endpoint_id,
        "event": delivery.event,
        "state": delivery.state,
        "jobId": delivery.job_id,
        "attempts": delivery.attempts,
        "status": delivery.status,
        "error": delivery.error,
        "createdAt": delivery.created_at,
        "finishedAt": delivery.finished_at,
    }


def describe(fields: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit(fields)
        return
    table(("", ""), [(name, value) for name, value in fields.items() if value not in (None, "")])


def tell_of_more(more: bool, limit: int) -> None:
    if more:
        click.echo(f"{limit} are shown and there are more: --limit N.", err=True)
