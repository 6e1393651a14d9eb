"""Batches: how far they are, and what operators do to one."""

from __future__ import annotations

from dataclasses import asdict

import click
from flask.cli import with_appcontext
from pydantic.alias_generators import to_camel

from ..operations import batches as operations
from ..operations.batches import Progress
from .group import Commands, audited, jobs, state
from .printing import age, as_json_option, counted, emit, table, tell

MOST_SHOWN = 1000


@jobs.group("batches", cls=Commands, invoke_without_command=True)
@click.option("--limit", type=click.IntRange(1, MOST_SHOWN), default=50, show_default=True, help="Show so many.")
@as_json_option
@click.pass_context
@with_appcontext
def batches(ctx: click.Context, limit: int, as_json: bool) -> None:
    """List batches, the newest first, or act on one: show, retry, cancel.

    \b
    Examples:
      flask jobs batches
      flask jobs batches show 5f0c2f4e-…
      flask jobs batches retry 5f0c2f4e-…
    """
    if ctx.invoked_subcommand is not None:
        return
    _list(limit, as_json)


@batches.command("list")
@click.option("--limit", type=click.IntRange(1, MOST_SHOWN), default=50, show_default=True, help="Show so many.")
@as_json_option
def list_(limit: int, as_json: bool) -> None:
    """List batches, the newest first.

    \b
    Example:
      flask jobs batches list --limit 10
    """
    _list(limit, as_json)


@batches.command("show")
@click.argument("batch_id", metavar="BATCH")
@as_json_option
def show(batch_id: str, as_json: bool) -> None:
    """Show how far a batch is, and which of its jobs failed.

    \b
    Example:
      flask jobs batches show 5f0c2f4e-…
    """
    found = operations.find(state(), batch_id)
    failed = operations.failures(state(), batch_id)
    if as_json:
        emit({**_plain(found), "failures": [{"id": j.id, "type": j.actor, "error": j.error} for j in failed]})
        return
    table(("", ""), [(to_camel(name), value) for name, value in asdict(found).items() if value not in (None, "")])
    if failed:
        table(("failed job", "type", "error"), [(job.id, job.actor, job.error) for job in failed])


@batches.command("retry")
@click.argument("batch_id", metavar="BATCH")
@as_json_option
def retry(batch_id: str, as_json: bool) -> None:
    """Reopen the failed jobs of a batch, which is open again then.

    \b
    Example:
      flask jobs batches retry 5f0c2f4e-…
    """
    with audited("batch.retry", batch_id):
        n = operations.retry_failed(state(), batch_id)
    tell({"batch": batch_id, "retried": n}, f"{counted(n, 'job')} of batch {batch_id} run again.", as_json)


@batches.command("cancel")
@click.argument("batch_id", metavar="BATCH")
@as_json_option
def cancel(batch_id: str, as_json: bool) -> None:
    """Cancel what is left of a batch.

    \b
    Example:
      flask jobs batches cancel 5f0c2f4e-…
    """
    with audited("batch.cancel", batch_id):
        cancelled, requested = operations.cancel(state(), batch_id)
    sentence = f"{counted(cancelled, 'job')} of batch {batch_id} cancelled, {requested} asked to stop."
    tell({"batch": batch_id, "cancelled": cancelled, "requested": requested}, sentence, as_json)


def _list(limit: int, as_json: bool) -> None:
    found, _ = operations.listing(state(), n=limit)
    if as_json:
        emit({"data": [_plain(batch) for batch in found]})
        return
    rows = [(b.id, b.tenant, b.state, f"{b.percent} %", b.total, b.failed, age(b.created_at), b.name) for b in found]
    table(("id", "tenant", "state", "done", "jobs", "failed", "created", "name"), rows, "There are no batches.")


def _plain(batch: Progress) -> dict[str, object]:
    return {to_camel(name): value for name, value in asdict(batch).items()}
