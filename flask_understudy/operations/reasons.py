"""Why a job does not run yet, in a sentence."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..ledger import DELAYED, WAITING, Job, Queue, Step, Tenant, Worker, queries
from ..ledger.step import RETRYING, SLEEPING
from ..state import State
from .awaited import awaited


def reason_to_wait(state: State, job: Job) -> str | None:
    """Return why a job waits; None when it runs or has ended.

    The first of what keeps it is told: that it awaits a decision or an event, is asleep, not yet due, held back by a
    limit of its key, paused with its queue or tenant, that nobody works on its queue, or that others are before it.
    """
    if job.state not in {DELAYED, WAITING}:
        return None
    with Session(state.database.engine) as session:
        if job.state == DELAYED:
            return _why_delayed(state, session, job)
        queue = session.get(Queue, job.queue)
        if queue is not None and queue.paused_at is not None:
            return f"The queue {job.queue} is paused. Resume it, and this job runs in its turn."
        tenant = session.get(Tenant, job.tenant) if job.tenant else None
        if tenant is not None and tenant.paused_at is not None:
            return f"The tenant {job.tenant} is paused."
        if job.gate is not None:
            return f"As many jobs as are allowed with the key {job.limit_key!r} run already, or ran lately."
        if job.parked and tenant is not None and tenant.concurrency is not None:
            return f"The tenant {job.tenant} runs as many jobs as it may, {tenant.concurrency}."
        living = select(Worker.queues, Worker.drained_at).where(Worker.lease_until > datetime.now(UTC))
        drained = [at is not None for queues, at in session.execute(living) if queues and job.queue in queues]
    if drained and all(drained):
        return f"Every worker that takes jobs of the queue {job.queue} is drained. Resume one, and this job runs."
    if not drained:
        return f"No worker takes jobs of the queue {job.queue}. Start one: dramatiq, or flask jobs worker."
    if queue is not None and queue.concurrency is not None:
        active = queries.stats(state.database, [job.queue])[job.queue]["active"]
        if active >= queue.concurrency:
            return f"The queue runs as many jobs as it may, {queue.concurrency}."
    return "It waits for a free worker; those that are more urgent, or came before, go first."


def _why_delayed(state: State, session: Session, job: Job) -> str:
    due = job.run_at.replace(tzinfo=UTC) if job.run_at.tzinfo is None else job.run_at
    moment = due.strftime("%Y-%m-%d %H:%M:%S UTC")
    if (waits := awaited(state, job)) is not None:
        without = "as not approved" if waits.event is None else "without the event"
        return f"It awaits {waits.described} in step {waits.step!r}; at {moment} it goes on {without}."
    asleep = (Step.job_id == job.id, Step.state.in_((SLEEPING, RETRYING)), Step.wake_at.is_not(None))
    step = session.scalars(select(Step).where(*asleep).order_by(Step.wake_at).limit(1)).first()
    if step is not None and due > datetime.now(UTC):
        what = "sleeps until" if step.state == SLEEPING else "failed and is tried again at"
        return f"Its step {step.name!r} {what} {moment}."
    if job.attempt > 0 and job.error:
        return f"Attempt {job.attempt} failed; the next one is due at {moment}."
    if due <= datetime.now(UTC):
        return "It is due, and the clock makes it waiting within a second; if it does not, no worker lives."
    return f"It is due at {moment}."
