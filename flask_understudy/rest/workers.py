"""The processes that run the jobs. They are shared by all tenants, so this is for callers who may see every tenant."""

from __future__ import annotations

from pydantic import Field

from ..operations import workers as operations
from .callers import state
from .doors import door
from .shapes import Instant, Shape

TAG = "Workers"


class WorkerShape(Shape):
    """A process."""

    id: str
    kind: str = Field(description="worker, in-process, or web for the fallback alone.")
    hostname: str
    pid: int
    queues: list[str]
    threads: int
    active: int = Field(description="Jobs it runs now.")
    is_alive: bool = Field(description="Whether its lease holds.")
    leads_clock: bool = Field(description="Whether its clock is the one that fires what is due.")
    is_stopping: bool = Field(description="Whether it is shutting down.")
    started_at: Instant
    lease_until: Instant
    drained_at: Instant | None = Field(description="Since when it claims nothing any more; null = it claims.")

    @classmethod
    def of(cls, process: operations.Process) -> WorkerShape:
        """Show a process."""
        worker = process.worker
        return cls(
            id=worker.id,
            kind=worker.kind,
            hostname=worker.hostname,
            pid=worker.pid,
            queues=worker.queues,
            threads=worker.threads,
            active=process.active,
            is_alive=process.is_alive,
            leads_clock=process.leads_clock,
            is_stopping=worker.stopping,
            started_at=worker.started_at,
            lease_until=worker.lease_until,
            drained_at=worker.drained_at,
        )


class Workers(Shape):
    """All processes."""

    data: list[WorkerShape]


class Asked(Shape):
    """The process that was asked."""

    id: str


@door("/workers", scope="tenants", tag=TAG, answers={200: Workers})
def list_workers() -> Workers:
    """List the processes that run jobs."""
    return Workers(data=[WorkerShape.of(process) for process in operations.listing(state())])


@door(
    "/workers/<worker_id>/drain",
    method="POST",
    scope="tenants",
    tag=TAG,
    audit_as="worker.drain",
    answers={202: Asked},
)
def drain_worker(worker_id: str) -> tuple[Asked, int]:
    """Let a process claim nothing any more, within a few seconds; what it runs goes on. `resume` undoes it."""
    operations.drain(state(), worker_id)
    return Asked(id=worker_id), 202


@door(
    "/workers/<worker_id>/resume",
    method="POST",
    scope="tenants",
    tag=TAG,
    audit_as="worker.resume",
    answers={202: Asked},
)
def resume_worker(worker_id: str) -> tuple[Asked, int]:
    """Let a drained process claim again, within a few seconds."""
    operations.resume(state(), worker_id)
    return Asked(id=worker_id), 202
