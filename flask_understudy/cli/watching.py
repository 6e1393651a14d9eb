"""What goes on: failures by kind, the audit, health."""

from __future__ import annotations

from typing import Any

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from ..ledger import AuditLine
from ..ledger.scope import Scope
from ..operations import failures as failures_of
from ..operations.health import health as health_of
from ..operations.tables import gaps
from ..rest.shapes import JobSummary
from .group import FAILURE, Refused, jobs, state
from .printing import age, as_json_option, counted, emit, styled, table


@jobs.command("failures")
@click.option("--tenant", help="Whose jobs.")
@click.option("--all", "everything", is_flag=True, help="Also what was ignored or resolved.")
@click.option(
    "--limit", type=click.IntRange(1, failures_of.MOST_KINDS), default=20, show_default=True, help="Kinds at the most."
)
@as_json_option
def failures(tenant: str | None, everything: bool, limit: int, as_json: bool) -> None:
    """Group the failed jobs by kind of error, the most frequent kind first.

    \b
    Examples:
      flask jobs failures
      flask jobs show EXAMPLE                 # understand one
      flask jobs retry --fingerprint FINGERPRINT
    """
    verdict = None if everything else failures_of.OPEN
    kinds = failures_of.frequent(state(), limit, Scope(tenant), verdict=verdict)
    if as_json:
        data = [
            {
                "fingerprint": kind.fingerprint,
                "count": kind.count,
                "firstAt": kind.first_at,
                "lastAt": kind.last_at,
                "type": kind.latest.actor,
                "error": kind.latest.error,
                "verdict": kind.verdict,
                "latest": JobSummary.of(kind.latest).model_dump(mode="json", by_alias=True),
            }
            for kind in kinds
        ]
        emit({"data": data})
        return
    rows = [(k.fingerprint, k.count, age(k.last_at), k.latest.actor, k.latest.id, k.latest.error) for k in kinds]
    table(("fingerprint", "count", "latest", "type", "example", "error"), rows, "No job has failed.")


@jobs.command("audit")
@click.option("--tenant", help="Of this tenant's principals.")
@click.option("--subject", help="By whom.")
@click.option("--action", help="What, such as job.retry.")
@click.option("--target", help="To which job or queue.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Lines at the most.")
@as_json_option
def audit(limit: int, as_json: bool, **wanted: str | None) -> None:
    """List who did what to jobs, queues and tenants, the latest first.

    \b
    Examples:
      flask jobs audit --limit 20
      flask jobs audit --action job.delete --json
    """
    query = select(AuditLine).order_by(AuditLine.id.desc()).limit(limit)
    for name, value in wanted.items():
        if value is not None:
            query = query.where(getattr(AuditLine, name) == value)
    with Session(state().database.engine) as session:
        lines = session.scalars(query).all()
        if as_json:
            names = ("id", "at", "tenant", "subject", "action", "target", "address", "detail")
            emit({"data": [{name: getattr(line, name) for name in names} for line in lines]})
            return
        rows = [
            (age(line.at), line.subject, line.action, line.target, line.tenant or None, line.detail) for line in lines
        ]
    table(("when", "subject", "action", "target", "tenant", "detail"), rows, "The audit has no such line.")


@jobs.command("health")
@click.option("--live", "probe", flag_value="live", help="Only whether the application loads; asks nobody.")
@click.option("--ready", "probe", flag_value="ready", help="Only whether the database answers and has the tables.")
@as_json_option
def health(probe: str | None, as_json: bool) -> None:
    """Say how the system is; 1 when it is unhealthy, or not ready.

    \b
    Examples:
      flask jobs health
      flask jobs health --ready && echo ready
    """
    if probe == "live":
        _say({"status": "live"}, styled("ok", "live"), as_json)
        return
    if probe == "ready":
        missing = gaps(state())
        if missing:
            raise Refused(f"Not ready: {missing[0]}.")
        _say({"status": "ready"}, styled("ok", "ready"), as_json)
        return
    answer = health_of(state())
    status = answer["overallStatus"]
    if as_json:
        emit(answer)
    else:
        colour = {"healthy": "ok", "degraded": "warning"}.get(status, "error")
        waiting = sum(queue["waiting"] for queue in answer["queues"])
        carries = f"transport {answer['transport']}, {counted(waiting, 'job')} waiting"
        click.echo(f"{styled(colour, status)}: {carries}")
        for reason in answer["reasons"]:
            click.echo(f"  {reason}")
    if status == "unhealthy":
        raise Refused(f"Unhealthy: {'; '.join(answer['reasons'])}. See: flask jobs doctor", FAILURE)


def _say(data: dict[str, Any], text: str, as_json: bool) -> None:
    if as_json:
        emit(data)
    else:
        click.echo(text)
