"""Failures: failed jobs, grouped by what went wrong."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..contrib.api import Body
from ..ledger.filter import Filter
from ..operations import bulk, failures
from .bulk import BulkShape
from .callers import caller, state
from .doors import door, note
from .shapes import Instant, JobSummary, Shape

TAG = "Failures"


class FailuresQuery(Body):
    """Which groups."""

    verdict: Literal["open", "ignored", "resolved", "all"] = "open"
    limit: int = Field(50, ge=1, le=200)


class FailureShape(Shape):
    """Jobs that failed alike."""

    fingerprint: str
    count: int
    first_at: Instant
    last_at: Instant
    type: str
    error: str | None
    verdict: str
    latest: JobSummary


class Failures(Shape):
    """The groups, the latest first."""

    data: list[FailureShape]


class Verdict(Shape):
    """What was decided."""

    fingerprint: str
    verdict: str


@door("/failures", scope="read", tag=TAG, query=FailuresQuery, answers={200: Failures})
def list_failures(query: FailuresQuery) -> Failures:
    """List failed jobs by what went wrong."""
    verdict = None if query.verdict == "all" else query.verdict
    found = failures.groups(state(), caller().scope, verdict=verdict, limit=query.limit)
    return Failures(
        data=[
            FailureShape(
                fingerprint=group.fingerprint,
                count=group.count,
                first_at=group.first_at,
                last_at=group.last_at,
                type=group.latest.actor,
                error=group.latest.error,
                verdict=group.verdict,
                latest=JobSummary.of(group.latest),
            )
            for group in found
        ]
    )


@door(
    "/failures/<fingerprint>/retry",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="failure.retry",
    answers={202: BulkShape},
)
def retry_failures(fingerprint: str) -> tuple[BulkShape, int]:
    """Reopen all jobs that failed alike, as a bulk."""
    here, who = state(), caller()
    failures.check(here, who.scope, fingerprint)
    started = bulk.start(here, who.principal, who.scope, "retry", Filter(fingerprint=fingerprint))
    note(tenant=started.tenant, bulk=started.id)
    return BulkShape.of(started), 202


@door(
    "/failures/<fingerprint>/ignore",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="failure.ignore",
    answers={200: Verdict},
)
def ignore_failures(fingerprint: str) -> Verdict:
    """Show this kind of failure no more."""
    failures.decide(state(), caller().scope, fingerprint, failures.IGNORED, caller().principal.subject)
    return Verdict(fingerprint=fingerprint, verdict=failures.IGNORED)


@door(
    "/failures/<fingerprint>/resolve",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="failure.resolve",
    answers={200: Verdict},
)
def resolve_failures(fingerprint: str) -> Verdict:
    """Take this kind of failure for mended, until it happens again."""
    failures.decide(state(), caller().scope, fingerprint, failures.RESOLVED, caller().principal.subject)
    return Verdict(fingerprint=fingerprint, verdict=failures.RESOLVED)
