"""The processes that run the jobs. They are shared by all tenants, so this is for callers who may see every tenant."""

from __future__ import annotations

from pydantic import Field

from ..operations import workers as operations
from .doors import door, state
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
    started_at: Instant
    lease_until: Instant
    drained_at: Instant | None = Field(description="Since when it claims nothing any more.")


class Workers(Shape):
    """All processes."""

    data: list[WorkerShape]


class Draining(Shape):
    """The process that claims nothing any more."""

    id: str


@door("/workers", scope="tenants", tag=TAG, answers={200: Workers})
def list_workers() -> Workers:
    """List the processes that run jobs."""
    return Workers(
        data=[
            WorkerShape(
                id=process.worker.id,
                kind=process.worker.kind,
                hostname=process.worker.hostname,
                pid=process.worker.pid,
                queues=process.worker.queues,
                threads=process.worker.threads,
                active=process.active,
                is_alive=process.is_alive,
                started_at=process.worker.started_at,
                lease_until=process.worker.lease_until,
                drained_at=process.worker.drained_at,
            )
            for process in operations.listing(state())
        ]
    )


@door(
    "/workers/<worker_id>/drain",
    method="POST",
    scope="tenants",
    tag=TAG,
    audit_as="worker.drain",
    answers={202: Draining},
)
def drain_worker(worker_id: str) -> tuple[Draining, int]:
    """Let a process claim nothing any more, within a few seconds; what it runs goes on."""
    operations.drain(state(), worker_id)
    return Draining(id=worker_id), 202
