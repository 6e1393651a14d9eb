"""`list` and `show`: which jobs there are, and everything about one of them."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click
from sqlalchemy import select

from ..ledger import Attempt, Job, JobEvent, queries
from ..operations import audit, payloads
from ..operations.jobs import existing
from ..redaction import WITHHELD, redacted
from ..rest import exporting
from ..rest.shapes import JobSummary, summary
from .finding import Wanted, filters, found
from .group import jobs, principal, state
from .printing import age, as_json_option, duration, emit, emit_rows, paragraph, printable, styled, table

#: Characters of an id that may stand for it.
SHORTEST_ID = 8
#: Stands behind every character of an id.
BEYOND = "~"

#: Jobs that `--limit` takes; `--all` takes any number.
MOST = 1_000_000

COLUMNS = ("id", "state", "type", "queue", "attempts", "created", "error")


@jobs.command("list")
@filters
@click.option("--limit", type=click.IntRange(1, MOST), default=50, show_default=True, help="How many at the most.")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--oldest-first", is_flag=True, help="The other order.")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values, for a spreadsheet.")
@as_json_option
def list_jobs(wanted: Wanted, limit: int, everything: bool, oldest_first: bool, as_csv: bool, as_json: bool) -> None:
    """List jobs, the newest first; ended jobs alone by their end.

    Repeated options are alternatives, different ones must all hold.

    \b
    Examples:
      flask jobs list --state failed --queue email --finished-after 2h
      flask jobs list --payload order.id:42
      flask jobs list --type email:send --error timeout --all --json
      flask jobs list --state failed --all --csv > failed.csv
    """
    if as_csv and as_json:
        raise click.UsageError("Give --csv or --json, not both.")
    every = found(wanted, None if everything else limit + 1, newest_first=not oldest_first)
    if as_json:
        shown_rows = map(JobSummary.of, every if everything else islice(every, limit))
        emit_rows(shown_rows, lambda: next(every, None) is not None)
        return
    if as_csv:
        click.echo(exporting.head(), nl=False)
        for job in every if everything else islice(every, limit):
            line = exporting.line_of(JobSummary.of(job))
            click.echo("\n".join(map(printable, line.split("\n"))), nl=False)
    else:
        shown = list(every if everything else islice(every, limit))
        table(COLUMNS, rows_of(shown), "No job matches." if wanted.given else "There are no jobs.")
    if not everything and next(every, None) is not None:
        click.echo(f"{limit} are shown and there are more: --limit N, or --all.", err=True)


def rows_of(found_jobs: list[Job]) -> list[tuple[Any, ...]]:
    """Return jobs as rows of a table."""
    return [
        (
            job.id,
            job.state,
            job.actor,
            job.queue,
            f"{job.attempt}/{'-' if job.max_attempts is None else job.max_attempts}",
            age(job.created_at),
            job.error or job.reason,
        )
        for job in found_jobs
    ]


@jobs.command("show")
@click.argument("job_id", metavar="ID")
@click.option(
    "--payload", "reveal", is_flag=True, help="Show arguments and result as they are, secrets included; audited."
)
@as_json_option
def show_job(job_id: str, reveal: bool, as_json: bool) -> None:
    """Show everything about a job: arguments, attempts, timeline, traceback.

    Arguments that are secrets by their name are withheld without --payload.

    \b
    Examples:
      flask jobs show 5f0c2f4e-…
      flask jobs show 5f0c2f4e-… --payload --json
    """
    job = existing(state(), _whole(job_id))
    job_id = job.id
    attempts, timeline = queries.attempts(state().database, job_id), queries.timeline(state().database, job_id)
    if reveal:
        audit.record(state(), principal(), "job.payload", job_id)
    payload, result = _contents(job, reveal)
    if as_json:
        emit(
            {
                **JobSummary.of(job).model_dump(mode="json", by_alias=True),
                "payload": payload,
                "result": result,
                "fallback": job.fallback,
                "worker": job.worker_id,
                "fence": job.fence,
                "handBacks": job.hand_backs,
                "crashes": job.crashes,
                "attempts": [_attempt(attempt) for attempt in attempts],
                "timeline": [_event(event) for event in timeline],
            }
        )
        return
    _describe(job, payload, result)
    _tell_attempts(list(attempts))
    if timeline:
        click.echo("\nTimeline")
        table(
            ("  at", "kind", "attempt", "message"),
            [(f"  {e.at:%F %T}", e.kind, e.attempt, e.message) for e in timeline],
        )


def _whole(job_id: str) -> str:
    """Return the id that a text begins, as logs and tables show it; the text itself if that is not one alone."""
    begun = select(Job.id).where(Job.id >= job_id, Job.id < job_id + BEYOND).order_by(Job.id).limit(2)
    with state().database.engine.connect() as connection:
        found = connection.scalars(begun).all()
    return found[0] if len(found) == 1 and len(job_id) >= SHORTEST_ID else job_id


def _contents(job: Job, reveal: bool) -> tuple[dict[str, Any], Any]:
    actor = state().broker.actors.get(job.actor)
    if not reveal:
        is_withheld = job.sensitive or actor is None or actor.options.get("sensitive") is True
        result = WITHHELD if is_withheld and job.result is not None else redacted(job.result)
        return payloads.shown(actor, job), result
    return payloads.whole(actor, job), job.result


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "outcome": attempt.outcome,
        "startedAt": attempt.started_at,
        "finishedAt": attempt.finished_at,
        "worker": attempt.worker_id,
        "error": attempt.error,
        "traceback": attempt.traceback,
    }


def _event(event: JobEvent) -> dict[str, Any]:
    return {"at": event.at, "kind": event.kind, "attempt": event.attempt, "message": event.message}


def _describe(job: Job, payload: dict[str, Any], result: Any) -> None:
    known = summary(job)
    lines: list[tuple[str, Any]] = [
        ("job", job.id),
        ("state", styled(job.state) + (f" ({job.reason})" if job.reason else "")),
        ("type", job.actor),
        ("queue", f"{job.queue}, priority {job.priority}"),
        ("attempts", f"{job.attempt} of {'any number' if job.max_attempts is None else job.max_attempts}"),
        ("created", _moment(job.created_at)),
        ("due", _moment(job.run_at) if job.state in {"delayed", "waiting"} else None),
        ("started", _moment(job.started_at)),
        ("finished", _moment(job.finished_at)),
        ("took", None if known["duration_ms"] is None else duration(known["duration_ms"] / 1000)),
        ("expires", _moment(job.expires_at)),
        (
            "progress",
            f"{job.progress} % {job.progress_message or ''}" if job.progress or job.progress_message else None,
        ),
        ("worker", job.worker_id),
        ("crashes", job.crashes or None),
        ("tenant", job.tenant or None),
        ("owner", job.owner or None),
        ("tags", ", ".join(job.tags or []) or None),
        ("dedup key", job.dedup_key),
        ("correlation", job.correlation_id),
        ("parent", job.parent_id),
        ("replay of", job.replay_of),
        ("error", job.error),
        ("fingerprint", job.fingerprint),
    ]
    for name, value in lines:
        if value is not None:
            text = value if name == "state" else printable(str(value))
            click.echo(f"{name:<12} {text}")
    for name, value in [("payload", payload), *([("result", result)] if result is not None else [])]:
        click.echo(f"{name}:")
        emit(value)


def _moment(moment: Any) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC ({age(moment)})"


def _tell_attempts(attempts: list[Attempt]) -> None:
    if not attempts:
        return
    click.echo("\nAttempts that did not complete")
    rows = [(f"  {a.number}", a.outcome, age(a.finished_at), a.worker_id, a.error) for a in attempts]
    table(("  no", "outcome", "ended", "worker", "error"), rows)
    for attempt in islice(reversed([a for a in attempts if a.traceback]), 1):
        click.echo(f"\nTraceback of attempt {attempt.number}")
        click.echo(paragraph(attempt.traceback or ""))
