"""What went wrong: failures by kind, poison, open alerts."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ...ledger import FAILED, AlertEpisode, Job, episodes
from ...state import State
from .. import thresholds
from ..failures import frequent
from ..wording import age, counted, printable
from .finding import ERROR, OK, WARNING, Finding

TOP = 3

#: What to do about an alert, by its rule.
REMEDIES = {
    thresholds.DEPTH: "Start more workers or threads; see: flask jobs stats.",
    thresholds.GROWING: "Start more workers or threads; see: flask jobs stats.",
    thresholds.FAILURE_RATE: "Understand one: flask jobs failures.",
    thresholds.REPEATED: "Understand one: flask jobs failures.",
    thresholds.STALLED: "See which process stopped: flask jobs workers.",
    episodes.BROKER: "Start Redis again; jobs go on without it, a little slower.",
}
LONGEST = 100


def kinds(state: State) -> Iterator[Finding]:
    """Name the kinds of error that most failed jobs have."""
    groups = frequent(state, TOP)
    if not groups:
        yield Finding(OK, "no job has failed in a way that nobody decided about")
    for group in groups:
        error = printable(group.latest.error or "")[:LONGEST]
        jobs = f"{counted(group.count, 'job')} of {group.latest.actor}"
        found = f"{jobs} failed, the latest {age(group.last_at)}: {error}"
        remedy = (
            f"See: flask jobs show {group.latest.id}. When the cause is repaired: "
            f"flask jobs retry --fingerprint {group.fingerprint}"
        )
        yield Finding(WARNING, found, remedy)


def poison(state: State) -> Iterator[Finding]:
    """Look for jobs that ended three processes."""
    query = select(func.count(), func.max(Job.id)).where(Job.state == FAILED, Job.reason == "poison")
    with Session(state.database.engine) as session:
        n, example = session.execute(query).one()
    if n:
        remedy = (
            f"Out of memory, or a crash in C? Kernel log and container's exit codes. See: flask jobs show {example}"
        )
        yield Finding(ERROR, f"{counted(n, 'job')} ended three processes each, and are not run again", remedy)
    else:
        yield Finding(OK, "no job ended its process again and again")


def alerts(state: State) -> Iterator[Finding]:
    """Name the alerts that are open."""
    with Session(state.database.engine) as session:
        query = select(AlertEpisode).where(AlertEpisode.ended_at.is_(None)).order_by(AlertEpisode.began_at)
        for alert in session.scalars(query.limit(10)):
            about = f"{alert.rule} {alert.subject}".strip()
            yield Finding(
                WARNING,
                f"{about}, since {age(alert.began_at)}: {printable(alert.message)}",
                f"{REMEDIES[alert.rule]} The alert ends when that is over.",
            )
