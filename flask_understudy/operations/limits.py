"""Limits by key as operators see them, and what they may change about one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, tuple_
from sqlalchemy.orm import Session, load_only

from ..admission import admit_ended, mend
from ..errors import ConfigError, InvalidJob, JobNotFound
from ..ledger import ACTIVE, Job, gates
from ..ledger.limit import Numbers
from ..ledger.scope import EVERYTHING, Scope
from ..ledger.statements import run
from ..limit import LONGEST_KEY, check_concurrency, rate_of, rate_text
from ..state import State
from .transaction import after_commit, joined_session, transaction

Key = tuple[str, str]

_STANDING = """
SELECT l.tenant, l.key, l.concurrency, l.rate, l.per_ms, l.is_set,
    (SELECT count(*) FROM understudy_jobs AS a WHERE a.tenant = l.tenant AND a.limit_key = l.key
        AND a.limit_key IS NOT NULL AND a.gate IS NULL AND a.state IN ('waiting', 'active') AND a.state = 'active'),
    (SELECT count(*) FROM understudy_jobs AS g WHERE g.state = 'waiting' AND g.gate IS NOT NULL
        AND g.tenant = l.tenant AND g.gate = l.key)"""

LISTING = f"""
{_STANDING} FROM understudy_limits AS l
WHERE (:any_tenant OR l.tenant = :tenant) AND (:any_key OR l.key = :key)
    AND (l.tenant > :after_tenant OR (l.tenant = :after_tenant AND l.key > :after_key))
ORDER BY l.tenant, l.key LIMIT :n"""

NAMED = f"""
{_STANDING} FROM <rows:tenant text, key text> JOIN understudy_limits AS l ON l.tenant = r.tenant AND l.key = r.key
ORDER BY l.tenant, l.key"""

#: What is told of a job that holds a key.
_LIGHT = load_only(Job.actor, Job.queue, Job.tenant, Job.limit_key, Job.started_at)

#: Keys and jobs of them that are told of one queue.
MOST_KEYS, MOST_HOLDERS = 50, 1_000


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds for the jobs of a tenant that share a key.

    Attributes:
        concurrency: How many run at a time; None = any number.
        rate: Starts within a span of time, such as `5/10 seconds`; None = any number.
        is_set: Whether an operator set it, and not the code.
        active: How many run.
        held_back: How many wait for room.
    """

    tenant: str
    key: str
    concurrency: int | None
    rate: str | None
    is_set: bool
    active: int
    held_back: int


def listing(state: State, scope: Scope = EVERYTHING, *, after: Key | None = None, n: int = 50) -> list[Standing]:
    """Return the first `n` keys that are known, by tenant and key, after one of them."""
    return _found(state, scope, after=after, n=n)


def held(state: State, queue: str, scope: Scope = EVERYTHING) -> list[tuple[Standing, list[Job]]]:
    """Return the keys of the jobs of a queue that run, each with all jobs that run under it, the longest first.

    A key may be shared with jobs of other queues. `MOST_KEYS` keys are told of.
    """
    running = (Job.state == ACTIVE, Job.limit_key.is_not(None), scope.of(Job))
    keys = select(Job.tenant, Job.limit_key).where(*running, Job.queue == queue).distinct()
    keys = keys.order_by(Job.tenant, Job.limit_key).limit(MOST_KEYS)
    holders: dict[Key, list[Job]] = {}
    with Session(state.database.engine, expire_on_commit=False) as session:
        named = [(tenant, key) for tenant, key in session.execute(keys)]
        rows = json.dumps([{"tenant": tenant, "key": key} for tenant, key in named])
        standing = [_standing(row) for row in run(session.connection(), NAMED, rows=rows)] if named else []
        shared = select(Job).where(*running, tuple_(Job.tenant, Job.limit_key).in_(named)).options(_LIGHT)
        for job in session.scalars(shared.order_by(Job.started_at, Job.id).limit(MOST_HOLDERS)):
            holders.setdefault((job.tenant, str(job.limit_key)), []).append(job)
    return [(one, holders.get((one.tenant, one.key), [])) for one in standing]


def find(state: State, key: Key) -> Standing:
    """Return what holds for a key.

    Raises:
        JobNotFound: Nothing is known of it.
    """
    found = _found(state, Scope(key[0]), key=key[1], n=1)
    if not found:
        raise JobNotFound(f"There is no limit for the key {key[1]!r}.")
    return found[0]


def limit(state: State, key: Key, *, concurrency: int | None = None, rate: str | None = None) -> None:
    """Let so many jobs of a key run at a time and start within a span of time, whatever the code says from now on.

    What runs goes on when that is more.

    Args:
        state: The application's side of the library.
        key: Tenant and key; jobs that have it need not be there yet.
        concurrency: None = any number.
        rate: Such as `100/minute`; None = any number.

    Raises:
        InvalidJob: A value is out of range.
    """
    tenant, name = key
    if not 0 < len(name) <= 2 * LONGEST_KEY or not name.isprintable():
        raise InvalidJob(f"key is {name[:80]!r}; it takes a printable text of up to {2 * LONGEST_KEY} characters.")
    try:
        check_concurrency(concurrency)
        numbers = Numbers(concurrency, *rate_of(rate))
    except ConfigError as problem:
        raise InvalidJob(str(problem)) from None
    with transaction(state) as connection:
        gates.declare_within(connection, key, numbers, is_set=True)
    after_commit(state, lambda: admit_ended(state, {(tenant, name)}))


def change(state: State, key: Key, changes: Mapping[str, Any]) -> None:
    """Change some of what holds for a key: `concurrency`, `rate`; what is not named stays; see `limit`.

    Raises:
        InvalidJob: Nothing is named, or a value is out of range.
    """
    if not changes:
        raise InvalidJob("Say what shall hold: concurrency, rate, or both; None lifts one.")
    try:
        now = find(state, key)
        held = {"concurrency": now.concurrency, "rate": now.rate}
    except JobNotFound:
        held = {}
    limit(state, key, **{**held, **changes})


def reset(state: State, key: Key) -> None:
    """Let the code say again what holds for a key.

    Raises:
        JobNotFound: Nothing is known of it.
    """
    with transaction(state) as connection:
        if not gates.forget_one(connection, key):
            raise JobNotFound(f"There is no limit for the key {key[1]!r}.")
    state.declared.pop(key, None)

    def declare_anew() -> None:
        mend(state)
        admit_ended(state, {key})

    after_commit(state, declare_anew)


def _found(
    state: State, scope: Scope, *, key: str | None = None, after: Key | None = None, n: int = 50
) -> list[Standing]:
    after_tenant, after_key = after or ("", "")
    with _connection(state) as connection:
        rows = run(
            connection,
            LISTING,
            any_tenant=scope.tenant is None,
            tenant=scope.tenant or "",
            any_key=key is None,
            key=key or "",
            after_tenant=after_tenant,
            after_key=after_key,
            n=n,
        ).all()
    return [_standing(row) for row in rows]


def _standing(row: Any) -> Standing:
    tenant, key, concurrency, rate, per_ms, is_set, active, held_back = row
    return Standing(tenant, key, concurrency, rate_text(rate, per_ms), bool(is_set), active, held_back)


@contextmanager
def _connection(state: State) -> Iterator[Connection]:
    """The caller's transaction where what it did is not committed yet, else a connection of our own."""
    joined = joined_session(state)
    if joined is not None:
        yield joined.connection(bind_arguments={"mapper": Job})
        return
    with state.database.engine.connect() as connection:
        yield connection
