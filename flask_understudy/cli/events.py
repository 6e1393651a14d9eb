"""`events`: the log of what was published, and publishing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from ..errors import InvalidEvent
from ..events import Publication, named, schema_of
from ..ledger import Job, PublishedEvent
from ..ledger import events as log
from ..ledger.scope import EVERYTHING, Scope
from ..operations import audit
from ..operations import events as operations
from ..rest.events import EventSummary
from ..rest.shapes import JobSummary
from .finding import When
from .group import NOT_FOUND, Commands, Refused, audited, jobs, principal, state
from .looking import COLUMNS, rows_of
from .printing import age, as_json_option, counted, emit, printable, table
from .sending import Arguments


@jobs.group("events", cls=Commands)
def events() -> None:
    """Published events: find them, publish them, publish them again.

    \b
    Example:
      flask jobs events list --name leave.approved
    """


@events.command("list")
@click.option("--name", "names", multiple=True, help="Name of the event; repeat for alternatives.")
@click.option("--tenant", help="Whose.")
@click.option("--correlation-id", help="Shared by what one request led to.")
@click.option("--after", type=When(), help="Not published before this time.")
@click.option("--before", type=When(), help="Published before this time.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many at the most.")
@as_json_option
def list_events(
    names: tuple[str, ...],
    tenant: str | None,
    correlation_id: str | None,
    after: datetime | None,
    before: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List what was published, the latest first.

    \b
    Examples:
      flask jobs events list --name leave.approved --after 2h
      flask jobs events list --tenant acme --json
    """
    wanted = log.Wanted(names, correlation_id, after, before)
    found, more = log.page(state().database, Scope(tenant), wanted, limit)
    if as_json:
        emit({"data": [EventSummary.of(event) for event in found], "more": more is not None})
        return
    rows = [(e.id, e.name, e.version, e.tenant or None, e.subject or None, age(e.at)) for e in found]
    table(("id", "name", "version", "tenant", "subject", "published"), rows, "No event was found.")
    if more is not None:
        click.echo(f"{len(found)} are shown and there are more: --limit N.", err=True)


@events.command("show")
@click.argument("event_id", metavar="ID")
@click.option("--payload", "reveal", is_flag=True, help="Show the fields as they are, secrets included; audited.")
@as_json_option
def show_event(event_id: str, reveal: bool, as_json: bool) -> None:
    """Show an event, the jobs of its subscribers, and the runs that had waited for it.

    \b
    Example:
      flask jobs events show 0d1f6c3e-…
    """
    event = operations.existing(state(), event_id)
    heard, let_go = operations.jobs_of(state(), event), operations.runs_of(state(), event)
    if reveal:
        audit.record(state(), principal(), "event.payload", event_id)
    payload = event.payload if reveal else operations.shown_payload(event)
    if as_json:
        shown = EventSummary.of(event).model_dump(mode="json", by_alias=True)
        emit({**shown, "payload": payload, "jobs": _summaries(heard), "runs": _summaries(let_go)})
        return
    _describe(event)
    click.echo("payload:")
    emit(payload)
    click.echo("\nJobs")
    table(COLUMNS, rows_of(heard), "No job was made.")
    if let_go:
        click.echo("\nRuns that had waited for it")
        table(COLUMNS, rows_of(let_go))


@events.command("send")
@click.argument("name")
@click.option("--payload", "fields", type=Arguments(), default="{}", help="The event's fields, as a JSON object.")
@click.option("--version", type=click.IntRange(1, 2**31 - 1), help="The version they are of; default the newest.")
@click.option("--tenant", help="Whose event it is.")
@as_json_option
def send_event(name: str, fields: Any, version: int | None, tenant: str | None, as_json: bool) -> None:
    """Publish an event.

    \b
    Example:
      flask jobs events send leave.approved --payload '{"employee_id": 7}'
    """
    if not isinstance(fields, dict):
        raise click.BadParameter("it takes a JSON object of the event's fields.", param_hint="'--payload'")
    try:
        kind = named(name)
    except InvalidEvent as problem:
        raise Refused(str(problem), NOT_FOUND) from None
    with audited("event.publish", name, tenant=tenant, name=name) as line:
        sent = operations.send(state(), kind, fields, version, strict=True, tenant=tenant, owner=principal().subject)
        line.target = sent.id
    _tell(sent, as_json)


@events.command("replay")
@click.argument("event_id", metavar="ID")
@click.option("--to", help="The name of the only subscriber that shall hear it; default all.")
@as_json_option
def replay_event(event_id: str, to: str | None, as_json: bool) -> None:
    """Publish an event again, as a new one, for those who listen today.

    \b
    Example:
      flask jobs events replay 0d1f6c3e-… --to on:leave.approved:tell_employee
    """
    with audited("event.replay", event_id, to=to) as line:
        sent = operations.repeat(state(), event_id, to)
        line.detail = {"event": sent.id, "to": to}
    _tell(sent, as_json)


@events.command("types")
@as_json_option
def types(as_json: bool) -> None:
    """List the events there are, and who hears them.

    \b
    Example:
      flask jobs events types --json
    """
    found, waiting = operations.kinds(state()), log.count_waiting(state().database, EVERYTHING)
    if as_json:
        emit(
            {
                "data": [
                    {
                        "name": kind.event_name,
                        "version": kind.event_version,
                        "canBeSent": kind.event_api,
                        "subscribers": subscribers,
                        "waitingRuns": waiting.get(kind.event_name, 0),
                        "payloadSchema": schema_of(kind),
                    }
                    for kind, subscribers in found
                ]
            }
        )
        return
    rows = [
        (
            kind.event_name,
            kind.event_version,
            "yes" if kind.event_api else "no",
            waiting.get(kind.event_name, 0),
            ", ".join(subscribers) or None,
        )
        for kind, subscribers in found
    ]
    table(("name", "version", "api", "waiting", "subscribers"), rows, "No event is declared.")


def _summaries(found: list[Job]) -> list[JobSummary]:
    return [JobSummary.of(job) for job in found]


def _tell(sent: Publication, as_json: bool) -> None:
    if as_json:
        emit({"id": sent.id, "name": sent.name, "jobs": list(sent.job_ids)})
        return
    click.echo(f"{sent.id} {sent.name}: {counted(len(sent.job_ids), 'job')}")


def _describe(event: PublishedEvent) -> None:
    lines: list[tuple[str, Any]] = [
        ("event", event.id),
        ("name", f"{event.name}, version {event.version}"),
        ("published", f"{event.at:%Y-%m-%d %H:%M:%S} UTC ({age(event.at)})"),
        ("tenant", event.tenant or None),
        ("subject", event.subject or None),
        ("correlation", event.correlation_id),
        ("job", event.job_id),
        ("replay of", event.replay_of),
    ]
    for name, value in lines:
        if value is not None:
            click.echo(f"{name:<12} {printable(str(value))}")
