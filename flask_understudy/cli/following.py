"""Following jobs until they have ended."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import click
from sqlalchemy import func, select

from ..ledger import COMPLETED, LIVE, STATES, Job
from .finding import Wanted, filters, found
from .group import FAILURE, NOT_FOUND, Refused, jobs, state
from .printing import as_json_option, counted, emit

MOST = 10_000
CHUNK = 500
POLL_SECONDS = 0.5


@jobs.command("watch")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filters
@click.option("--timeout", type=click.FloatRange(0), help="s after which to give up; default never.")
@as_json_option
def watch(ids: tuple[str, ...], wanted: Wanted, timeout: float | None, as_json: bool) -> None:
    """Follow jobs until they have ended; 1 when one of them did not complete.

    The jobs are those named, or those that the filters find now: of any state, unless they name one.

    \b
    Examples:
      flask jobs watch 5f0c2f4e-…
      flask jobs watch --queue email --state waiting --state active
      flask jobs watch --correlation-id 77ab… --timeout 600
    """
    if bool(ids) == bool(wanted.given):
        raise click.UsageError("Give ids, or filters such as --state or --queue.")
    follow(ids or named(wanted), timeout, as_json)


def named(wanted: Wanted, most: int = MOST + 1) -> list[str]:
    """Return the ids of the first jobs that a filter finds now, the oldest first, up to `most`.

    Raises:
        Refused: They are more than can be followed.
    """
    ids = [job.id for job in found(wanted, min(most, MOST + 1), newest_first=False)]
    if len(ids) > MOST:
        raise Refused(f"More than {MOST:,} jobs match, too many to follow; see: flask jobs stats")
    return ids


def follow(
    ids: Sequence[str], timeout: float | None, as_json: bool, report: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Wait until the jobs have ended, and say how.

    Args:
        ids: The jobs.
        timeout: s to wait at the most; None = for ever.
        as_json: Whether to say it in JSON.
        report: What the JSON says beside.

    Raises:
        Refused: One of them did not complete, is not there, or time is up.
    """
    wanted = list(dict.fromkeys(ids))
    deadline = None if timeout is None else time.monotonic() + timeout
    shows_progress = sys.stderr.isatty() and not as_json
    with click.progressbar(length=len(wanted), label="ended", file=sys.stderr, hidden=not shows_progress) as bar:
        seen = 0
        while True:
            counts = _counts(wanted)
            left = sum(counts[name] for name in LIVE)
            bar.update(len(wanted) - left - seen)
            seen = len(wanted) - left
            if not left or (deadline is not None and time.monotonic() >= deadline):
                break
            time.sleep(POLL_SECONDS)
    missing = len(wanted) - counts.total()
    if as_json:
        emit({**report, "jobs": len(wanted), "missing": missing, "counts": {name: counts[name] for name in STATES}})
    else:
        told = [f"{counts[name]:,} {name}" for name in STATES if counts[name]] + (
            [f"{missing} gone"] if missing else []
        )
        click.echo(f"{counted(len(wanted), 'job')}: {', '.join(told) or 'none'}.")
    if left:
        raise Refused(f"Time is up before the end of {counted(left, 'job')}.", FAILURE)
    if missing == len(wanted) > 0:
        raise Refused("There is no such job.", NOT_FOUND)
    if counts[COMPLETED] + missing < len(wanted):
        raise Refused(f"{counted(len(wanted) - counts[COMPLETED] - missing, 'job')} did not complete.", FAILURE)


def _counts(ids: Sequence[str]) -> Counter[str]:
    """Return how many of the jobs stand in each state."""
    counts: Counter[str] = Counter()
    with state().database.engine.connect() as connection:
        for start in range(0, len(ids), CHUNK):
            query = select(Job.state, func.count()).where(Job.id.in_(ids[start : start + CHUNK])).group_by(Job.state)
            counts.update(dict(connection.execute(query).all()))
    return counts
