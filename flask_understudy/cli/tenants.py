"""Tenants: what each has in the ledger, and what operators do to one."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from ..ledger import STATES
from ..operations import tenants as operations
from .group import NOT_FOUND, Commands, Refused, audited, jobs, limit_of, state
from .printing import age, as_json_option, counted, emit, table, tell

PAGE = 500


@jobs.group("tenants", cls=Commands, invoke_without_command=True)
@as_json_option
@click.pass_context
@with_appcontext
def tenants(ctx: click.Context, as_json: bool) -> None:
    """List the tenants that have jobs, or act on one: pause, resume, limit.

    \b
    Examples:
      flask jobs tenants
      flask jobs tenants pause acme
      flask jobs tenants limit acme 2
    """
    if ctx.invoked_subcommand is not None:
        return
    found: list[operations.Standing] = []
    while page := operations.listing(state(), after=found[-1].name if found else "", n=PAGE):
        found += page
    if as_json:
        emit(
            {
                "data": [
                    {"name": t.name, "pausedAt": t.paused_at, "concurrency": t.concurrency, "counts": t.counts}
                    for t in found
                ]
            }
        )
        return
    lines = [
        (
            tenant.name,
            f"paused {age(tenant.paused_at)}" if tenant.paused_at else "running",
            tenant.concurrency,
            *(tenant.counts.get(name, 0) for name in STATES),
        )
        for tenant in found
    ]
    table(("tenant", "state", "limit", *STATES), lines, "No tenant has jobs.")


@tenants.command("pause")
@click.argument("name", metavar="TENANT")
@as_json_option
def pause(name: str, as_json: bool) -> None:
    """Start no job of a tenant any more; what runs goes on.

    \b
    Example:
      flask jobs tenants pause acme
    """
    operations.check(name)
    if operations.find(state(), name) is None:
        raise Refused(f"No tenant {name!r} has jobs or is limited; see: flask jobs tenants", NOT_FOUND)
    with audited("tenant.pause", name):
        operations.pause(state(), name)
    tell({"tenant": name, "state": "paused"}, f"Tenant {name} is paused; what runs goes on.", as_json)


@tenants.command("resume")
@click.argument("name", metavar="TENANT")
@as_json_option
def resume(name: str, as_json: bool) -> None:
    """Start jobs of a paused tenant again.

    \b
    Example:
      flask jobs tenants resume acme
    """
    with audited("tenant.resume", name):
        operations.resume(state(), name)
    tell({"tenant": name, "state": "running"}, f"Tenant {name} is running.", as_json)


@tenants.command("limit")
@click.argument("name", metavar="TENANT")
@click.argument("concurrency", metavar="N|none")
@as_json_option
def limit(name: str, concurrency: str, as_json: bool) -> None:
    """Let at most N jobs of a tenant run at a time, in all processes; `none` lifts the limit.

    \b
    Examples:
      flask jobs tenants limit acme 2
      flask jobs tenants limit acme none
    """
    n = limit_of(concurrency)
    with audited("tenant.limit", name, concurrency=n):
        operations.limit(state(), name, n)
    how = "without a limit" if n is None else f"{counted(n, 'job')} at a time"
    tell({"tenant": name, "concurrency": n}, f"Tenant {name} runs {how}.", as_json)
