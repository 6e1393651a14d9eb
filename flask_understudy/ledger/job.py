"""The job: the ledger's record of one request for work."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment

DELAYED = "delayed"
WAITING = "waiting"
ACTIVE = "active"
COMPLETED = "completed"
FAILED = "failed"
CANCELLED = "cancelled"

STATES = (DELAYED, WAITING, ACTIVE, COMPLETED, FAILED, CANCELLED)
LIVE = (DELAYED, WAITING, ACTIVE)
TERMINAL = (COMPLETED, FAILED, CANCELLED)

_LIVE_WITH_KEY = text("dedup_key IS NOT NULL AND state IN ('delayed', 'waiting', 'active')")


def _where(condition: str) -> dict[str, Any]:
    return {"postgresql_where": text(condition), "sqlite_where": text(condition)}


class Job(Base):
    """One request for work and what became of it. Only `ledger.transitions` writes `state`.

    Attributes:
        id: The message's id, given by the sender.
        tenant: Whose job it is; empty when the app has no tenants.
        owner: The subject that asked for it; empty when unknown.
        queue: The queue's name.
        actor: The actor's name.
        state: One of `STATES`; the moves between them are in docs/job-states.md.
        priority: Lower runs first.
        args: Positional arguments.
        kwargs: Keyword arguments.
        options: Dramatiq's message options.
        fallback: What happens while the broker is down: `sync`, `hold` or `fail`.
        tags: Labels given by the sender.
        dedup_key: No second live job of the tenant has the same key.
        correlation_id: Shared by all jobs that one request led to.
        parent_id: The job that sent this one.
        run_at: Not before this time.
        turn_at: Its place among the waiting jobs of its priority, where that is not `run_at`; see `ledger.turns`.
        parked: Whether it was taken out of the order, as its tenant is paused or at its limit; see `ledger.limits`.
        expires_at: Not after this time; then the job fails as expired.
        created_at: When it was accepted.
        started_at: When its latest attempt was claimed.
        finished_at: When it became terminal.
        worker_id: Who holds it, or held it last.
        attempt: Claims that count; the number of the current attempt.
        max_attempts: Attempts allowed; None = no limit.
        fence: Claims in total; grows with each and never repeats.
        hand_backs: Claims given back without being charged.
        crashes: Attempts that ended with the death of their process.
        progress: 0 to 100.
        progress_message: What the job says it is doing.
        result: What the actor returned.
        error: Type and message of the latest error.
        reason: Why it failed: `error`, `exhausted`, `expired`, `poison`, `hand_backs`, `steps_changed`; or why it was
            cancelled.
        cancel_requested_at: When a running job was asked to stop.
        sensitive: Whether all its arguments and its result are withheld.
        fingerprint: Shared by the jobs that failed alike; of the latest error.
        replay_of: The job that this one repeats.
        event_id: The published event that this job hears, or None.
        limit_key: What it shares with the jobs that are limited together; see `ledger.gates`.
        gate: That key while the job is held back before it; None once it may be claimed.
        batch_id: The batch that it is part of.
        debounce_key: While it is delayed, a send with the same key changes this job instead; see `ledger.windows`.
    """

    __tablename__ = "understudy_jobs"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    tenant: Mapped[str] = mapped_column(Text, server_default="")
    owner: Mapped[str] = mapped_column(Text, server_default="")
    queue: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    priority: Mapped[int] = mapped_column(SmallInteger)
    args: Mapped[list[Any]] = mapped_column(JSON, server_default="[]")
    kwargs: Mapped[dict[str, Any]] = mapped_column(JSON, server_default="{}")
    options: Mapped[dict[str, Any]] = mapped_column(JSON, server_default="{}")
    fallback: Mapped[str] = mapped_column(Text, server_default="hold")
    tags: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    dedup_key: Mapped[str | None] = mapped_column(Text)
    correlation_id: Mapped[str | None] = mapped_column(Text)
    parent_id: Mapped[str | None] = mapped_column(Text)
    run_at: Mapped[datetime] = mapped_column(Moment)
    turn_at: Mapped[datetime | None] = mapped_column(Moment)
    parked: Mapped[bool] = mapped_column(server_default=text("false"))
    expires_at: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment)
    started_at: Mapped[datetime | None] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
    worker_id: Mapped[str | None] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(server_default="0")
    max_attempts: Mapped[int | None]
    fence: Mapped[int] = mapped_column(server_default="0")
    hand_backs: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    crashes: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    progress: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    progress_message: Mapped[str | None] = mapped_column(Text)
    result: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True)
    error: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    cancel_requested_at: Mapped[datetime | None] = mapped_column(Moment)
    sensitive: Mapped[bool] = mapped_column(server_default=text("false"))
    fingerprint: Mapped[str | None] = mapped_column(Text)
    replay_of: Mapped[str | None] = mapped_column(Text)
    event_id: Mapped[str | None] = mapped_column(Text)
    limit_key: Mapped[str | None] = mapped_column(Text)
    gate: Mapped[str | None] = mapped_column(Text)
    batch_id: Mapped[str | None] = mapped_column(Text)
    debounce_key: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        Index(
            "ix_understudy_jobs_next",
            "queue",
            "priority",
            text("coalesce(turn_at, run_at)"),
            **_where("state = 'waiting' AND NOT parked AND gate IS NULL"),
        ),
        Index(
            "ix_understudy_jobs_parked",
            "queue",
            "tenant",
            "priority",
            text("coalesce(turn_at, run_at)"),
            **_where("state = 'waiting' AND parked"),
        ),
        Index(
            "ix_understudy_jobs_turns",
            "queue",
            "tenant",
            "priority",
            "turn_at",
            **_where("state = 'waiting' AND tenant <> ''"),
        ),
        Index(
            "ix_understudy_jobs_gated",
            "tenant",
            "gate",
            "priority",
            text("coalesce(turn_at, run_at)"),
            **_where("state = 'waiting' AND gate IS NOT NULL"),
        ),
        Index(
            "ix_understudy_jobs_admitted",
            "tenant",
            "limit_key",
            **_where("limit_key IS NOT NULL AND gate IS NULL AND state IN ('waiting', 'active')"),
        ),
        Index("ix_understudy_jobs_batch", "batch_id", "state", **_where("batch_id IS NOT NULL")),
        Index("ix_understudy_jobs_due", "run_at", **_where("state = 'delayed'")),
        Index("ix_understudy_jobs_held", "worker_id", **_where("state = 'active'")),
        Index("ix_understudy_jobs_ended", "finished_at", **_where("finished_at IS NOT NULL")),
        Index(
            "ix_understudy_jobs_ended_by",
            "tenant",
            "queue",
            "state",
            "finished_at",
            "id",
            **_where("finished_at IS NOT NULL"),
        ),
        Index("ix_understudy_jobs_created", "tenant", "created_at", "id"),
        Index("ix_understudy_jobs_failures", "tenant", "fingerprint", "finished_at", **_where("state = 'failed'")),
        Index("ix_understudy_jobs_failed", "finished_at", "fingerprint", **_where("state = 'failed'")),
        Index(
            "ix_understudy_jobs_expiring",
            "expires_at",
            **_where("expires_at IS NOT NULL AND state IN ('delayed', 'waiting')"),
        ),
        Index("ix_understudy_jobs_of_event", "event_id", **_where("event_id IS NOT NULL")),
        Index(
            "uq_understudy_jobs_dedup",
            "tenant",
            "dedup_key",
            unique=True,
            postgresql_where=_LIVE_WITH_KEY,
            sqlite_where=_LIVE_WITH_KEY,
        ),
        Index(
            "uq_understudy_jobs_debounce",
            "tenant",
            "debounce_key",
            unique=True,
            **_where("debounce_key IS NOT NULL AND state = 'delayed'"),
        ),
    )

    def __repr__(self) -> str:
        """Say which job it is without its arguments."""
        return f"<Job {self.id} {self.actor} {self.state} attempt {self.attempt}>"
