"""`enqueue`, `types` and `openapi`: what can be sent, and sending it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click
import dramatiq
from dramatiq.errors import ActorNotFound
from flask import current_app

from .. import rest
from ..broker import LedgerBroker
from ..errors import BrokerUnavailable
from ..ledger import TERMINAL
from ..operations.waiting import wait_for_end
from ..rest.document import document
from ..rest.sending import described
from ..signatures import check_payload
from .finding import When
from .group import FAILURE, NOT_FOUND, Refused, audited, jobs, state
from .printing import as_json_option, duration, emit, styled, table


class Arguments(click.ParamType):  # type: ignore[type-arg]
    """Arguments of an actor: a JSON object by name, or a JSON list by position."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read them."""
        if not isinstance(value, str):
            return value
        try:
            found = json.loads(value)
        except (ValueError, RecursionError) as problem:
            self.fail(f"it is no JSON: {problem}", param, ctx)
        if not isinstance(found, dict | list):
            self.fail("it takes a JSON object of arguments by name, or a list of them.", param, ctx)
        return found


@jobs.command("enqueue")
@click.argument("name", metavar="TYPE")
@click.option("--payload", "arguments", type=Arguments(), default="{}", help="Arguments, as JSON object or list.")
@click.option("--delay", type=click.IntRange(0), help="ms until it may run.")
@click.option("--run-at", type=When(), help="Time before which it does not run.")
@click.option("--priority", type=click.IntRange(-1000, 1000), help="Lower runs first.")
@click.option("--dedup-key", help="While a live job has the same key, that one is meant.")
@click.option("--tag", "tags", multiple=True, help="Label.")
@click.option("--queue", help="Another queue than the actor's.")
@click.option("--tenant", help="Whose job it is.")
@click.option("--wait", type=click.FloatRange(0, 86_400), help="s to wait for its end; then 1 unless it completed.")
@as_json_option
def enqueue(
    name: str,
    arguments: Any,
    delay: int | None,
    run_at: datetime | None,
    priority: int | None,
    dedup_key: str | None,
    tags: tuple[str, ...],
    queue: str | None,
    tenant: str | None,
    wait: float | None,
    as_json: bool,
) -> None:
    """Send a job.

    \b
    Examples:
      flask jobs enqueue email:send --payload '{"to": "a@example.com", "subject": "Hi", "text": "…"}'
      flask jobs enqueue email:welcome --payload '["a@example.com", "Ann"]' --delay 60000 --tag hello
      flask jobs enqueue cleanup:sessions --wait 30
    """
    here = state()
    actor = _actor(here.broker, name)
    _need_broker(actor)
    if queue is not None and queue not in here.broker.get_declared_queues():
        raise Refused(
            f"No queue is named {queue!r}. There are: {_names(here.broker.get_declared_queues())}.", NOT_FOUND
        )
    args, kwargs = ((), arguments) if isinstance(arguments, dict) else (tuple(arguments), {})
    if not args:
        kwargs = check_payload(actor, kwargs)
    named = {"run_at": run_at, "priority": priority, "dedup_key": dedup_key, "tags": [*tags] or None, "tenant": tenant}
    message = actor.message_with_options(
        args=args, kwargs=kwargs, **{key: value for key, value in named.items() if value is not None}
    )
    if queue is not None:
        message = message._replace(queue_name=queue)
    with audited("job.enqueue", name, tenant=tenant) as line:
        sent = here.broker.enqueue(message, delay=delay)
        line.target = sent.message_id
        line.detail = {"type": actor.actor_name}
    is_duplicate = sent.message_id != message.message_id
    if wait is None:
        if as_json:
            emit({"id": sent.message_id, "duplicate": is_duplicate})
        else:
            click.echo(sent.message_id)
            if is_duplicate:
                click.echo("A live job has this deduplication key already; it is meant.", err=True)
        return
    _await(sent.message_id, wait, is_duplicate, as_json)


def _await(job_id: str, seconds: float, is_duplicate: bool, as_json: bool) -> None:
    job = wait_for_end(state(), job_id, seconds)
    found = "deleted" if job is None else job.state
    if as_json:
        emit({"id": job_id, "duplicate": is_duplicate, "state": found, "error": job.error if job else None})
    else:
        click.echo(f"{job_id} {styled(found)}")
    if job is None or job.state not in TERMINAL:
        raise Refused(f"After {duration(seconds)} the job is {found}; it goes on by itself.")
    if job.state != "completed":
        raise Refused(
            f"It {'failed' if job.state == 'failed' else 'was cancelled'}: {job.error or job.reason}", FAILURE
        )


def _actor(broker: LedgerBroker, name: str) -> dramatiq.Actor[Any, Any]:
    try:
        return broker.get_actor(name)
    except ActorNotFound:
        raise Refused(f"No actor is named {name!r}. Declared are: {_names(broker.actors)}.", NOT_FOUND) from None


def _names(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"


def _need_broker(actor: dramatiq.Actor[Any, Any]) -> None:
    """Ask the broker first where nothing may be stored without it: the breaker of a new process knows nothing yet."""
    fallback = actor.options.get("fallback") or state().config.fallback
    if fallback == "fail" and not state().transport.check():
        raise BrokerUnavailable(
            f"The broker is down, and {actor.actor_name} has the fallback 'fail': nothing was stored."
        )


@jobs.command("types")
@as_json_option
def types(as_json: bool) -> None:
    """List the actors that can be sent, with what holds for their jobs.

    \b
    Example:
      flask jobs types --json
    """
    found = [described(actor) for _, actor in sorted(state().broker.actors.items())]
    if as_json:
        emit({"data": found})
        return
    rows = [
        (
            entry.name,
            entry.queue,
            entry.priority,
            entry.max_attempts,
            "-" if entry.timeout_ms is None else duration(entry.timeout_ms / 1000),
            "yes" if entry.can_be_sent else "no",
            entry.description,
        )
        for entry in found
    ]
    table(("type", "queue", "priority", "attempts", "limit", "api", "description"), rows, "No actor is declared.")


@jobs.command("openapi")
def openapi() -> None:
    """Write the OpenAPI 3.1 document of the REST API.

    \b
    Example:
      flask jobs openapi > openapi.json
    """
    if not rest.is_mounted(current_app):
        raise Refused("The REST API is not mounted: it needs an authoriser (jobs.authorizer) and a SECRET_KEY.")
    emit(document())
