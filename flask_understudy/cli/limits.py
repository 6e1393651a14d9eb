"""Limits by key: what holds for the jobs that share one, and changing it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
from flask.cli import with_appcontext
from pydantic.alias_generators import to_camel

from ..operations import limits as operations
from .group import Commands, audited, jobs, limit_of, state
from .printing import as_json_option, emit, table, tell

PAGE = 500

_tenant_option = click.option("--tenant", default="", help="Whose key; default the empty tenant.")


@jobs.group("limits", cls=Commands, invoke_without_command=True)
@as_json_option
@click.pass_context
@with_appcontext
def limits(ctx: click.Context, as_json: bool) -> None:
    """List the keys that jobs are limited by, or act on one: set, reset.

    \b
    Examples:
      flask jobs limits
      flask jobs limits set actor:email:send --concurrency 5 --rate 100/minute
      flask jobs limits reset actor:email:send
    """
    if ctx.invoked_subcommand is None:
        _list(as_json)


@limits.command("list")
@as_json_option
def list_(as_json: bool) -> None:
    """List the keys that jobs are limited by.

    \b
    Example:
      flask jobs limits list
    """
    _list(as_json)


@limits.command("set")
@click.argument("key", metavar="KEY")
@click.option("--concurrency", metavar="N|none", help="Jobs at a time; default as it is.")
@click.option("--rate", metavar="RATE|none", help="Starts within a span, such as 100/minute; default as it is.")
@_tenant_option
@as_json_option
def set_(key: str, concurrency: str | None, rate: str | None, tenant: str, as_json: bool) -> None:
    """Limit the jobs that share a key, whatever the code says.

    \b
    Example:
      flask jobs limits set actor:email:send --concurrency 5 --rate 100/minute
    """
    changes: dict[str, Any] = {}
    if concurrency is not None:
        changes["concurrency"] = limit_of(concurrency)
    if rate is not None:
        changes["rate"] = None if rate == "none" else rate
    with audited("limit.set", key, tenant=tenant, **changes):
        operations.change(state(), (tenant, key), changes)
    now = operations.find(state(), (tenant, key))
    n = "any number" if now.concurrency is None else now.concurrency
    how = f"{n} at a time" + (f", {now.rate} started" if now.rate else "")
    told = {"tenant": tenant, "key": key, "concurrency": now.concurrency, "rate": now.rate}
    tell(told, f"Jobs with the key {key}: {how}.", as_json)


@limits.command("reset")
@click.argument("key", metavar="KEY")
@_tenant_option
@as_json_option
def reset(key: str, tenant: str, as_json: bool) -> None:
    """Let the code say again what holds for a key.

    \b
    Example:
      flask jobs limits reset actor:email:send
    """
    with audited("limit.reset", key, tenant=tenant):
        operations.reset(state(), (tenant, key))
    tell({"tenant": tenant, "key": key}, f"The code says again what holds for the key {key}.", as_json)


def _list(as_json: bool) -> None:
    found: list[operations.Standing] = []
    after = None
    while page := operations.listing(state(), after=after, n=PAGE):
        found += page
        after = (page[-1].tenant, page[-1].key)
    if as_json:
        emit({"data": [{to_camel(name): value for name, value in asdict(key).items()} for key in found]})
        return
    rows = [
        (k.tenant, k.key, k.concurrency, k.rate, "operator" if k.is_set else "code", k.active, k.held_back)
        for k in found
    ]
    table(
        ("tenant", "key", "at a time", "rate", "said by", "active", "held back"), rows, "No jobs are limited by a key."
    )
