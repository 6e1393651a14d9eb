"""The processes that run jobs, and letting one claim no more, end, or be forgotten."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from ..ledger.scope import EVERYTHING
from ..operations import workers as operations
from ..operations.wording import size
from ..operations.workers import Process
from ..rest.workers import WorkerShape
from .group import Commands, audited, jobs, state
from .printing import age, as_json_option, emit, table, tell

COLUMNS = ("id", "kind", "process", "state", "busy", "memory", "started", "lease", "queues")


@jobs.group("workers", cls=Commands, invoke_without_command=True)
@as_json_option
@click.pass_context
@with_appcontext
def workers(ctx: click.Context, as_json: bool) -> None:
    """List the processes that run jobs, or act on one: drain, resume, stop, forget.

    They are `worker` under dramatiq, `in-process` in a web server, `web` as stand-in.

    \b
    Examples:
      flask jobs workers
      flask jobs workers drain ID
    """
    if ctx.invoked_subcommand is not None:
        return
    found = operations.listing(state(), jobs_of=EVERYTHING)
    if as_json:
        emit({"data": [WorkerShape.of(process).model_dump(mode="json", by_alias=True) for process in found]})
        return
    table(COLUMNS, [_row(process) for process in found], "No process is in the ledger.")


def _row(process: Process) -> tuple[str | None, ...]:
    worker = process.worker
    standing = f"drained {age(worker.drained_at)}" if worker.drained_at else "running"
    return (
        worker.id,
        worker.kind,
        f"{worker.hostname}:{worker.pid}",
        "gone" if not process.is_alive else "stopping" if worker.stopping else standing,
        f"{process.active}/{worker.threads}",
        None if worker.memory_bytes is None else size(worker.memory_bytes),
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
    """Let a process claim again that was drained, or was to stop and has not yet, within a few seconds.

    \b
    Example:
      flask jobs workers resume ID
    """
    with audited("worker.resume", worker_id):
        operations.resume(state(), worker_id)
    tell({"worker": worker_id, "state": "running"}, f"Worker {worker_id} claims again.", as_json)


@workers.command("stop")
@click.argument("worker_id", metavar="ID")
@as_json_option
def stop(worker_id: str, as_json: bool) -> None:
    """Let a process claim nothing any more, and end it when what it runs has ended.

    The processes of one command end together, when all are idle. Their supervisor may start them anew.

    \b
    Example:
      flask jobs workers stop ID
    """
    with audited("worker.stop", worker_id) as line:
        others = operations.stop(state(), worker_id)
        line.detail = {"others": others} if others else None
    beside = f" So do {', '.join(others)}, of the same command." if others else ""
    sentence = f"Worker {worker_id} ends when what it runs has ended.{beside}"
    tell({"worker": worker_id, "state": "stopping", "others": others}, sentence, as_json)


@workers.command("forget")
@click.argument("worker_id", metavar="ID")
@as_json_option
def forget(worker_id: str, as_json: bool) -> None:
    """Remove a process that died.

    \b
    Example:
      flask jobs workers forget ID
    """
    with audited("worker.forget", worker_id):
        operations.forget(state(), worker_id)
    tell({"worker": worker_id, "state": "forgotten"}, f"Worker {worker_id} is forgotten.", as_json)
