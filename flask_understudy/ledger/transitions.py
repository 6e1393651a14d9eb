"""The only writer of `Job.state`: each legal move (T1 to T12 of docs/job-states.md) is one guarded statement.

Every guard stands in the statement itself and every time is the database's, so two processes that disagree about the
world cannot both win. Functions take a connection and leave the transaction to the caller. Those that end jobs, or undo
that, tally it in the same transaction (`ledger.tallies`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection

from . import batches, moves, steps, turns, windows
from .job import CANCELLED, COMPLETED, FAILED, TERMINAL
from .limit import Numbers
from .statements import run
from .tallies import Tallies
from .windows import Thinning

MAX_HAND_BACKS = 50
MAX_CRASHES = 3


@dataclass(slots=True)
class NewJob:
    """A job on its way into the ledger; the columns of `Job` that the sender decides.

    Attributes:
        args: Encoded positional arguments, a JSON array.
        kwargs: Encoded keyword arguments, a JSON object.
        options: Encoded message options, a JSON object.
        tags: Encoded labels, a JSON array, or None.
        run_at: UTC text of `statements.moment`, or None = `delay_ms` from now.
        delay_ms: ms from the database's now.
        replay_of: The job that it repeats.
        event_id: The published event that it hears.
        limit_key: What it shares with the jobs that are limited together; it waits behind the gate of that name.
        batch_id: The batch that it is part of.
        debounce_key: A delayed job with the same key takes over its arguments instead.
        takes_turns: Whether it lets other tenants' jobs go between its own tenant's; see `turns`.
        numbers: What `limit_key` allows.
        thinning: How it makes way for others; see `windows`.
        twin: The job that does it instead, as `insert` found.
    """

    id: str
    tenant: str
    owner: str
    queue: str
    actor: str
    state: str
    priority: int
    args: str
    kwargs: str
    options: str
    fallback: str
    tags: str | None = None
    dedup_key: str | None = None
    correlation_id: str | None = None
    parent_id: str | None = None
    run_at: str | None = None
    delay_ms: int = 0
    expires_at: str | None = None
    max_attempts: int | None = None
    sensitive: bool = False
    replay_of: str | None = None
    event_id: str | None = None
    limit_key: str | None = None
    batch_id: str | None = None
    debounce_key: str | None = None
    takes_turns: bool = False
    numbers: Numbers | None = None
    thinning: Thinning | None = None
    twin: str | None = None

    @property
    def key(self) -> tuple[str, str] | None:
        """Whose key it shares, and which, or None."""
        return None if self.limit_key is None else (self.tenant, self.limit_key)


_RARE = ("limit_key", "batch_id", "debounce_key")
_ROW = NewJob.__slots__[: NewJob.__slots__.index("limit_key")]


@dataclass(slots=True)
class Claimed:
    """A job as its claimer sees it: decoded arguments, and the fence that guards every later write."""

    id: str
    queue: str
    actor: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    created_ms: int
    tenant: str
    owner: str
    priority: int
    correlation_id: str | None
    attempt: int
    max_attempts: int | None
    fence: int
    crashes: int
    hand_backs: int
    sensitive: bool
    run_ms: int
    turn_ms: int
    sequence: int
    limit_key: str | None = None
    batch_id: str | None = None

    @property
    def key(self) -> tuple[str, str] | None:
        """Whose key it shares, and which, or None."""
        return None if self.limit_key is None else (self.tenant, self.limit_key)


@dataclass(frozen=True, slots=True)
class Due:
    """A waiting job as a transport needs it: id, queue and place in the order, which is priority and turn.

    Attributes:
        is_gated: Whether it is held back for now, so that nobody needs to hear of it.
    """

    id: str
    queue: str
    priority: int
    turn_ms: int
    is_gated: bool = False


@dataclass(frozen=True, slots=True)
class Stray:
    """A claim as the ledger has it."""

    id: str
    fence: int
    queue: str
    priority: int
    turn_ms: int


@dataclass(slots=True)
class Ending:
    """How a claim ended other than by completing (T5, T6).

    Attributes:
        state: `delayed`, `waiting`, `failed` or `cancelled`.
        delay_ms: ms to the next attempt when `delayed`.
        charged: 1, or 0 for a hand-back and for a job that a step suspends.
        outcome: What the attempt's record says.
        crashes: 1 when the process of the job died.
        fingerprint: Shared by errors of the same kind.
    """

    id: str
    fence: int
    state: str
    outcome: str
    delay_ms: int = 0
    charged: int = 1
    error: str | None = None
    traceback: str | None = None
    reason: str | None = None
    result: str | None = None
    crashes: int = 0
    fingerprint: str | None = None


def insert(connection: Connection, jobs: Sequence[NewJob]) -> dict[str, int]:
    """T1: store jobs; return each one's turn (ms since 1970) by id. A missing id met a live twin or itself."""
    thinned = {job.id: due for job in jobs if job.thinning is not None and (due := _thin(connection, job)) is not None}
    jobs = [job for job in jobs if job.thinning is None]
    return thinned | _insert(connection, jobs) if jobs else thinned


def _insert(connection: Connection, jobs: Sequence[NewJob]) -> dict[str, int]:
    rows = [_row(job) for job in jobs]
    statement = moves.INSERT
    taken: dict[tuple[str, str, int], int] = {}
    for job, row in zip(jobs, rows, strict=True):
        if job.takes_turns and job.tenant and job.state == "waiting":
            sharer = (job.queue, job.tenant, job.priority)
            row["nth"] = taken[sharer] = taken.get(sharer, 0) + 1
            statement = moves.INSERT_IN_TURN
    return {row[0]: row[1] for row in run(connection, statement, rows=json.dumps(rows))}


def _row(job: NewJob) -> dict[str, Any]:
    """Return a job's columns; those that most jobs have none of only where there is one."""
    row = {name: getattr(job, name) for name in _ROW}
    for name in _RARE:
        if (value := getattr(job, name)) is not None:
            row[name] = value
    return row


def _thin(connection: Connection, job: NewJob) -> int | None:
    """Store a job that makes way for others of its key; return its turn, or None and note the one that does it."""
    thinning = job.thinning
    assert thinning is not None
    if thinning.most_ms is None:
        job.twin = windows.take(connection, job.tenant, thinning, job.id)
        if job.twin is None:
            return _insert(connection, [job]).get(job.id)
        if not thinning.keeps_last:
            return None
        job.state, job.debounce_key = "delayed", thinning.key
        job.delay_ms = windows.left_ms(connection, job.tenant, thinning)
    rows = json.dumps([_row(job)])
    pushes, most_ms = thinning.most_ms is not None, thinning.most_ms or 0
    id, due = run(connection, moves.INSERT_OR_RENEW, rows=rows, pushes=pushes, most_ms=most_ms).one()
    if id != job.id:
        job.twin = id
        return None
    job.twin = None
    if not pushes:
        windows.prolong(connection, job.tenant, thinning, id)
    return int(due)


def claim(connection: Connection, worker: str, ids: Sequence[str], *, suspects: bool = True) -> list[Claimed]:
    """T4: claim those of the announced jobs that may run now, but for those that a limit concerns: see `limits`.

    Args:
        connection: One on which the statement commits by itself, or a transaction.
        worker: The claimer.
        ids: The jobs.
        suspects: Whether jobs are wanted that ended a process before.
    """
    return _claimed(run(connection, moves.CLAIM, worker=worker, ids=list(ids), suspects=suspects))


def claim_next(connection: Connection, worker: str, queue: str, n: int, *, suspects: bool = True) -> list[Claimed]:
    """T4: claim the next `n` waiting jobs of a queue, by priority, then by turn; otherwise like `claim`."""
    return _claimed(run(connection, moves.CLAIM_NEXT, worker=worker, queue=queue, n=n, suspects=suspects))


def claim_within(
    connection: Connection,
    worker: str,
    ids: Sequence[str],
    queues: Sequence[str],
    tenants: Sequence[str],
    *,
    suspects: bool = True,
) -> list[Claimed]:
    """T4: claim jobs that `limits` found room for; otherwise like `claim`.

    Args:
        connection: In the transaction that holds the locks of those limits.
        worker: The claimer.
        ids: The jobs.
        queues: The limited queues among theirs that have room for them.
        tenants: The limited tenants among theirs that have room for them.
        suspects: Whether jobs are wanted that ended a process before.
    """
    found = run(
        connection,
        moves.CLAIM_WITHIN,
        worker=worker,
        ids=list(ids),
        queues=list(queues),
        tenants=list(tenants),
        suspects=suspects,
    )
    return _claimed(found)


def _claimed(result: Any) -> list[Claimed]:
    """Return the rows of a claim, read from the driver itself: this is the hottest path there is."""
    rows = result.cursor.fetchall()
    result.close()
    claimed = [
        Claimed(id, queue, actor, _loads(args), _loads(kwargs), _loads(options), *rest)
        for id, queue, actor, args, kwargs, options, *rest in rows
    ]
    claimed.sort(key=lambda job: (job.priority, job.turn_ms, job.sequence))
    return claimed


def _loads(text: str) -> Any:
    """Return a JSON array or object; the empty ones, which most are, without the parser."""
    return [] if text == "[]" else {} if text == "{}" else json.loads(text)


def complete(
    connection: Connection,
    worker: str,
    ends: Sequence[tuple[str, int, str | None]],
    tallies: Tallies | None = None,
) -> set[str]:
    """T5: record results, given as (id, fence, encoded result); return the ids whose claim still held.

    Args:
        connection: In a transaction.
        worker: Who held them.
        ends: What they returned.
        tallies: Where to tally them, for a caller that writes several moves' tallies together.
    """
    rows = [{"id": id, "fence": fence, "result": result} for id, fence, result in ends]
    result = run(connection, moves.COMPLETE, worker=worker, ids=[end[0] for end in ends], rows=json.dumps(rows))
    done = result.cursor.fetchall()
    result.close()
    own = Tallies() if tallies is None else tallies
    for _, tenant, queue, actor, busy, waited in done:
        own.add(tenant, queue, actor, COMPLETED, busy, waited)
    if tallies is None:
        own.write(connection)
    return {row[0] for row in done}


def end(
    connection: Connection, worker: str, endings: Sequence[Ending], tallies: Tallies | None = None
) -> dict[str, str]:
    """T5, T6: record attempts that did not complete; return the new state of each whose claim still held.

    Args:
        connection: In a transaction.
        worker: Who held them.
        endings: How they ended.
        tallies: As for `complete`.
    """
    rows = json.dumps([asdict(ending) for ending in endings])
    ids = [ending.id for ending in endings]
    charged = {ending.id for ending in endings if ending.charged}
    run(connection, moves.RECORD_ATTEMPTS, worker=worker, ids=ids, rows=rows)
    waits = {row[0]: row[1] for row in run(connection, moves.WAITED, ids=ids)}
    own = Tallies() if tallies is None else tallies
    states: dict[str, str] = {}
    for id, state, tenant, queue, actor, busy in run(connection, moves.END, worker=worker, ids=ids, rows=rows):
        states[id] = state
        if state in TERMINAL or id in charged:
            own.add(tenant, queue, actor, _outcome(state), busy, waits.get(id))
    if tallies is None:
        own.write(connection)
    return states


def _outcome(state: str) -> str:
    """Return what a tally calls the end of an attempt that left its job in a state."""
    return state if state in TERMINAL else "retried"


def _tally(connection: Connection, outcome: str, rows: Iterable[tuple[str, str, str]]) -> int:
    """Tally jobs that ended without an attempt, given as (tenant, queue, actor); return how many."""
    tallies, ended = Tallies(), list(rows)
    for tenant, queue, actor in ended:
        tallies.add(tenant, queue, actor, outcome, 0, 0)
    tallies.write(connection)
    return len(ended)


def promote(connection: Connection, n: int = 1000, *, fair: bool = True) -> list[Due]:
    """T2: make delayed jobs whose time has come waiting; with `fair` tenants take turns."""
    return _due(connection, run(connection, moves.PROMOTE, n=n), fair)


def _due(connection: Connection, rows: Iterable[Any], fair: bool) -> list[Due]:
    """Return jobs that have just come to wait, as (id, queue, priority, due in ms, tenant, gate), in their turn."""
    found = list(rows)
    of_tenants = [row[0] for row in found if row[4]] if fair else []
    placed = turns.place(connection, of_tenants) if of_tenants else {}
    return [
        Due(id, queue, priority, placed.get(id, due), gate is not None)
        for id, queue, priority, due, _, gate, *_ in found
    ]


def hasten(connection: Connection, *, ids: Sequence[str] | None = None, queue: str | None = None) -> None:
    """T2 before its time: make delayed jobs waiting, those named or those of a queue; None = any.

    What their steps sleep or wait for is over as well.
    """
    steps.hasten(connection, ids=ids, queue=queue)
    run(
        connection,
        moves.HASTEN,
        any_id=ids is None,
        ids=list(ids or ()),
        any_queue=queue is None,
        queue=queue or "",
    )


def strays(connection: Connection, worker: str, age_ms: int) -> list[Stray]:
    """Return the jobs that a worker has held for more than `age_ms`, by the ledger."""
    return [Stray(*row) for row in run(connection, moves.STRAYS, worker=worker, age_ms=-age_ms)]


def cancel(connection: Connection, ids: Sequence[str], reason: str) -> set[str]:
    """T9: cancel those of the jobs that wait, now or later; return their ids."""
    cancelled = list(run(connection, moves.CANCEL, ids=list(ids), reason=reason))
    _tally(connection, CANCELLED, (row[1:] for row in cancelled))
    return {row[0] for row in cancelled}


def drain(connection: Connection, queue: str, states: Sequence[str], *, tenant: str | None, n: int) -> int:
    """T9: cancel up to `n` jobs of a queue that are waiting or delayed, of a tenant or all; return how many."""
    rows = run(
        connection,
        moves.DRAIN,
        queue=queue,
        states=list(states),
        any_tenant=tenant is None,
        tenant=tenant or "",
        n=n,
    )
    return _tally(connection, CANCELLED, rows)


def crashes(connection: Connection, id: str) -> int:
    """Return how often a job ended its process since it last got on."""
    row = run(connection, moves.CRASHES, id=id).first()
    return 0 if row is None else int(row[0])


def request_cancel(connection: Connection, ids: Sequence[str], reason: str = CANCELLED) -> set[str]:
    """T9: ask the holders of those of the jobs that run to stop, for the reason that was given first; return them."""
    return {row[0] for row in run(connection, moves.REQUEST_CANCEL, ids=list(ids), reason=reason)}


def expire(connection: Connection, n: int = 1000) -> list[Any]:
    """T10: fail jobs whose time to run is over; return (id, queue, actor, tenant, attempt)."""
    expired = list(run(connection, moves.EXPIRE, n=n))
    _tally(connection, FAILED, ((tenant, queue, actor) for _, queue, actor, tenant, _ in expired))
    return expired


def reopen(connection: Connection, attempts: Mapping[str, int], *, fair: bool = True) -> list[Due]:
    """T11: make failed and cancelled jobs waiting again; return those that are.

    Args:
        connection: In a transaction.
        attempts: How many more attempts each job gets, by id.
        fair: Whether tenants take turns.

    Raises:
        IntegrityError: Two of the jobs have the same dedup key.
    """
    rows = [{"id": id, "attempts": n} for id, n in attempts.items()]
    tallies, found, states = Tallies(), [], []
    for state in (FAILED, CANCELLED):
        for row in run(connection, moves.REOPEN, ids=list(attempts), rows=json.dumps(rows), state=state):
            tallies.take_back(row[4], row[1], state)
            states.append(state)
            found.append(row)
    tallies.write(connection)
    steps.reopen(connection, [row[0] for row in found])
    batches.reopen(connection, [(row[6], row_state) for row, row_state in zip(found, states, strict=True) if row[6]])
    return _due(connection, found, fair)


def wake(connection: Connection, ids: Sequence[str], *, fair: bool = True) -> list[Due]:
    """T2 before its time: what suspended jobs waited for is there; return those that now wait to be claimed."""
    return _due(connection, run(connection, moves.WAKE, ids=sorted(ids)), fair)


def hasten_one(connection: Connection, id: str, *, fair: bool = True) -> Due | None:
    """T2 before its time: make a delayed job due now, whatever its steps sleep or wait for."""
    steps.hasten(connection, ids=[id])
    return next(iter(_due(connection, run(connection, moves.HASTEN_ONE, id=id), fair)), None)


def amend(
    connection: Connection,
    id: str,
    *,
    priority: int | None = None,
    queue: str | None = None,
    run_at: str | None = None,
    args: str | None = None,
    kwargs: str | None = None,
    fair: bool = True,
) -> Due | None:
    """Change a job that is waiting or delayed, but for what is None; return it, or None when it is neither.

    Where it gets another place in the order, it takes a new turn there.
    """
    moved = priority is not None or queue is not None or run_at is not None
    found = run(
        connection,
        moves.AMEND,
        id=id,
        priority=priority,
        queue=queue,
        run_at=run_at,
        args=args,
        kwargs=kwargs,
        moved=moved,
    )
    return next(iter(_due(connection, found, fair and moved)), None)


def delete(connection: Connection, ids: Sequence[str]) -> int:
    """T12: delete those of the jobs that have ended; return how many."""
    return _forget(connection, run(connection, moves.DELETE, ids=list(ids)))


def rescue(connection: Connection, worker: str, blamed: Sequence[str] | None, error: str) -> list[Any]:
    """T7: take the jobs of a dead worker back.

    Args:
        connection: In a transaction.
        worker: The worker whose lease expired; checked again in the statement.
        blamed: The jobs that were running when it died; None = unknown, all of them.
        error: What the blamed jobs' attempts record.

    Returns:
        Rows of (id, state, queue, priority, turn in ms, actor, tenant, attempt, reason).
    """
    held = [row[0] for row in run(connection, moves.HOLD_DEAD, worker=worker)]
    if not held:
        return []
    known = {
        "worker": worker,
        "ids": held,
        "all_blamed": blamed is None,
        "blamed": list(blamed or ()),
        "error": error,
    }
    run(connection, moves.RECORD_CRASHES, **known)
    rows = list(run(connection, moves.RESCUE, max_crashes=MAX_CRASHES, **known))
    tallies = Tallies()
    for id, state, queue, _, _, actor, tenant, *_, busy, waited in rows:
        if state in TERMINAL or blamed is None or id in blamed:
            tallies.add(tenant, queue, actor, _outcome(state), busy, waited)
    tallies.write(connection)
    return [row[:9] for row in rows]


def prune(
    connection: Connection,
    queues: Sequence[str],
    states: Sequence[str],
    age_ms: int,
    *,
    others: bool = False,
    tenant: str | None = None,
    n: int = 1000,
) -> int:
    """T12: delete up to `n` jobs that became terminal more than `age_ms` ago; return how many.

    Args:
        connection: In a transaction.
        queues: The queues meant; with `others` all but those.
        states: Terminal states.
        age_ms: How old, in ms since the end.
        others: Mean every queue that is not named.
        tenant: Whose jobs; None = every tenant's.
        n: At the most so many.
    """
    rows = run(
        connection,
        moves.PRUNE,
        queues=list(queues),
        states=list(states),
        age_ms=-age_ms,
        others=others,
        any_tenant=tenant is None,
        tenant=tenant or "",
        n=n,
    )
    return _forget(connection, rows)


def trim(connection: Connection, queue: str, keep: int, n: int = 1000) -> int:
    """T12: delete up to `n` completed jobs of a queue beyond its newest `keep`; return how many."""
    return _forget(connection, run(connection, moves.TRIM, queue=queue, keep=keep, n=n))


def _forget(connection: Connection, rows: Iterable[Any]) -> int:
    ids, tallies = [], Tallies()
    for id, tenant, queue, state in rows:
        ids.append(id)
        tallies.take_back(tenant, queue, state)
    tallies.write(connection)
    if ids:
        forget(connection, ids)
    return len(ids)


def forget(connection: Connection, ids: Sequence[str]) -> None:
    """Delete what the ledger still holds about deleted jobs."""
    run(connection, moves.PRUNE_ATTEMPTS, ids=list(ids))
    run(connection, moves.PRUNE_EVENTS, ids=list(ids))
    steps.forget(connection, ids)


def record_event(connection: Connection, id: str | Sequence[str], kind: str, message: str, attempt: int = 0) -> None:
    """Add a line to the timeline of a job or of several; those that are gone are passed over."""
    ids = [id] if isinstance(id, str) else list(id)
    run(connection, moves.RECORD_EVENT, ids=ids, kind=kind, message=message, attempt=attempt)
