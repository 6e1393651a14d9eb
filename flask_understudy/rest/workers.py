"""The processes that run the jobs. They are shared by all tenants, so this is for callers who may see every tenant."""

from __future__ import annotations

from pydantic import Field

from ..contrib.api import Answer
from ..ledger import Job
from ..operations import workers as operations
from .callers import caller, state
from .doors import door, note
from .shapes import Instant, Shape

TAG = "Workers"


class WorkersJob(Shape):
    """A job that a process runs."""

    id: str
    type: str = Field(description="The actor's name.")
    queue: str
    tenant: str
    started_at: Instant | None

    @classmethod
    def of(cls, job: Job) -> WorkersJob:
        """Show a job."""
        return cls(id=job.id, type=job.actor, queue=job.queue, tenant=job.tenant, started_at=job.started_at)


class WorkerShape(Shape):
    """A process."""

    id: str
    kind: str = Field(description="worker, in-process, or web for the fallback alone.")
    hostname: str
    pid: int
    queues: list[str]
    threads: int
    active: int = Field(description="Jobs it runs now.")
    jobs: list[WorkersJob] = Field(description="Those, the longest-running first, 20 at the most.")
    memory_bytes: int | None = Field(
        description="Of it in RAM at its last sign of life; null = its system does not tell."
    )
    versions: dict[str, str] = Field(
        description="The releases it runs: application, if known, flask-understudy, dramatiq, python."
    )
    is_alive: bool = Field(description="Whether its lease holds.")
    leads_clock: bool = Field(description="Whether its clock is the one that fires what is due.")
    is_stopping: bool = Field(description="Whether it ends when what it runs has ended.")
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
            jobs=[WorkersJob.of(job) for job in process.jobs],
            memory_bytes=worker.memory_bytes,
            versions=worker.versions or {},
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


class Stopping(Shape):
    """The process that ends when it is idle."""

    id: str
    others: list[str] = Field(description="Those of the same command, which end with it, when all are idle.")


@door("/workers", scope="tenants", tag=TAG, answers={200: Workers})
def list_workers() -> Workers:
    """List the processes that run jobs, with the jobs that they run now."""
    found = operations.listing(state(), jobs_of=caller().scope)
    return Workers(data=[WorkerShape.of(process) for process in found])


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
    """Let a process claim again that was drained, or was to end and has not ended yet, within a few seconds."""
    operations.resume(state(), worker_id)
    return Asked(id=worker_id), 202


@door(
    "/workers/<worker_id>/stop",
    method="POST",
    scope="tenants",
    tag=TAG,
    audit_as="worker.stop",
    answers={202: Stopping},
    errors=(409,),
)
def stop_worker(worker_id: str) -> tuple[Stopping, int]:
    """Let a process claim nothing any more, and end it when what it runs has ended.

    Dramatiq ends all processes of one command when one of them ends, so they are all asked, and end when all are idle.
    Whether another is started in its place is its supervisor's matter. `resume` calls it off until then.
    """
    others = operations.stop(state(), worker_id)
    if others:
        note(others=others)
    return Stopping(id=worker_id, others=others), 202


@door(
    "/workers/<worker_id>",
    method="DELETE",
    scope="tenants",
    tag=TAG,
    audit_as="worker.forget",
    answers={204: Answer(description="It is forgotten.")},
    errors=(409,),
)
def forget_worker(worker_id: str) -> tuple[str, int]:
    """Remove a process that died; one that lives is a 409, as is one whose jobs have yet to be taken back."""
    operations.forget(state(), worker_id)
    return "", 204
