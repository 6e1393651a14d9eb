"""Acting on jobs, by their ids or by a filter: what all the verbs share."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from ..errors import JobConflict, JobNotFound
from ..operations import bulk, bulk_acts
from ..operations.bulk_acts import NOTHING, Changes
from ..rest.shapes import JobSummary
from .finding import Wanted
from .following import follow, named
from .group import FAILURE, NOT_FOUND, Refused, audited, principal, state
from .looking import COLUMNS, rows_of
from .printing import counted, emit, table

STEP = 500
MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Verb:
    """What can be done to jobs.

    Attributes:
        name: As bulks name it.
        past: What was done, for the report.
        act: Does it to one job; returns what became of it.
        changes: What it changes and to what.
        question: What is asked before it is done to many, with `{}` for them; empty = its name.
    """

    name: str
    past: str
    act: Callable[[str], str]
    changes: Changes = NOTHING
    question: str = ""


def act(
    verb: Verb, ids: Sequence[str], wanted: Wanted, *, yes: bool, most: int, as_json: bool, wait: bool = False
) -> None:
    """Do it to the jobs that were named, or to those that the filter finds; with `wait` follow them to their ends.

    Raises:
        UsageError: Both were given, or neither.
        Refused: It could not be done to a job that was named.
    """
    if ids and wanted.given:
        raise click.UsageError("Give ids or filters, not both.")
    if not ids and not wanted.given:
        raise click.UsageError("Give ids, or filters such as --state or --queue.")
    if ids:
        _act_on_each(verb, ids, as_json, wait)
    else:
        _act_on_found(verb, wanted, yes, most, as_json, wait)


def _act_on_each(verb: Verb, ids: Sequence[str], as_json: bool, wait: bool) -> None:
    outcomes: list[dict[str, str]] = []
    code = 0
    for id in dict.fromkeys(ids):
        try:
            with audited(f"job.{verb.name}", id) as line:
                outcome = verb.act(id)
                line.detail = {"outcome": outcome, **verb.changes}
            outcomes.append({"id": id, "outcome": outcome})
        except (JobNotFound, JobConflict) as problem:
            code = max(code, NOT_FOUND if isinstance(problem, JobNotFound) else FAILURE)
            outcomes.append({"id": id, "outcome": "skipped", "reason": str(problem)})
            if len(ids) > 1 or as_json:
                click.echo(f"Error: {problem}", err=True)
            else:
                raise Refused(str(problem), code) from problem
    done = sum(entry["outcome"] != "skipped" for entry in outcomes)
    report = {"done": done, "skipped": len(outcomes) - done, "data": outcomes}
    if as_json:
        if not wait:
            emit(report)
    elif len(outcomes) == 1:
        click.echo(f"Job {outcomes[0]['id']}: {outcomes[0]['outcome']}.")
    else:
        click.echo(f"{counted(done, 'job')} {verb.past}, {len(outcomes) - done:,} skipped.")
    if wait:
        follow([entry["id"] for entry in outcomes if entry["outcome"] != "skipped"], None, as_json, report)
    if code:
        click.get_current_context().exit(code)


def _act_on_found(verb: Verb, wanted: Wanted, yes: bool, most: int, as_json: bool, wait: bool) -> None:
    trial = bulk.trial(state(), wanted.scope, verb.name, wanted.filter)
    n, is_exact, left = trial.matched, trial.is_exact, trial.left
    wanted = dataclasses.replace(wanted, filter=bulk_acts.narrowed(verb.name, wanted.filter))
    touched = min(n, most)
    sample = list(trial.sample[:most])
    if not as_json:
        limited = f"; {touched:,} of them will be touched" if touched < n else ""
        others = f" {counted(left, 'other')} will be left as {'it is' if left == 1 else 'they are'}." if left else ""
        click.echo(f"{counted(n, 'job', exact=is_exact)} match{'es' if n == 1 else ''}{limited}.{others}")
        if sample:
            table(COLUMNS, rows_of(sample))
            click.echo("…" if n > len(sample) else "", nl=n > len(sample))
    if not yes and n and not as_json and sys.stdin.isatty():
        question = verb.question or f"{verb.name.capitalize()} {{}}?"
        yes = click.confirm(question.replace("{}", "it" if touched == 1 else "them"))
        if not yes:
            raise Refused("Nothing was done.")
    if not yes or not n:
        if as_json:
            counts = {"matched": n, "touched": touched, "matchedIsExact": is_exact, "left": left}
            emit({"dryRun": not yes, **counts, "sample": [JobSummary.of(job) for job in sample]})
        elif n:
            click.echo("Nothing was done; add --yes to do it.", err=True)
        return
    followed = named(wanted, most) if wait else None
    _do(verb, wanted, most, trial, as_json, followed)


def _do(
    verb: Verb, wanted: Wanted, most: int, trial: bulk.Trial, as_json: bool, followed: Sequence[str] | None
) -> None:
    expected = min(trial.matched, most)
    told = {"filter": _told(wanted), "expected": expected, **verb.changes}
    with audited(f"job.{verb.name}", "by filter", **told) as line:
        running = bulk.start(
            state(), principal(), wanted.scope, verb.name, wanted.filter, most, verb.changes, trial.as_of
        )
        line.target = f"bulk:{running.id}"
        line.tenant = running.tenant or line.tenant
    shows_progress = sys.stderr.isatty() and not as_json
    with click.progressbar(
        length=running.expected or expected, label=verb.name, file=sys.stderr, hidden=not shows_progress
    ) as bar:
        seen = 0
        while running.state == "running":
            running = bulk.step(state(), running.id, STEP)
            bar.update(running.matched - seen)
            seen = running.matched
    report = {
        "id": running.id,
        "state": running.state,
        "expected": running.expected,
        "done": running.done,
        "skipped": running.skipped,
    }
    if not as_json:
        click.echo(f"{counted(running.done, 'job')} {verb.past}, {running.skipped:,} skipped.")
    if followed is not None:
        follow(followed, None, as_json, report)
    elif as_json:
        emit(report)
    if running.state != "completed":
        raise Refused(f"The bulk {running.id} was {running.state}.")


def _told(wanted: Wanted) -> dict[str, Any]:
    """Return what was asked for, for the audit; values of arguments may be anybody's data and are not kept."""
    told: dict[str, Any] = {
        name: value if isinstance(value, str) else [*map(str, value)] if isinstance(value, tuple) else str(value)
        for name, value in wanted.given.items()
    }
    if "payload" in told:
        told["payload"] = [".".join(path) for path, _ in wanted.given["payload"]]
    return told
