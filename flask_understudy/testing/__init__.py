"""Jobs in an application's own tests: what was sent, and running it here and now.

Jobs run in the thread that asks, one at a time, through all middleware, in an application context of their own, and
their ends are in the ledger when the call returns. No clock and no other thread works beside the test. All of it works
on PostgreSQL, on SQLite in a file and on SQLite in memory. With pytest the fixture `understudy` is a `TestWorker`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dramatiq

from ..ledger import Job
from ..state import State
from .outbox import AnyActor
from .worker import TestWorker, UncommittedWrites

if TYPE_CHECKING:
    from ..extension import Understudy


def run_job(jobs: Understudy | State, job: str | Job | dramatiq.Message[Any], *, raise_errors: bool = False) -> Job:
    """Run one job now; see `TestWorker.run`."""
    with TestWorker(jobs) as worker:
        return worker.run(job, raise_errors=raise_errors)


def drain(
    jobs: Understudy | State,
    queue: str | None = None,
    *,
    include_delayed: bool = False,
    limit: int = 1000,
    raise_errors: bool = False,
) -> list[Job]:
    """Run jobs until none is due; see `TestWorker.drain`."""
    with TestWorker(jobs) as worker:
        return worker.drain(queue, include_delayed=include_delayed, limit=limit, raise_errors=raise_errors)


def sent(jobs: Understudy | State, actor: AnyActor | str | None = None, queue: str | None = None) -> list[Job]:
    """Return the jobs that were accepted; see `TestWorker.sent`."""
    return TestWorker(jobs).sent(actor, queue)


def assert_sent(
    jobs: Understudy | State,
    actor: AnyActor | str,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    queue: str | None = None,
    times: int | None = None,
) -> list[Job]:
    """Assert that an actor was sent; see `TestWorker.assert_sent`."""
    return TestWorker(jobs).assert_sent(actor, args=args, kwargs=kwargs, queue=queue, times=times)


__all__ = ["TestWorker", "UncommittedWrites", "assert_sent", "drain", "run_job", "sent"]
