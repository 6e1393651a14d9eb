"""Queues: what they hold, and what operators do to a whole queue."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click
from flask.cli import with_appcontext

from ..ledger import TERMINAL
from ..operations import queues as operations
from ..operations.reopening import retry_failed as retry_failed_jobs
from .group import NOT_FOUND, Commands, Refused, audited, jobs, limit_of, state
from .printing import age, as_json_option, counted, emit, styled, table, tell

#: ms of a grace: a hundred years.
MOST_GRACE = 36_525 * 86_400_000
COUNTS = ("waiting", "active", "delayed", "paused", "failed", "completed", "total")


@jobs.group("queues", cls=Commands, invoke_without_command=True)
@as_json_option
@click.pass_context
@with_appcontext
def queues(ctx: click.Context, as_json: bool) -> None:
    """List the queues, or act on one: pause, resume, drain, retry-failed, limit.

    \b
    Examples:
      flask jobs queues
      flask jobs queues pause email
      flask jobs queues limit reports 2
    """
    if ctx.invoked_subcommand is not None:
        return
    counts, rows = operations.stats(state()), operations.rows(state())
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "pausedAt": rows[name].paused_at if name in rows else None,
            "concurrency": rows[name].concurrency if name in rows else None,
            "counts": numbers,
            "policy": operations.policy(state(), name),
        }
        for name, numbers in counts.items()
    ]
    if as_json:
        emit({"data": found})
        return
    lines = [
        (
            queue["name"],
            f"paused {age(queue['pausedAt'])}" if queue["pausedAt"] else "running",
            queue["concurrency"],
            *(queue["counts"][name] for name in COUNTS),
        )
        for queue in found
    ]
    table(("queue", "state", "limit", *COUNTS), lines, "There are no queues.")


def _known(name: str) -> str:
    names = operations.names(state())
    if name not in names:
        raise Refused(f"No queue is named {name!r}. There are: {', '.join(sorted(names)) or 'none'}.", NOT_FOUND)
    return name


def _do(action: str, name: str, act: Callable[[], Any], result: str | None = None) -> Any:
    """Act on a queue that there is, in one transaction with a line in the audit; return what came of it."""
    with audited(f"queue.{action}", _known(name)) as line:
        outcome = act()
        if result is not None:
            line.detail = {result: outcome}
    return outcome


@queues.command("pause")
@click.argument("name", metavar="QUEUE")
@as_json_option
def pause(name: str, as_json: bool) -> None:
    """Start no job of a queue any more; what runs goes on.

    \b
    Example:
      flask jobs queues pause email
    """
    _do("pause", name, lambda: operations.pause(state(), name))
    tell({"queue": name, "state": "paused"}, f"Queue {name} is {styled('paused')}; what runs goes on.", as_json)


@queues.command("resume")
@click.argument("name", metavar="QUEUE")
@as_json_option
def resume(name: str, as_json: bool) -> None:
    """Start jobs of a paused queue again.

    \b
    Example:
      flask jobs queues resume email
    """
    _do("resume", name, lambda: operations.resume(state(), name))
    tell({"queue": name, "state": "running"}, f"Queue {name} is running.", as_json)


@queues.command("limit")
@click.argument("name", metavar="QUEUE")
@click.argument("concurrency", metavar="N|none")
@as_json_option
def limit(name: str, concurrency: str, as_json: bool) -> None:
    """Let at most N jobs of a queue run at a time, in all processes; `none` lifts the limit.

    \b
    Examples:
      flask jobs queues limit reports 2
      flask jobs queues limit reports none
    """
    n = limit_of(concurrency)
    with audited("queue.limit", _known(name), concurrency=n):
        operations.limit(state(), name, n)
    how = "without a limit" if n is None else f"{counted(n, 'job')} at a time"
    sentence = f"Queue {name} runs {how}."
    tell({"queue": name, "concurrency": n}, sentence, as_json)


@queues.command("drain")
@click.argument("name", metavar="QUEUE")
@click.option("--delayed", is_flag=True, help="Delayed jobs too.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@as_json_option
def drain(name: str, delayed: bool, yes: bool, as_json: bool) -> None:
    """Cancel what waits in a queue; what runs goes on.

    \b
    Example:
      flask jobs queues drain reports --yes
    """
    counts = operations.stats(state())[_known(name)]
    n = counts["waiting"] + counts["paused"] + (counts["delayed"] if delayed else 0)
    _ask(f"Cancel {counted(n, 'job')} of queue {name}?", yes)
    cancelled = _do("drain", name, lambda: operations.drain(state(), name, delayed=delayed), "cancelled")
    tell({"queue": name, "cancelled": cancelled}, f"{counted(cancelled, 'job')} cancelled.", as_json)


@queues.command("retry-failed")
@click.argument("name", metavar="QUEUE")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@as_json_option
def retry_failed(name: str, yes: bool, as_json: bool) -> None:
    """Reopen the failed jobs of a queue. To choose among them: flask jobs retry --queue … --fingerprint ….

    \b
    Example:
      flask jobs queues retry-failed email --yes
    """
    _ask(f"Retry {counted(operations.stats(state())[_known(name)]['failed'], 'job')} of queue {name}?", yes)
    retried = _do("retry_failed", name, lambda: retry_failed_jobs(state(), name), "retried")
    tell({"queue": name, "retried": retried}, f"{counted(retried, 'job')} retried.", as_json)


@jobs.command("clean")
@click.argument("name", metavar="QUEUE")
@click.option(
    "--state", "status", type=click.Choice(TERMINAL), default="completed", show_default=True, help="Which jobs."
)
@click.option(
    "--grace",
    type=click.IntRange(0, MOST_GRACE),
    help="ms since the end for which a job is kept; default: the queue's.",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@as_json_option
def clean(name: str, status: str, grace: int | None, yes: bool, as_json: bool) -> None:
    """Delete a queue's ended jobs that are older than the grace.

    \b
    Examples:
      flask jobs clean email
      flask jobs clean email --state failed --grace 86400000 --yes
    """
    kept = "the queue's retention" if grace is None else f"{grace:,} ms"
    _ask(f"Delete the {status} jobs of queue {_known(name)} that ended longer ago than {kept}?", yes)
    removed = _do("clean", name, lambda: operations.clean(state(), name, status, grace), "removed")
    tell({"queue": name, "status": status, "removed": removed}, f"{counted(removed, 'job')} deleted.", as_json)


def _ask(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{question} Nothing was done; add --yes to do it.")
    if not click.confirm(question):
        raise Refused("Nothing was done.")


@jobs.command("stats")
@as_json_option
def stats(as_json: bool) -> None:
    """Count the jobs of each queue by state.

    \b
    Examples:
      flask jobs stats
      watch -n 2 flask jobs stats
    """
    counts = operations.stats(state())
    if as_json:
        emit(counts)
        return
    rows: list[tuple[Any, ...]] = [(name, *(numbers[key] for key in COUNTS)) for name, numbers in counts.items()]
    if len(rows) > 1:
        rows.append(("all", *(sum(numbers[key] for numbers in counts.values()) for key in COUNTS)))
    table(("queue", *COUNTS), rows, "There are no queues.")
