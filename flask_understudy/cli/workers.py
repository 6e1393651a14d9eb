"""The processes that run jobs, and letting one claim no more."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from ..operations import workers as operations
from ..operations.workers import Process
from ..rest.workers import WorkerShape
from .group import Commands, audited, jobs, state
from .printing import age, as_json_option, emit, table, tell

COLUMNS = ("id", "kind", "process", "state", "busy", "started", "lease", "queues")


@jobs.group("workers", cls=Commands, invoke_without_command=True)
@as_json_option
@click.pass_context
@with_appcontext
def workers(ctx: click.Context, as_json: bool) -> None:
    """List the processes that run jobs, or act on one: drain, resume.

    They are `worker` under dramatiq, `in-process` in a web server, `web` as stand-in.

    \b
    Examples:
      flask jobs workers
      flask jobs workers drain ID
    """
    if ctx.invoked_subcommand is not None:
        return
    found = operations.listing(state())
    if as_json:
        emit({"data": [WorkerShape.of(process).model_dump(mode="json", by_alias=True) for process in found]})
        return
    table(COLUMNS, [_row(process) for process in found], "No process is in the ledger.")


def _row(process: Process) -> tuple[str, ...]:
    worker = process.worker
    standing = "stopping" if worker.stopping else "running"
    return (
        worker.id,
        worker.kind,
        f"{worker.hostname}:{worker.pid}",
        f"drained {age(worker.drained_at)}" if worker.drained_at else standing,
        f"{process.active}/{worker.threads}",
        age(worker.started_at),
        age(worker.lease_until) if process.is_alive else "run out",
        ", ".join(worker.queues),
    )


@workers.command("drain")
@click.argument("worker_id", metavar="ID")
@as_json_option
def drain(worker_id: str, as_json: bool) -> None:
    """Let a process claim nothing any more, within a few seconds; what it runs goes on.

    It stays so until it is resumed or stopped; when it is started anew it claims again.

    \b
    Example:
      flask jobs workers drain ID
    """
    with audited("worker.drain", worker_id):
        operations.drain(state(), worker_id)
    sentence = f"Worker {worker_id} claims nothing any more; what it runs goes on."
    tell({"worker": worker_id, "state": "drained"}, sentence, as_json)


@workers.command("resume")
@click.argument("worker_id", metavar="ID")
@as_json_option
def resume(worker_id: str, as_json: bool) -> None:
    """Let a drained process claim again, within a few seconds.

    \b
    Example:
      flask jobs workers resume ID
    """
    with audited("worker.resume", worker_id):
        operations.resume(state(), worker_id)
    tell({"worker": worker_id, "state": "running"}, f"Worker {worker_id} claims again.", as_json)
