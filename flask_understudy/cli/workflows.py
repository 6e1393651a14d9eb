"""Workflows from the command line: their runs, step by step, and what people decide."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click
from flask.cli import with_appcontext

from ..ledger import Approval
from ..ledger.filter import Filter
from ..ledger.scope import EVERYTHING
from ..ledger.search import Search
from ..operations import approvals as approval_operations
from ..operations import workflows as operations
from ..operations.bulk import known
from ..operations.workflows import Reached
from ..redaction import WITHHELD, redacted
from .group import Commands, audited, jobs, principal, state
from .looking import COLUMNS, rows_of
from .printing import age, as_json_option, emit, printable, table, tell

PAGE = 50


@jobs.group("workflows", cls=Commands)
def workflows() -> None:
    """Workflows: list their runs, show one step by step, run one again, give one the event it waits for.

    \b
    Examples:
      flask jobs workflows list
      flask jobs workflows show 5f0c2f4e-…
      flask jobs workflows rerun 5f0c2f4e-… --from charge
    """


@workflows.command("list")
@click.option("--name", help="Only this workflow's runs.")
@click.option("--limit", type=click.IntRange(1, 1000), default=PAGE, show_default=True, help="Runs at the most.")
@as_json_option
@with_appcontext
def list_(name: str | None, limit: int, as_json: bool) -> None:
    """List the latest runs of all workflows, or of one.

    \b
    Example:
      flask jobs workflows list --name order:fulfil
    """
    names = tuple(a.actor_name for a in operations.declared(state()) if name in {None, a.actor_name})
    runs = Search(state().database, EVERYTHING, Filter(actors=names), known(state()))
    found = list(runs.page(limit).jobs) if names else []
    if as_json:
        emit({"data": [{"id": j.id, "type": j.actor, "state": j.state, "createdAt": j.created_at} for j in found]})
    else:
        table(COLUMNS, rows_of(found), "There is no run of a workflow.")


@workflows.command("show")
@click.argument("id")
@as_json_option
@with_appcontext
def show(id: str, as_json: bool) -> None:
    """Show the steps of a run: when each was reached, what came of it, what it waits for.

    \b
    Example:
      flask jobs workflows show 5f0c2f4e-…
    """
    job = operations.find(state(), id)
    run = operations.reached(state(), job)
    if as_json:
        emit({"id": job.id, "type": job.actor, "state": job.state, "steps": [_shown(r, job.sensitive) for r in run]})
        return
    click.echo(f"{job.actor} {job.id}: {job.state}")
    lines = [
        (r.step.position + 1, r.step.name, r.step.kind, r.step.state, r.step.attempts, age(r.step.started_at), _more(r))
        for r in run
    ]
    table(("step", "name", "kind", "state", "attempts", "reached", ""), lines, "It has no steps yet.")


@workflows.command("rerun")
@click.argument("id")
@click.option("--from", "from_step", metavar="STEP", help="Take the steps before this one as done.")
@as_json_option
@with_appcontext
def rerun(id: str, from_step: str | None, as_json: bool) -> None:
    """Start a new run that does what another one did, from a step on.

    \b
    Example:
      flask jobs workflows rerun 5f0c2f4e-… --from charge
    """
    with audited("workflow.rerun", id, from_step=from_step) as line:
        new = operations.rerun(state(), id, from_step)
        line.detail = {"run": new, "from_step": from_step}
    tell({"id": new, "replayOf": id}, f"Run {new} does it again.", as_json)


@workflows.command("signal")
@click.argument("id")
@click.option("--payload", default="{}", metavar="JSON", help="The event's fields.")
@click.option("--step", metavar="STEP", help="The step that waits.")
@as_json_option
@with_appcontext
def signal(id: str, payload: str, step: str | None, as_json: bool) -> None:
    """Give a run the event that it waits for.

    \b
    Example:
      flask jobs workflows signal 5f0c2f4e-… --payload '{"by": "Ann"}'
    """
    try:
        fields: Any = json.loads(payload)
    except ValueError as problem:
        raise click.BadParameter(f"{payload[:80]!r} is no JSON: {problem}.", param_hint="--payload") from None
    if not isinstance(fields, dict):
        raise click.BadParameter(f"{payload[:80]!r} is no JSON object.", param_hint="--payload")
    with audited("workflow.signal", id):
        operations.signal(state(), id, fields, step=step, by=principal().subject)
    tell({"id": id, "outcome": "signalled"}, f"Run {id} goes on.", as_json)


@jobs.group("approvals", cls=Commands, invoke_without_command=True)
@as_json_option
@click.pass_context
@with_appcontext
def approvals(ctx: click.Context, as_json: bool) -> None:
    """List what jobs wait for people to decide, or decide it: approve, reject.

    \b
    Examples:
      flask jobs approvals
      flask jobs approvals approve 0a1b2c3d-… --comment fine
    """
    if ctx.invoked_subcommand is not None:
        return
    found: list[Approval] = []
    after = None
    while page := approval_operations.listing(state(), after=after, n=500):
        found += page
        after = (page[-1].asked_at, page[-1].id)
    _list(found, as_json)


@approvals.command("approve")
@click.argument("id")
@click.option("--comment", default="", help="Kept with the decision.")
@as_json_option
@with_appcontext
def approve(id: str, comment: str, as_json: bool) -> None:
    """Say yes.

    \b
    Example:
      flask jobs approvals approve 0a1b2c3d-…
    """
    _decide(id, comment, True, as_json)


@approvals.command("reject")
@click.argument("id")
@click.option("--comment", default="", help="Kept with the decision.")
@as_json_option
@with_appcontext
def reject(id: str, comment: str, as_json: bool) -> None:
    """Say no.

    \b
    Example:
      flask jobs approvals reject 0a1b2c3d-…
    """
    _decide(id, comment, False, as_json)


def _decide(id: str, comment: str, approved: bool, as_json: bool) -> None:
    with audited("approval.approve" if approved else "approval.reject", id, comment=comment):
        decided = approval_operations.decide(state(), id, approved=approved, by=principal().subject, comment=comment)
    tell({"id": id, "state": decided.state, "jobId": decided.job_id}, f"Approval {id}: {decided.state}.", as_json)


def _list(found: Sequence[Approval], as_json: bool) -> None:
    if as_json:
        emit(
            {
                "data": [
                    {"id": a.id, "jobId": a.job_id, "prompt": a.prompt, "to": a.asked, "deadline": a.deadline}
                    for a in found
                ]
            }
        )
        return
    lines = [(a.id, age(a.asked_at), age(a.deadline), a.asked, printable(a.prompt)) for a in found]
    table(("id", "asked", "expires", "to", "prompt"), lines, "Nothing waits for a decision.")


def _more(reached: Reached) -> str:
    step = reached.step
    if step.finished_at is None and step.wake_at is not None:
        what = f"{reached.wait.event}, " if reached.wait is not None else ""
        return f"{what}{age(step.wake_at)}"
    return printable(step.error or "")


def _shown(reached: Reached, sensitive: bool) -> dict[str, Any]:
    step, wait = reached.step, reached.wait
    result = None if step.result is None else WITHHELD if sensitive else redacted(json.loads(step.result))
    return {
        "position": step.position,
        "name": step.name,
        "kind": step.kind,
        "state": step.state,
        "attempts": step.attempts,
        "startedAt": step.started_at,
        "finishedAt": step.finished_at,
        "wakeAt": step.wake_at,
        "waitsFor": None if wait is None else {"event": wait.event, "eventId": wait.event_id},
        "approvalId": reached.approval.id if reached.approval is not None else None,
        "error": step.error,
        "result": result,
    }
