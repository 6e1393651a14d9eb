"""What became of a job so far: its attempts and its timeline."""

from __future__ import annotations

from pydantic import Field

from ..ledger import queries
from .callers import caller, state
from .doors import TokenQuery, door
from .jobs import TAG, existing
from .shapes import Instant, Shape


class AttemptShape(Shape):
    """An attempt that did not complete."""

    number: int
    outcome: str = Field(description="retried, failed, cancelled, handed_back, suspended or crashed.")
    started_at: Instant | None
    finished_at: Instant
    worker: str | None
    error: str | None
    traceback: str | None = Field(description="Null without permission to see payloads.")


class Attempts(Shape):
    """The attempts of a job that did not complete, the first one first."""

    data: list[AttemptShape]


class LogLine(Shape):
    """A line of a job's timeline."""

    id: int
    at: Instant
    kind: str = Field(description="log, cancel_requested, cancelled or retried.")
    attempt: int
    message: str


class Log(Shape):
    """The timeline of a job, the first line first."""

    data: list[LogLine]


@door("/<job_id>/attempts", scope="read", tag=TAG, query=TokenQuery, opens_to_token=True, answers={200: Attempts})
def list_attempts(job_id: str, query: TokenQuery) -> Attempts:
    """List the attempts of a job that did not complete."""
    existing(queries.find(state().database, job_id, scope=caller().scope))
    sees_payload = caller().may("payload")
    return Attempts(
        data=[
            AttemptShape(
                number=attempt.number,
                outcome=attempt.outcome,
                started_at=attempt.started_at,
                finished_at=attempt.finished_at,
                worker=attempt.worker_id,
                error=attempt.error,
                traceback=attempt.traceback if sees_payload else None,
            )
            for attempt in queries.attempts(state().database, job_id)
        ]
    )


@door("/<job_id>/logs", scope="read", tag=TAG, query=TokenQuery, opens_to_token=True, answers={200: Log})
def list_log(job_id: str, query: TokenQuery) -> Log:
    """List what a job logged and what was done to it."""
    existing(queries.find(state().database, job_id, scope=caller().scope))
    lines = queries.timeline(state().database, job_id)
    return Log(
        data=[LogLine(id=e.id, at=e.at, kind=e.kind, attempt=e.attempt, message=e.message) for e in lines],
    )
