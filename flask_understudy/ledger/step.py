"""The step: a part of a job whose result is kept, so that the job goes on after it when its actor runs again."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment

COMPLETED = "completed"
FAILED = "failed"
TIMED_OUT = "timed_out"
RETRYING = "retrying"
SLEEPING = "sleeping"
WAITING = "waiting"

#: States that never change again.
FINAL = (COMPLETED, FAILED, TIMED_OUT)
#: States in which the job is suspended.
PENDING = (RETRYING, SLEEPING, WAITING)

RUN = "run"
SLEEP = "sleep"
WAIT = "wait"
APPROVAL = "approval"
PUBLISH = "publish"
PARALLEL = "parallel"
CHILD = "child"


class Step(Base):
    """One step of one job.

    Attributes:
        job_id: The job.
        position: Its place among the job's steps, from 0.
        name: Its name; `#2` follows when the name comes a second time, `all/a` is the child `a` of `all`.
        kind: `run`, `sleep`, `wait`, `approval`, `publish`, `parallel`, or `child` of the latter.
        state: `completed`, `failed` or `timed_out`; `retrying`, `sleeping` or `waiting` while the job is suspended.
        result: What it returned, the event that came, or what was decided: JSON as text, which SQLite would round.
        error: Type and message of its latest error.
        attempts: How often it was tried.
        started_at: When it was reached first.
        finished_at: When it came to its end.
        wake_at: When the job goes on at the latest.
        fence: The claim that wrote it last.
        worker_id: Who held that.
    """

    __tablename__ = "understudy_steps"

    job_id: Mapped[str] = mapped_column(Text, primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    result: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
    wake_at: Mapped[datetime | None] = mapped_column(Moment)
    fence: Mapped[int]
    worker_id: Mapped[str | None] = mapped_column(Text)
