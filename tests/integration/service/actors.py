"""What the service's workers run, the well-behaved and the others."""

from __future__ import annotations

import ctypes
import os
import signal
import time

from flask_understudy import Limit, current_job, step
from tests.integration.service.ext import Effect, db, effect, jobs, leave

LONG = 120_000


def pause(seconds: float) -> None:
    """Sleep so that an interrupt gets through."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(0.02, left))


def die() -> None:
    """End this process as the kernel would."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


@jobs.actor(queue_name="work", max_retries=3, min_backoff=200)
def quick(n: int = 0) -> int:
    leave("end")
    return n


@jobs.actor(queue_name="work", max_retries=3, min_backoff=200, time_limit=LONG)
def slow(seconds: float) -> int:
    leave("start")
    pause(seconds)
    leave("end")
    return current_job.fence


@jobs.actor(queue_name="work", max_retries=3, min_backoff=200, time_limit=LONG)
def stubborn(seconds: float) -> int:
    """One call into C that no interrupt ends."""
    leave("start")
    time.sleep(seconds)
    leave("end")
    return current_job.fence


@jobs.actor(queue_name="work", max_retries=3, min_backoff=200, time_limit=LONG)
def silent(seconds: float) -> int:
    """Needs the database for nothing but the job itself."""
    pause(seconds)
    return current_job.fence


@jobs.actor(queue_name="work", max_retries=3, min_backoff=200, time_limit=LONG)
def obedient(seconds: float) -> None:
    leave("start")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        current_job.check_cancelled()
        time.sleep(0.02)
    leave("end")


@jobs.actor(queue_name="work", max_retries=0)
def letter(seconds: float, is_good: bool = True) -> None:
    """One of a batch."""
    leave("start")
    pause(seconds)
    leave("end")
    if not is_good:
        raise ValueError("no such address")


@jobs.actor(queue_name="work", max_retries=0)
def over(what: str, batch_id: str) -> list[str]:
    """What follows the end of a batch."""
    return [what, batch_id]


@jobs.actor(queue_name="work", max_retries=3, min_backoff=200, limit=Limit(concurrency=2))
def two_at_a_time(seconds: float) -> None:
    leave("start")
    pause(seconds)
    leave("end")


@jobs.actor(queue_name="work", max_retries=0, limit=Limit(rate="5/second"))
def paced() -> None:
    leave("end")


@jobs.actor(queue_name="work", max_retries=2, min_backoff=100, jitter=0)
def failing() -> None:
    leave("start")
    raise ValueError("this never works")


@jobs.actor(queue_name="work", max_retries=3, min_backoff=500, jitter=0)
def second_time_lucky() -> None:
    if current_job.attempt == 1:
        raise ValueError("not yet")
    leave("end")


@jobs.actor(queue_name="work", max_retries=10, min_backoff=200)
def poison() -> None:
    leave("start")
    die()


@jobs.actor(queue_name="work", max_retries=3, min_backoff=200)
def crash_once() -> None:
    leave("start")
    if current_job.fence == 1:
        die()
    leave("end")


@jobs.actor(queue_name="work", max_retries=10, min_backoff=100, time_limit=LONG)
def exact(seconds: float, children: int = 0) -> int:
    """Leaves its effect, and sends its children, in the transaction that completes it."""
    leave("start")
    with current_job.transaction() as session:
        session.add(effect("exact"))
        session.flush()
        for n in range(children):
            quick.send(n)
        pause(seconds)
    pause(seconds)
    return current_job.fence


@jobs.actor(queue_name="work", max_retries=3, min_backoff=200)
def parent(children: int) -> None:
    jobs.send_many([quick.message(n) for n in range(children)])
    leave("end")


@jobs.actor(queue_name="work", max_retries=3, min_backoff=200, time_limit=LONG)
def gil_holding(seconds: int) -> int:
    """A call into C that keeps the interpreter's lock, as a bad extension module does."""
    leave("start")
    ctypes.PyDLL(None).sleep(seconds)
    leave("end")
    return current_job.fence


@jobs.actor(queue_name="mail", fallback="sync", max_retries=3, min_backoff=200)
def urgent(seconds: float = 0.0) -> int:
    pause(seconds)
    leave("end")
    return os.getpid()


@jobs.actor(queue_name="mail", fallback="sync", max_retries=3, min_backoff=200, jitter=0)
def urgent_and_failing_once() -> None:
    if current_job.attempt == 1:
        raise ValueError("the mail server said no")
    leave("end")


@jobs.actor(queue_name="mail", fallback="hold", max_retries=3, min_backoff=200)
def patient() -> None:
    leave("end")


@jobs.actor(queue_name="mail", fallback="fail", max_retries=3, min_backoff=200)
def strict() -> None:
    leave("end")


@jobs.actor(queue_name="work", max_retries=20, min_backoff=100, time_limit=LONG)
def five_steps(way: str) -> list[int]:
    """Its process dies after each of its steps, once; what each of them leaves is committed with it."""

    def leave_in_transaction(n: int) -> int:
        if way == "own":
            with current_job.transaction() as session:
                session.add(effect(f"step {n}"))
            return 0
        db.session.add(effect(f"step {n}"))
        return n

    done = []
    for n in range(5):
        result = step.run(f"step {n}", leave_in_transaction, n, transaction=way == "kept")
        done.append(result or 0)
        dies_here = db.session.query(Effect).filter_by(job_id=current_job.id, kind=f"death {n}").count() == 0
        db.session.rollback()
        if dies_here:
            leave(f"death {n}")
            die()
    leave("end")
    return done


@jobs.actor(queue_name="work", max_retries=0, time_limit=LONG)
def napping(seconds: float) -> int:
    step.run("before", leave, "before")
    step.sleep("nap", seconds=seconds)
    step.run("after", leave, "after")
    leave("end")
    return current_job.attempt


@jobs.schedule("every 1 second", name="tick")
@jobs.actor(queue_name="ticks", max_retries=0)
def tick() -> None:
    leave("end")


__all__ = ["db", "jobs"]
