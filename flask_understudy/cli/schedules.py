"""Schedules from the command line: what fires when, switching, running, trying and checking."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import click
from flask.cli import with_appcontext

from ..ledger import Schedule
from ..ledger.schedule import ALLOW, GRACE_SECONDS, LATEST, MISSED, OVERLAP
from ..ledger.scope import Scope
from ..operations import schedules as operations
from ..operations.drafts import Draft, actor_named
from ..schedules import RecurringJob, words_of
from .finding import When
from .group import FAILURE, Commands, Refused, audited, jobs, state
from .printing import age, as_json_option, counted, emit, instant, table, tell
from .verbs import JsonObject

SLOTS = 20

_tenant_option = click.option("--tenant", default="", help="Whose; default: nobody's, as those that the code declares.")


@jobs.group("schedules", cls=Commands, invoke_without_command=True)
@as_json_option
@click.pass_context
@with_appcontext
def schedules(ctx: click.Context, as_json: bool) -> None:
    """List the schedules, or act on one: show, run, enable, disable, delete, register; preview and lint.

    \b
    Examples:
      flask jobs schedules
      flask jobs schedules disable nightly-report
      flask jobs schedules preview '0 9 * * 1-5' --timezone America/New_York
    """
    if ctx.invoked_subcommand is None:
        _list(None, as_json)


@schedules.command("list")
@click.option("--tenant", help="Whose; default: all.")
@as_json_option
def list_schedules(tenant: str | None, as_json: bool) -> None:
    """List the schedules of all tenants, or of one.

    \b
    Example:
      flask jobs schedules list --tenant acme
    """
    _list(tenant, as_json)


def _list(tenant: str | None, as_json: bool) -> None:
    rows = operations.listing(state(), Scope(tenant))
    if as_json:
        emit({"data": [_fields(row) for row in rows]})
        return
    lines = [
        (
            row.name,
            row.tenant,
            _condition(row),
            row.expression,
            row.timezone,
            age(row.next_run_at),
            age(row.last_run_at),
        )
        for row in rows
    ]
    head = ("name", "tenant", "state", "schedule", "timezone", "next", "last")
    table(head, lines, "There are no schedules.")


@schedules.command("show")
@click.argument("name", metavar="NAME")
@_tenant_option
@as_json_option
def show(name: str, tenant: str, as_json: bool) -> None:
    """Show a schedule, and what became of its latest slots.

    \b
    Example:
      flask jobs schedules show nightly-report
    """
    row = operations.find(state(), name, tenant)
    fires = operations.slots(state(), row, SLOTS)
    found = [
        {"slot": f.slot, "until": f.until, "outcome": f.outcome, "reason": f.reason, "jobId": f.job_id} for f in fires
    ]
    if as_json:
        emit({**_fields(row), "slots": found})
        return
    for key, value in _fields(row).items():
        click.echo(f"{key:<12} {instant(value) if isinstance(value, datetime) else value}")
    lines = [(instant(f.slot), f.outcome, f.job_id or f.reason) for f in fires]
    table(("slot", "outcome", "job, or why not"), lines, "No slot has come yet.")


@schedules.command("run")
@click.argument("name", metavar="NAME")
@_tenant_option
@as_json_option
def run_now(name: str, tenant: str, as_json: bool) -> None:
    """Send a schedule's job at once, whatever its slots and its switch.

    \b
    Example:
      flask jobs schedules run nightly-report
    """
    with audited("schedule.run", name, tenant=tenant) as line:
        job = operations.run_now(state(), name, tenant)
        line.detail = {"job": job}
    tell({"name": name, "tenant": tenant, "jobId": job}, job, as_json)


@schedules.command("enable")
@click.argument("name", metavar="NAME")
@_tenant_option
@as_json_option
def enable(name: str, tenant: str, as_json: bool) -> None:
    """Let a schedule fire again, from its next slot on.

    \b
    Example:
      flask jobs schedules enable nightly-report
    """
    row = _do("enable", name, tenant, operations.enable)
    tell(_fields(row), f"Schedule {name} is enabled; it fires next {age(row.next_run_at)}.", as_json)


@schedules.command("disable")
@click.argument("name", metavar="NAME")
@_tenant_option
@as_json_option
def disable(name: str, tenant: str, as_json: bool) -> None:
    """Let a schedule fire no more, also one that the code declares, until somebody enables it.

    \b
    Example:
      flask jobs schedules disable nightly-report
    """
    row = _do("disable", name, tenant, operations.disable)
    tell(_fields(row), f"Schedule {name} is disabled.", as_json)


@schedules.command("delete")
@click.argument("name", metavar="NAME")
@_tenant_option
@as_json_option
def delete(name: str, tenant: str, as_json: bool) -> None:
    """Delete a schedule that was made at runtime; its jobs stay.

    \b
    Example:
      flask jobs schedules delete digest --tenant acme
    """
    _do("delete", name, tenant, operations.delete)
    tell({"name": name, "tenant": tenant}, f"Schedule {name} is deleted.", as_json)


@schedules.command("register")
@click.argument("name", metavar="NAME")
@click.argument("type_name", metavar="TYPE")
@click.argument("expression", metavar="SCHEDULE")
@click.option("--payload", type=JsonObject(), default="{}", help="Arguments by name, as a JSON object.")
@click.option("--timezone", help="IANA name; default: UNDERSTUDY_TIMEZONE.")
@click.option("--options", type=JsonObject(), default="{}", help="Options of each send, as a JSON object.")
@click.option("--missed", type=click.Choice(MISSED), default=LATEST, show_default=True, help="Slots nobody fired.")
@click.option("--grace", type=click.IntRange(0, 2**31 - 1), default=GRACE_SECONDS, show_default=True, help="s.")
@click.option("--overlap", type=click.Choice(OVERLAP), default=ALLOW, show_default=True, help="Beside earlier jobs.")
@_tenant_option
@as_json_option
def register(
    name: str,
    type_name: str,
    expression: str,
    payload: dict[str, Any],
    timezone: str | None,
    options: dict[str, Any],
    missed: str,
    grace: int,
    overlap: str,
    tenant: str,
    as_json: bool,
) -> None:
    """Make a schedule, or let the one of that name be like this.

    \b
    Examples:
      flask jobs schedules register welcome email:welcome '0 9 * * *' --timezone America/New_York
      flask jobs schedules register cleanup cleanup:sessions 'every 1 hour' --overlap skip
    """
    here = state()
    zone = timezone or here.config.timezone
    draft = Draft(name, actor_named(here, type_name), expression, zone, (), payload, options, missed, grace, overlap)
    with audited("schedule.register", name, tenant=tenant, type=draft.actor, schedule=expression):
        row, is_new = operations.register(here, draft, tenant=tenant)
    how = "registered" if is_new else "as given now"
    tell(_fields(row), f"Schedule {name} is {how}; it fires next {age(row.next_run_at)}.", as_json)


@schedules.command("preview")
@click.argument("expression", metavar="SCHEDULE")
@click.option("--timezone", help="IANA name; default: UNDERSTUDY_TIMEZONE.")
@click.option("--n", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many.")
@click.option("--after", type=When(), help="Where they begin; default: now.")
@as_json_option
def preview(expression: str, timezone: str | None, n: int, after: datetime | None, as_json: bool) -> None:
    """Say when an expression fires, in words and as its next slots.

    \b
    Example:
      flask jobs schedules preview '30 2 * * *' --timezone Europe/Berlin --n 10
    """
    zone = timezone or state().config.timezone
    words, found = operations.preview(state(), expression, zone, n, after)
    if as_json:
        emit({"description": words, "timezone": zone, "nextRuns": found})
        return
    click.echo(f"{words} ({zone})")
    lines = [
        (f"{slot.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M:%S}", f"{slot.astimezone(UTC):%FT%TZ}") for slot in found
    ]
    table((zone, "UTC"), lines, "It never fires again.")


@schedules.command("lint")
@as_json_option
def lint(as_json: bool) -> None:
    """Look whether every schedule can fire: its actor, payload, expression and zone. Ends with 1 when one cannot.

    \b
    Example:
      flask jobs schedules lint
    """
    wrong = [(row.name, row.tenant, why) for row, why in operations.problems(state())]
    n = len(operations.listing(state()))
    if as_json:
        emit({"data": [{"name": name, "tenant": tenant, "problem": why} for name, tenant, why in wrong], "checked": n})
    else:
        table(("name", "tenant", "problem"), wrong, f"{counted(n, 'schedule')} can fire.")
    if wrong:
        raise Refused(f"{counted(len(wrong), 'schedule')} of {n} cannot fire.", FAILURE)


def _do(verb: str, name: str, tenant: str, act: Callable[..., Any]) -> Any:
    with audited(f"schedule.{verb}", name, tenant=tenant):
        return act(state(), name, tenant)


def _condition(row: Schedule) -> str:
    if not row.enabled:
        return "disabled"
    return "error" if row.last_error else "enabled"


def _fields(row: Schedule) -> dict[str, Any]:
    job = RecurringJob.of(row)
    return {
        "name": job.name,
        "tenant": job.tenant,
        "type": job.type,
        "schedule": job.schedule,
        "timezone": job.timezone,
        "description": words_of(row),
        "enabled": job.enabled,
        "missed": job.missed,
        "graceSeconds": row.grace_seconds,
        "overlap": job.overlap,
        "source": job.source,
        "nextRunAt": job.next_run_at,
        "lastRunAt": job.last_run_at,
        "lastError": job.last_error,
    }
