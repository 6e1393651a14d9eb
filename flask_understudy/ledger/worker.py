"""The worker: one process that claims jobs, and the lease that tells it is alive."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, BigInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Moment


class Worker(Base):
    """A process that may hold jobs.

    Attributes:
        id: Random per boot, never the host's name.
        kind: `worker` (dramatiq), `in-process` (inside a web server) or `web` (sync fallback only).
        hostname: Where it runs.
        pid: Its process id there.
        queues: The queues it consumes.
        threads: Jobs it runs at a time.
        started_at: When it booted.
        lease_until: It is taken for dead after this, and its jobs are rescued.
        stopping: Whether it is to end as soon as what it runs has ended; `drained_at` is set as well.
        drained_at: Since when it is to claim nothing any more; what it runs goes on.
        suspects: When it is known to have died: ids of the jobs that were running; None = unknown.
        master_pid: The process that started it and others beside it, and ends them together; None = it is alone.
        memory_bytes: Of it in RAM at its last sign of life; None = its system does not tell.
        versions: The releases it runs, by name.
    """

    __tablename__ = "understudy_workers"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    hostname: Mapped[str] = mapped_column(Text)
    pid: Mapped[int]
    queues: Mapped[list[str]] = mapped_column(JSON)
    threads: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(Moment)
    lease_until: Mapped[datetime] = mapped_column(Moment)
    stopping: Mapped[bool] = mapped_column(server_default=text("false"))
    drained_at: Mapped[datetime | None] = mapped_column(Moment)
    suspects: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    master_pid: Mapped[int | None]
    memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    versions: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))


class Lease(Base):
    """A named leadership with a time limit; the clock's is named `clock`."""

    __tablename__ = "understudy_leases"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    holder: Mapped[str] = mapped_column(Text)
    until: Mapped[datetime] = mapped_column(Moment)
