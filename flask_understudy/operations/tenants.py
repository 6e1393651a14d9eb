"""What can be done to a tenant: holding its jobs back, and letting only so many of them run at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, union_all
from sqlalchemy.orm import Session

from ..errors import InvalidJob
from ..ledger import LIVE, STATES, TERMINAL, Count, Job, Tally, Tenant
from ..ledger.statements import run
from ..state import State
from .transaction import reading, transaction

MOST_NAME = 200

PAUSE = """
INSERT INTO understudy_tenants (name, paused_at) VALUES (:name, <now>)
ON CONFLICT (name) DO UPDATE SET paused_at = coalesce(understudy_tenants.paused_at, excluded.paused_at)"""

RESUME = "UPDATE understudy_tenants SET paused_at = NULL WHERE name = :name"

LIMIT = """
INSERT INTO understudy_tenants (name, concurrency) VALUES (:name, CAST(:concurrency AS integer))
ON CONFLICT (name) DO UPDATE SET concurrency = excluded.concurrency"""

FORGET = "DELETE FROM understudy_tenants WHERE name = :name AND paused_at IS NULL AND concurrency IS NULL"


#: By one step in the index for each, however many jobs it has.
NAMES = """
WITH RECURSIVE names(name, nth) AS (
    SELECT min(tenant), 1 FROM understudy_jobs WHERE tenant > :after
    UNION ALL
    SELECT (SELECT min(j.tenant) FROM understudy_jobs AS j WHERE j.tenant > names.name), nth + 1
    FROM names WHERE names.name IS NOT NULL AND nth < :n)
SELECT name FROM (SELECT name FROM names WHERE name IS NOT NULL
    UNION SELECT name FROM understudy_tenants WHERE name > :after) AS t
ORDER BY name LIMIT :n"""


@dataclass(frozen=True, slots=True)
class Standing:
    """A tenant as operators see it.

    Attributes:
        name: The tenant.
        paused_at: Since when none of its jobs is claimed; None = running.
        concurrency: Jobs of it that run at a time in all processes; None = no limit.
        counts: Its jobs by state.
    """

    name: str
    paused_at: datetime | None
    concurrency: int | None
    counts: dict[str, int]


def pause(state: State, name: str) -> None:
    """Claim no job of a tenant any more; what runs goes on. Effective with the next claim, everywhere.

    Raises:
        InvalidJob: The name cannot be a tenant's.
    """
    check(name)
    with transaction(state) as connection:
        run(connection, PAUSE, name=name)


def resume(state: State, name: str) -> None:
    """Claim a paused tenant's jobs again, within seconds.

    Raises:
        InvalidJob: The name cannot be a tenant's.
    """
    check(name)
    with transaction(state) as connection:
        run(connection, RESUME, name=name)
        run(connection, FORGET, name=name)


def limit(state: State, name: str, concurrency: int | None) -> None:
    """Let at most so many jobs of a tenant run at a time, in all processes; None = as many as there are threads.

    What runs goes on when that is more. Holds from the next claim on, everywhere.

    Raises:
        InvalidJob: The name cannot be a tenant's, or the number is below 1.
    """
    check(name)
    if concurrency is not None and concurrency < 1:
        raise InvalidJob(f"concurrency is {concurrency!r}; it takes a whole number, 1 or more, or None.")
    with transaction(state) as connection:
        run(connection, LIMIT, name=name, concurrency=concurrency)
        run(connection, FORGET, name=name)


def listing(state: State, *, after: str = "", n: int = 50) -> list[Standing]:
    """Return the first `n` tenants by name that come after `after`: those with jobs, and those paused or limited."""
    with reading(state) as session:
        names = run(session.connection(bind_arguments={"mapper": Job}), NAMES, after=after, n=n).scalars().all()
        return _standings(session, names)


def find(state: State, name: str) -> Standing | None:
    """Return a tenant that has jobs or is paused or limited, or None."""
    if not _is_name(name):
        return None
    tenant = standing(state, name)
    return tenant if any([*tenant.counts.values(), tenant.paused_at, tenant.concurrency]) else None


def standing(state: State, name: str) -> Standing:
    """Return a tenant, known or not."""
    with reading(state) as session:
        return _standings(session, [name])[0]


def _standings(session: Session, names: Sequence[str]) -> list[Standing]:
    rows = {row.name: row for row in session.scalars(select(Tenant).where(Tenant.name.in_(names)))}
    counts = {name: dict.fromkeys(STATES, 0) for name in names}
    live = select(Job.tenant, Job.state, func.count()).where(Job.tenant.in_(names), Job.state.in_(LIVE))
    ended = select(Count.tenant, Count.state, Count.n).where(Count.tenant.in_(names))
    fresh = select(Tally.tenant, Tally.outcome, Tally.n).where(Tally.tenant.in_(names), Tally.outcome.in_(TERMINAL))
    for name, state, n in session.execute(union_all(live.group_by(Job.tenant, Job.state), ended, fresh)):
        counts[name][state] += n
    return [
        Standing(name, getattr(rows.get(name), "paused_at", None), getattr(rows.get(name), "concurrency", None), found)
        for name, found in counts.items()
    ]


def check(name: str) -> None:
    """Refuse what cannot be a tenant's name.

    Raises:
        InvalidJob: It is empty, too long or not printable.
    """
    if not _is_name(name):
        raise InvalidJob(f"tenant is {name[:80]!r}; it takes a printable text of 1 to {MOST_NAME} characters.")


def _is_name(name: str) -> bool:
    return 0 < len(name) <= MOST_NAME and name.isprintable()
