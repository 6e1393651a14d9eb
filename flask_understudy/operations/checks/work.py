"""Whether somebody does the work: workers, their queues, what waits, the clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from ...ledger import Queue
from ...ledger.statements import run
from ...state import State
from ..wording import age, counted, duration
from ..workers import listing
from .finding import ERROR, NOTE, OK, WARNING, Finding

WAITED_SECONDS = 60
LATE_SECONDS = 15
SAMPLE = 10_000

WAITING = """
SELECT j.queue, count(*), max(<ms:clock.at> - <ms:j.run_at>) FROM understudy_jobs AS j
CROSS JOIN (SELECT <now> AS at) AS clock
WHERE j.state = 'waiting' AND NOT EXISTS (
    SELECT 1 FROM understudy_queues AS q WHERE q.name = j.queue AND q.paused_at IS NOT NULL)
GROUP BY j.queue ORDER BY j.queue"""

LEASE = """
SELECT <ms:until> - <ms:clock.at> FROM understudy_leases CROSS JOIN (SELECT <now> AS at) AS clock
WHERE name = 'clock'"""

LATE = """
SELECT count(*), max(<ms:clock.at> - <ms:run_at>) FROM understudy_jobs CROSS JOIN (SELECT <now> AS at) AS clock
WHERE state = 'delayed' AND run_at < <after:-15000>"""

STALLED = """
SELECT count(*) FROM understudy_jobs AS j LEFT JOIN understudy_workers AS w ON w.id = j.worker_id
WHERE j.state = 'active' AND (w.id IS NULL OR w.lease_until < <now>)"""

LARGE = """
SELECT count(*), max(size) FROM (
    SELECT length(<text:args>) + length(<text:kwargs>) AS size FROM understudy_jobs
    WHERE state IN ('delayed', 'waiting', 'active') LIMIT :sample) AS live
WHERE size > :warn"""

START = "Start one: flask jobs worker"
RESUME = "If nobody means it any more: flask jobs workers resume ID, or start the worker anew. See: flask jobs workers"


def workers(state: State) -> Iterator[Finding]:
    """Look whether processes are alive that run jobs."""
    found = [row for row in listing(state) if row.worker.kind != "web"]
    alive = [row for row in found if row.is_alive]
    drained = [row for row in alive if row.worker.drained_at is not None]
    dead = len(found) - len(alive)
    waits = any(n for _, n, _ in _waiting(state))
    if alive:
        threads = sum(row.worker.threads for row in alive)
        active = sum(row.active for row in alive)
        hosts = len({row.worker.hostname for row in alive})
        told = f"{counted(len(alive), 'worker')} on {counted(hosts, 'host')}"
        yield Finding(OK, f"{told}; {active} of {counted(threads, 'thread')} busy")
        if active >= threads and waits:
            remedy = "More threads or processes, or a worker of its own for slow queues: flask jobs worker --queues …"
            yield Finding(NOTE, "every thread is busy and jobs wait", remedy)
        if drained:
            yield Finding(NOTE, f"{counted(len(drained), 'worker')} of them drained: they claim nothing", RESUME)
    elif waits:
        yield Finding(ERROR, "no worker is alive, and jobs wait", START)
    else:
        yield Finding(WARNING, "no worker is alive", START)
    if dead:
        yield Finding(WARNING, f"the lease of {counted(dead, 'worker')} has run out: it died, or hangs", "See its log.")


def _waiting(state: State) -> list[tuple[str, int, int]]:
    with state.database.engine.connect() as connection:
        return [(queue, int(n), int(ms)) for queue, n, ms in run(connection, WAITING)]


def consumers(state: State) -> Iterator[Finding]:
    """Look whether each queue in which jobs wait has a worker that consumes it."""
    alive = [row.worker for row in listing(state) if row.is_alive and row.worker.kind != "web"]
    if not alive:
        return
    consumed = {queue for worker in alive for queue in worker.queues if worker.drained_at is None}
    drained = {queue for worker in alive for queue in worker.queues} - consumed
    lonely = [(queue, n) for queue, n, _ in _waiting(state) if queue not in consumed]
    for queue, n in lonely:
        if queue in drained:
            found = f"{counted(n, 'job')} wait in {queue}, and no worker takes them: all that consume it are drained"
            yield Finding(WARNING, found, RESUME)
            continue
        remedy = f"Run: flask jobs worker --queues {queue}, or start the workers with the module that declares it."
        yield Finding(ERROR, f"{counted(n, 'job')} wait in {queue}, which no worker consumes", remedy)
    if not lonely:
        yield Finding(OK, "every queue in which jobs wait has a worker")


def waiting(state: State) -> Iterator[Finding]:
    """Look how long jobs have waited."""
    rows = _waiting(state)
    long = [(queue, n, ms) for queue, n, ms in rows if ms > WAITED_SECONDS * 1000]
    for queue, n, ms in long:
        remedy = "Is a worker alive, is it busy, is the queue limited? See: flask jobs workers, flask jobs queues"
        yield Finding(WARNING, f"{counted(n, 'job')} wait in {queue}, the first for {duration(ms / 1000)}", remedy)
    if not long:
        yield Finding(OK, f"{counted(sum(n for _, n, _ in rows), 'job')} wait, none for more than {WAITED_SECONDS} s")


def paused(state: State) -> Iterator[Finding]:
    """Look which queues somebody paused."""
    with Session(state.database.engine) as session:
        for queue in session.scalars(select(Queue).where(Queue.paused_at.is_not(None)).order_by(Queue.name)):
            remedy = f"If nobody means it any more: flask jobs queues resume {queue.name}"
            yield Finding(NOTE, f"the queue {queue.name} was paused {age(queue.paused_at)}", remedy)


def clock(state: State) -> Iterator[Finding]:
    """Look whether a clock leads, and does what is due."""
    with state.database.engine.connect() as connection:
        left = run(connection, LEASE).scalar()
        late, ms = run(connection, LATE).one()
    is_held = left is not None and int(left) >= 0
    if is_held:
        yield Finding(OK, "a clock leads")
    else:
        remedy = "It runs in the workers. " + START
        yield Finding(WARNING, "no clock leads: delayed jobs, schedules and rescues wait", remedy)
    if late:
        remedy = "Look for `The clock's turn … failed` in the workers' log." if is_held else START
        yield Finding(
            WARNING, f"{counted(late, 'delayed job')} should have been due for up to {duration(ms / 1000)}", remedy
        )


def stalled(state: State) -> Iterator[Finding]:
    """Look for jobs whose worker is gone."""
    with state.database.engine.connect() as connection:
        n = int(run(connection, STALLED).scalar_one())
    if n:
        remedy = "A leading clock takes them back within a minute; without one, start a worker: flask jobs worker"
        yield Finding(WARNING, f"{counted(n, 'job')} belong to workers that are gone", remedy)
    else:
        yield Finding(OK, "every running job has a live worker")


def embedded(state: State) -> Iterator[Finding]:
    """Look whether several web processes of one host run a worker each."""
    rows = [row for row in listing(state) if row.worker.kind == "in-process" and row.is_alive]
    for host, n in Counter(row.worker.hostname for row in rows).items():
        if n > 1:
            remedy = "Set UNDERSTUDY_WORKER=off for the web and run: flask jobs worker"
            yield Finding(WARNING, f"{n} web processes on {host} each run a worker", remedy)


def payloads(state: State) -> Iterator[Finding]:
    """Look for arguments near the limit."""
    config = state.config
    with state.database.engine.connect() as connection:
        n, largest = run(connection, LARGE, sample=SAMPLE, warn=config.warn_payload_bytes).one()
    if n:
        found = (
            f"the arguments of {counted(n, 'live job')} take up to {largest:,} of {config.max_payload_bytes:,} bytes"
        )
        yield Finding(WARNING, found, "Store the data, and send its id.")
    else:
        yield Finding(OK, f"no live job's arguments take more than {config.warn_payload_bytes:,} bytes")
