"""The shapes of the REST API: camelCase outside, times in RFC 3339 UTC."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ..contrib.api import Instant
from ..ledger import Job


class Shape(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class JobSummary(Shape):
    """A job as lists show it."""

    id: str
    type: str = Field(description="The actor's name.")
    queue: str
    state: str = Field(description="delayed, waiting, active, completed, failed or cancelled.")
    priority: int = Field(description="Lower runs first.")
    tenant: str
    owner: str = Field(description="The subject that asked for it.")
    tags: list[str]
    progress: int = Field(description="0 to 100.")
    progress_message: str | None
    attempts_made: int
    max_attempts: int | None = Field(description="null = no limit.")
    created_at: Instant
    run_at: Instant = Field(description="Not before this time.")
    expires_at: Instant | None
    started_at: Instant | None
    finished_at: Instant | None
    duration_ms: int | None = Field(description="From the latest start to the end.")
    error: str | None = Field(description="Type and message of the latest error.")
    reason: str | None = Field(description="Why it failed or was cancelled.")
    fingerprint: str | None = Field(description="Shared by failures of the same kind.")
    deduplication_key: str | None
    correlation_id: str | None
    parent_id: str | None
    replay_of: str | None
    event_id: str | None = Field(description="The published event that it hears; see /events.")
    batch_id: str | None = Field(description="The batch that it is part of; see /batches.")
    cancel_requested_at: Instant | None

    @classmethod
    def of(cls, job: Job) -> JobSummary:
        """Return a job's summary."""
        return cls(**summary(job))


class JobDetail(JobSummary):
    """A job with everything the caller may see of it."""

    payload: dict[str, Any] | None = Field(description="Arguments by name, secrets withheld; null without permission.")
    result: Any = Field(description="What the actor returned; null without permission.")
    worker: str | None = Field(description="The worker that holds it, or held it last; see /workers.")


def summary(job: Job) -> dict[str, Any]:
    """Return the fields of a `JobSummary`."""
    duration = job.finished_at - job.started_at if job.finished_at and job.started_at else None
    return {
        "id": job.id,
        "type": job.actor,
        "queue": job.queue,
        "state": job.state,
        "priority": job.priority,
        "tenant": job.tenant,
        "owner": job.owner,
        "tags": job.tags or [],
        "progress": job.progress,
        "progress_message": job.progress_message,
        "attempts_made": job.attempt,
        "max_attempts": job.max_attempts,
        "created_at": job.created_at,
        "run_at": job.run_at,
        "expires_at": job.expires_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "duration_ms": None if duration is None else max(0, round(duration.total_seconds() * 1000)),
        "error": job.error,
        "reason": job.reason,
        "fingerprint": job.fingerprint,
        "deduplication_key": job.dedup_key,
        "correlation_id": job.correlation_id,
        "parent_id": job.parent_id,
        "replay_of": job.replay_of,
        "event_id": job.event_id,
        "batch_id": job.batch_id,
        "cancel_requested_at": job.cancel_requested_at,
    }


__all__ = ["Instant", "JobDetail", "JobSummary", "Shape", "summary"]
