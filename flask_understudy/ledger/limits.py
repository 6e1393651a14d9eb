"""Claiming where tenants are paused, or tenants or queues may run only so many jobs at a time (invariant I10).

The claims of `transitions` pass over everything that a pause or a limit concerns; `claim` and `claim_next` here find
room for it. They lock the limits that concern the first jobs of the order, count what runs, and claim no more than is
free before they let go: the count holds over all processes and machines, at any instant.

A tenant that is full must not stand in the way of those behind it, and a look must cost the same however much it has
waiting. So when its jobs fill all that one look sees, they are parked: taken out of the order, to be found by their
tenant alone. Such a tenant's jobs are claimed from there as room comes free, each in its place in the order; when the
limit is lifted the clock puts them back. A paused tenant's jobs are parked as soon as they are seen, so that nobody is
told of them again and again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from . import transitions
from .locking import locked
from .moves import FRESH
from .statements import run
from .transitions import Claimed
from .turns import TURN

WINDOW = 200
ROUNDS = 8
KNOWN_SECONDS = 1.0

EXIST = """
SELECT EXISTS (SELECT 1 FROM understudy_tenants WHERE paused_at IS NOT NULL OR concurrency IS NOT NULL)
    OR EXISTS (SELECT 1 FROM understudy_queues WHERE concurrency IS NOT NULL)"""

_CANDIDATE = f"""id, queue, tenant, priority, <ms:{TURN}>, parked, <sequence>,
    tenant IN (SELECT name FROM understudy_tenants WHERE paused_at IS NOT NULL OR concurrency IS NOT NULL),
    queue IN (SELECT name FROM understudy_queues WHERE concurrency IS NOT NULL)
FROM understudy_jobs WHERE"""  # noqa: S608 - constants of this module

FIRST = f"""
SELECT {_CANDIDATE} queue = :queue AND state = 'waiting' AND NOT parked AND {FRESH}
    AND queue NOT IN (SELECT name FROM understudy_queues WHERE paused_at IS NOT NULL)
ORDER BY <in order> LIMIT :n"""  # noqa: S608

NAMED = f"SELECT {_CANDIDATE} id <any:ids> AND <apart:state> = 'waiting' AND {FRESH}"

FIRST_PARKED = f"""
SELECT {_CANDIDATE} queue = :queue AND tenant = :tenant AND state = 'waiting' AND parked AND {FRESH}
    AND queue NOT IN (SELECT name FROM understudy_queues WHERE paused_at IS NOT NULL)
ORDER BY <in order> LIMIT :n"""  # noqa: S608

#: The tenants that have parked jobs in a queue, by one step in the index for each; whether each is free, or paused.
PARKED_TENANTS = """
WITH RECURSIVE names(name) AS (
    SELECT min(tenant) FROM understudy_jobs WHERE state = 'waiting' AND parked AND queue = :queue
    UNION ALL
    SELECT (SELECT min(j.tenant) FROM understudy_jobs AS j
        WHERE j.state = 'waiting' AND j.parked AND j.queue = :queue AND j.tenant > names.name)
    FROM names WHERE names.name IS NOT NULL)
SELECT n.name, t.name IS NULL, t.paused_at IS NOT NULL FROM names AS n LEFT JOIN understudy_tenants AS t
    ON t.name = n.name AND (t.paused_at IS NOT NULL OR t.concurrency IS NOT NULL)
WHERE n.name IS NOT NULL"""

ANY_PARKED = "SELECT EXISTS (SELECT 1 FROM understudy_jobs WHERE state = 'waiting' AND parked)"

#: How many more jobs each tenant may run; NULL when it is paused.
TENANT_ROOM = """
SELECT t.name, CASE WHEN t.paused_at IS NULL THEN t.concurrency - coalesce(a.n, 0) END
FROM understudy_tenants AS t
LEFT JOIN (SELECT tenant, count(*) AS n FROM understudy_jobs WHERE state = 'active' GROUP BY tenant) AS a
    ON a.tenant = t.name
WHERE t.name <any:names> AND (t.paused_at IS NOT NULL OR t.concurrency IS NOT NULL)"""

QUEUE_ROOM = """
SELECT q.name, q.concurrency - (SELECT count(*) FROM understudy_jobs AS j WHERE j.state = 'active' AND j.queue = q.name)
FROM understudy_queues AS q WHERE q.name <any:names> AND q.concurrency IS NOT NULL"""

PARK = "UPDATE understudy_jobs SET parked = true WHERE id <any:ids> AND state = 'waiting'"

UNPARK = """
UPDATE understudy_jobs SET parked = false
WHERE id IN (SELECT id FROM understudy_jobs WHERE state = 'waiting' AND parked AND queue = :queue AND tenant = :tenant
    LIMIT :n) AND state = 'waiting'
RETURNING id"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A waiting job that may be claimed if there is room."""

    id: str
    queue: str
    tenant: str
    priority: int
    turn_ms: int
    parked: bool
    sequence: int
    tenant_is_limited: bool
    queue_is_limited: bool

    @property
    def place(self) -> tuple[int, int, int]:
        """Its place in the order."""
        return self.priority, self.turn_ms, self.sequence


@dataclass(slots=True)
class Look:
    """What a look at a queue found.

    Attributes:
        claimed: The jobs that are the claimer's now.
        held_back: Whether others wait for room, so that no announcement will tell when they may run.
    """

    claimed: list[Claimed] = field(default_factory=list)
    held_back: bool = False


class Knowledge:
    """Whether there is any limit at all, as a process knows it: read anew when it is a second old."""

    def __init__(self) -> None:
        self.limited = False
        self._read: float | None = None

    def exist(self, connection: Connection) -> bool:
        """Tell whether claims have to look at limits."""
        now = time.monotonic()
        if self._read is None or now - self._read > KNOWN_SECONDS:
            self.limited, self._read = exist(connection), now
        return self.limited


def exist(connection: Connection) -> bool:
    """Tell whether any tenant is paused or limited, or any queue limited."""
    return bool(run(connection, EXIST).scalar())


def claim(connection: Connection, worker: str, ids: Sequence[str], *, suspects: bool = True) -> list[Claimed]:
    """Claim those of the jobs that may run now and have room; a connection of `Database.claims`."""
    if not exist(connection):
        return transitions.claim(connection, worker, ids, suspects=suspects)
    named = [Candidate(*row) for row in run(connection, NAMED, ids=list(ids), suspects=suspects)]
    return _Picking(connection, worker, len(ids), suspects).claim(named, [])[0]


def claim_next(connection: Connection, worker: str, queue: str, n: int, *, suspects: bool = True) -> Look:
    """Claim the next `n` jobs of a queue that have room, by priority and turn; a connection of `Database.claims`."""
    look = Look()
    for _ in range(ROUNDS):
        window = n - len(look.claimed) + WINDOW
        first = [Candidate(*row) for row in run(connection, FIRST, queue=queue, n=window, suspects=suspects)]
        tenants = run(connection, PARKED_TENANTS, queue=queue).all()
        parked = [name for name, is_free, is_paused in tenants if not is_free and not is_paused]
        if not first and not parked:
            return look
        picking = _Picking(connection, worker, n - len(look.claimed), suspects)
        claimed, blocked = picking.claim(first, parked, queue, may_park=len(first) == window)
        look.claimed += claimed
        look.held_back = bool(blocked or parked)
        if len(look.claimed) >= n or not picking.again:
            return look
    return look


def any_parked(connection: Connection) -> bool:
    """Tell whether any job is out of the order."""
    return bool(run(connection, ANY_PARKED).scalar())


def unpark(connection: Connection, queue: str, n: int) -> int:
    """Put up to `n` parked jobs of a queue back into the order, of a tenant that is not limited; return how many."""
    for name, is_free, _ in run(connection, PARKED_TENANTS, queue=queue).all():
        if is_free:
            return len(run(connection, UNPARK, queue=queue, tenant=name, n=n).all())
    return 0


class _Picking:
    """Choosing among candidates, and claiming them, as far as there is room; `again` tells whether another look pays.

    Args:
        connection: On which each statement commits by itself.
        worker: The claimer.
        n: Jobs wanted at the most.
        suspects: Whether jobs are wanted that ended a process before.
    """

    def __init__(self, connection: Connection, worker: str, n: int, suspects: bool) -> None:
        self.connection = connection
        self.worker = worker
        self.n = n
        self.suspects = suspects
        self.again = False

    def claim(
        self,
        candidates: list[Candidate],
        parked: Sequence[str],
        queue: str = "",
        *,
        may_park: bool = False,
    ) -> tuple[list[Claimed], int]:
        """Claim what has room.

        Args:
            candidates: In any order.
            parked: Tenants with parked jobs, which are candidates too.
            queue: Where those are.
            may_park: Whether what has no room is in the way of others.

        Returns:
            What was claimed, and how many were left for want of room.
        """
        tenants = {c.tenant for c in candidates if c.tenant_is_limited} | set(parked)
        queues = {c.queue for c in candidates if c.queue_is_limited}
        if not tenants and not queues:
            ids = [c.id for c in sorted(candidates, key=lambda c: c.place)[: self.n]]
            claimed = transitions.claim(self.connection, self.worker, ids, suspects=self.suspects)
            self.again = len(claimed) < len(ids)  # others were faster
            return claimed, 0
        names = [f"tenant {name}" for name in tenants] + [f"queue {name}" for name in queues]
        with locked(self.connection, names):
            room = dict(run(self.connection, TENANT_ROOM, names=sorted(tenants)).all())
            queue_room = dict(run(self.connection, QUEUE_ROOM, names=sorted(queues)).all())
            for tenant in parked:
                most = min(room.get(tenant) or 0, self.n)
                if most > 0 and queue_room.get(queue, 1) > 0:
                    found = run(
                        self.connection, FIRST_PARKED, queue=queue, tenant=tenant, n=most, suspects=self.suspects
                    )
                    candidates = candidates + [Candidate(*row) for row in found]
            chosen, full, closed = self._choose(candidates, room, queue_room)
            claimed = (
                transitions.claim_within(
                    self.connection,
                    self.worker,
                    [c.id for c in chosen],
                    sorted(queue_room),
                    sorted(room),
                    suspects=self.suspects,
                )
                if chosen
                else []
            )
            may_park = may_park and len(chosen) < self.n and not closed
            paused = [c.id for c in full if room[c.tenant] is None]
            leave = [c.id for c in full if not c.parked] if may_park else paused
            if leave:
                run(self.connection, PARK, ids=leave)
            self.again = may_park or len(claimed) < len(chosen)  # or others were faster
        return claimed, len(full) - len(paused) + closed

    def _choose(
        self, candidates: list[Candidate], room: dict[str, int | None], queue_room: dict[str, int]
    ) -> tuple[list[Candidate], list[Candidate], int]:
        """Return what there is room for, what its tenant has none for, and how many more their queue has none for."""
        chosen: list[Candidate] = []
        full: list[Candidate] = []
        closed = 0
        for c in sorted(candidates, key=lambda c: c.place):
            if len(chosen) == self.n:
                break
            if queue_room.get(c.queue, 1) <= 0:
                closed += 1
            elif (left := room.get(c.tenant, 1)) is None or left <= 0:
                full.append(c)
            else:
                chosen.append(c)
                if c.tenant in room:
                    room[c.tenant] = left - 1
                if c.queue in queue_room:
                    queue_room[c.queue] -= 1
        return chosen, full, closed


__all__ = ["Candidate", "Knowledge", "Look", "any_parked", "claim", "claim_next", "exist", "unpark"]
