"""What can be done to jobs: by id or filter, but for replay and amend, which take one at a time."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from ..operations import jobs as operations
from ..operations.bulk_acts import check
from .acting import MOST, Verb, act
from .finding import Wanted, When, filters
from .group import audited, jobs, state
from .printing import as_json_option, emit


class JsonObject(click.ParamType):  # type: ignore[type-arg]
    """A JSON object: arguments by name."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        if not isinstance(value, str):
            return value
        try:
            found = json.loads(value)
        except (ValueError, RecursionError) as problem:
            self.fail(f"it is no JSON: {problem}", param, ctx)
        if not isinstance(found, dict):
            self.fail('it takes a JSON object of arguments by name, such as \'{"to": "a@example.com"}\'.', param, ctx)
        return found


def _on_many(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb its ids, filters and `--yes`."""
    for decorate in (
        as_json_option,
        click.option("--most", type=click.IntRange(1, MOST), default=MOST, help="Jobs it touches at the most."),
        click.option("--yes", "-y", is_flag=True, help="Act on what the filters find, without asking."),
        filters,
        click.argument("ids", nargs=-1, metavar="[ID]..."),
    ):
        command = decorate(command)
    return command


def _retry(id: str) -> str:
    operations.retry(state(), id)
    return "retried"


@jobs.command("retry")
@click.option("--wait", is_flag=True, help="Follow the jobs until they have ended; 1 when one did not complete.")
@_on_many
def retry(ids: tuple[str, ...], wanted: Wanted, **how: Any) -> None:
    """Reopen failed and cancelled jobs: the same jobs, with attempts as at first.

    With filters it says how many jobs match and shows some; it acts after a yes.

    \b
    Examples:
      flask jobs retry 5f0c2f4e-…
      flask jobs retry --fingerprint 3f2a9c0d11e7b856
      flask jobs retry --queue email --error timeout --finished-after 2h --yes --wait
    """
    act(Verb("retry", "retried", _retry), ids, wanted, **how)


@jobs.command("cancel")
@_on_many
def cancel(ids: tuple[str, ...], wanted: Wanted, **how: Any) -> None:
    """Cancel jobs that have not ended; those that run are asked to stop.

    \b
    Examples:
      flask jobs cancel 5f0c2f4e-…
      flask jobs cancel --queue reports --state waiting --created-before 1d
    """
    act(Verb("cancel", "cancelled", functools.partial(operations.cancel, state())), ids, wanted, **how)


@jobs.command("delete")
@_on_many
def delete(ids: tuple[str, ...], wanted: Wanted, **how: Any) -> None:
    """Delete jobs. One that waits is cancelled first, one that runs is left alone.

    With filters that name no state, jobs that have ended are meant.

    \b
    Examples:
      flask jobs delete 5f0c2f4e-…
      flask jobs delete --type email:send --state completed --finished-before 3d --yes
    """
    act(Verb("delete", "deleted", functools.partial(operations.delete, state())), ids, wanted, **how)


@jobs.command("replay")
@click.argument("job_id", metavar="ID")
@click.option("--payload", type=JsonObject(), help="Arguments by name, instead of the job's own.")
@as_json_option
def replay(job_id: str, payload: dict[str, Any] | None, as_json: bool) -> None:
    """Send a new job that does what another one did, whatever became of that one.

    \b
    Examples:
      flask jobs replay 5f0c2f4e-…
      flask jobs replay 5f0c2f4e-… --payload '{"to": "b@example.com", "subject": "Hello"}'
    """
    with audited("job.replay", job_id) as line:
        arguments = {} if payload is None else {"arguments": operations.changed(state(), job_id, payload)}
        new = operations.replay(state(), job_id, payload=payload)
        line.detail = {"replayed_as": new, **arguments}
    _told({"id": new, "replayOf": job_id}, f"Job {new} replays {job_id}.", as_json)


def _run_now(id: str) -> str:
    operations.run_now(state(), id)
    return "due"


@jobs.command("run-now")
@_on_many
def run_now(ids: tuple[str, ...], wanted: Wanted, **how: Any) -> None:
    """Let delayed jobs run now. Those that await a decision or an event are left.

    \b
    Examples:
      flask jobs run-now 5f0c2f4e-…
      flask jobs run-now --type report:send --created-after 1h
    """
    act(Verb("run_now", "made due", _run_now, question="Run {} now?"), ids, wanted, **how)


def _changing(name: str, field: str, to: Any, question: str) -> Verb:
    """Return the verb that gives jobs another queue or priority.

    Raises:
        InvalidJob: There is no such queue.
    """
    check(state(), name, {field: to})

    def change(id: str) -> str:
        operations.amend(state(), id, **{field: to})
        return "changed"

    return Verb(name, "changed", change, {field: to}, question)


@jobs.command("change-queue")
@click.option("--to", required=True, metavar="QUEUE", help="The new queue.")
@_on_many
def change_queue(ids: tuple[str, ...], wanted: Wanted, to: str, **how: Any) -> None:
    """Put jobs that wait into another queue.

    \b
    Examples:
      flask jobs change-queue --to email 5f0c2f4e-…
      flask jobs change-queue --to slow --queue examples --type long:task
    """
    act(_changing("change_queue", "queue", to, f"Put {{}} into the queue {to}?"), ids, wanted, **how)


@jobs.command("change-priority")
@click.option("--to", required=True, type=click.IntRange(-1000, 1000), help="The new priority; lower runs first.")
@_on_many
def change_priority(ids: tuple[str, ...], wanted: Wanted, to: int, **how: Any) -> None:
    """Give jobs that wait another priority.

    \b
    Examples:
      flask jobs change-priority --to 0 5f0c2f4e-…
      flask jobs change-priority --to 9 --queue email --tag newsletter
    """
    act(_changing("change_priority", "priority", to, f"Give {{}} the priority {to}?"), ids, wanted, **how)


@jobs.command("amend")
@click.argument("job_id", metavar="ID")
@click.option("--priority", type=click.IntRange(-1000, 1000), help="Lower runs first.")
@click.option("--queue", help="Another queue.")
@click.option("--run-at", type=When(), help="Not before this time, which is to come.")
@click.option("--payload", type=JsonObject(), help="Arguments by name, instead of all it has.")
@as_json_option
def amend(
    job_id: str,
    priority: int | None,
    queue: str | None,
    run_at: datetime | None,
    payload: dict[str, Any] | None,
    as_json: bool,
) -> None:
    """Change a job that waits.

    \b
    Examples:
      flask jobs amend 5f0c2f4e-… --priority 0
      flask jobs amend 5f0c2f4e-… --queue email --run-at 2026-12-24T18:00:00Z
    """
    changes = {"priority": priority, "queue": queue, "run_at": run_at, "payload": payload}
    changed = sorted(name for name, value in changes.items() if value is not None)
    if not changed:
        raise click.UsageError("Say what to change: --priority, --queue, --run-at or --payload.")
    with audited("job.amend", job_id, changes=changed) as line:
        if payload is not None:
            line.detail = {"changes": changed, "arguments": operations.changed(state(), job_id, payload)}
        operations.amend(state(), job_id, priority=priority, queue=queue, run_at=run_at, payload=payload)
    _told({"id": job_id, "changed": changed}, f"Job {job_id}: changed {', '.join(changed)}.", as_json)


def _told(data: dict[str, Any], sentence: str, as_json: bool) -> None:
    if as_json:
        emit(data)
    else:
        click.echo(sentence)
