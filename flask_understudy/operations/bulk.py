"""One verb for all jobs of a filter: asked for at once, done in steps, to be watched and aborted in between.

Jobs that come later are not meant: a bulk looks at those that had been created, or had ended, when it was asked for,
each of them once.
"""

from __future__ import annotations

import inspect
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..context import Principal
from ..errors import JobConflict, JobNotFound
from ..ledger import AuditLine, Bulk, Job
from ..ledger.filter import Filter, Known
from ..ledger.scope import Scope
from ..ledger.search import Search
from ..ledger.statements import run
from ..redaction import withholds_all, withholds_at
from ..state import State
from . import audit, queues
from .bulk_acts import ACTIONS, NOTHING, Changes, act, check, narrowed
from .bulk_filters import from_json, moment, to_json, until
from .transaction import joined_session, transaction

RUNNING, COMPLETED = "running", "completed"
BATCH = 500
MOST = 1_000_000
SAMPLE = 5

#: Jobs that are looked at to tell how many are left as they are.
LOOKED_AT = 10_000

ABORT = """
UPDATE understudy_bulks SET state = 'aborted', finished_at = <now>
WHERE id = :id AND state = 'running' AND (:any_tenant OR tenant = :tenant) RETURNING id"""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a bulk would find.

    Attributes:
        matched: Jobs that it can be done to.
        is_exact: Whether they are so many; else there are at least that many.
        left: Jobs that are meant as well, and stay as they are; None = too many to count.
        sample: The first few of those that it can be done to.
        as_of: When that was so: jobs that come later are not counted.
    """

    matched: int
    is_exact: bool
    left: int | None
    sample: Sequence[Job]
    as_of: datetime


def known(state: State) -> Known:
    """Return the queues and parameters that the application declares."""
    return Known(sorted(queues.names(state)), partial(_positions, state), partial(_showing, state))


def _positions(state: State, parameter: str) -> dict[int, list[str]]:
    """Return the actors that take a parameter, by its position among theirs."""
    found: dict[int, list[str]] = defaultdict(list)
    for actor in state.broker.actors.values():
        names = list(inspect.signature(actor.fn).parameters)
        if parameter in names:
            found[names.index(parameter)].append(actor.actor_name)
    return found


def _showing(state: State, position: int | None) -> list[str]:
    """Return the actors whose arguments are shown, all in all or at a position."""
    actors = [actor for actor in state.broker.actors.values() if not withholds_all(actor)]
    return [actor.actor_name for actor in actors if position is None or not withholds_at(actor, position)]


def count(state: State, scope: Scope, wanted: Filter) -> tuple[int, bool]:
    """Return how many jobs a filter finds now, and whether that is exact."""
    return Search(state.database, scope, wanted, known(state)).count()


def sample(state: State, scope: Scope, wanted: Filter) -> Sequence[Job]:
    """Return the first few jobs that a filter finds now."""
    return Search(state.database, scope, wanted, known(state)).page(SAMPLE).jobs


def trial(state: State, scope: Scope, action: str, wanted: Filter, as_of: datetime | None = None) -> Trial:
    """Return what a bulk would find now.

    Args:
        state: The application's side of the library.
        scope: Whose jobs may be touched.
        action: One of `bulk_acts.ACTIONS`.
        wanted: Which jobs.
        as_of: Jobs that come later are not meant; None = now.

    Raises:
        InvalidJob: The action is unknown, or none of the states that the filter names allows it.
    """
    meant, now = narrowed(action, wanted), moment(state)
    as_of = min(as_of or now, now)
    if wanted.ids and not wanted.states:
        meant = narrowed(action, replace(wanted, states=ACTIONS[action]))
    meant = until(meant, as_of)
    n, is_exact = count(state, scope, meant)
    total, total_is_exact = Search(state.database, scope, until(wanted, as_of), known(state)).count(
        LOOKED_AT, LOOKED_AT
    )
    left = max(0, total - n) if is_exact and total_is_exact else None
    return Trial(n, is_exact, left, sample(state, scope, meant), as_of)


def start(
    state: State,
    principal: Principal,
    scope: Scope,
    action: str,
    wanted: Filter,
    most: int = MOST,
    changes: Changes = NOTHING,
    as_of: datetime | None = None,
    expected: int | None = None,
) -> Bulk:
    """Ask for a bulk; the clock does it, or whoever calls `step`.

    Args:
        state: The application's side of the library.
        principal: Who asks.
        scope: Whose jobs may be touched.
        action: One of `bulk_acts.ACTIONS`.
        wanted: Which jobs.
        most: Jobs it touches at the most.
        changes: What the action changes and to what; see `bulk_acts.check`.
        as_of: Jobs that come later are not meant, such as the `as_of` of a trial; None = now.
        expected: How many jobs it shall touch, as a trial said; None = however many.

    Raises:
        InvalidJob: The action is unknown, none of the states that the filter names allows it, or it cannot change that.
        JobConflict: By now it would touch another number of jobs than expected.
    """
    meant, now = narrowed(action, wanted), moment(state)
    check(state, action, changes)
    if expected is not None:
        _check_number(trial(state, scope, action, wanted, as_of), most, expected)
    meant = until(meant, min(as_of or now, now))
    counts, is_whole = Search(state.database, scope, meant, known(state), newest_first=False).tally(most)
    bulk = Bulk(
        id=str(uuid.uuid4()),
        tenant=scope.tenant,
        subject=principal.subject,
        action=action,
        changes=dict(changes) or None,
        filter=to_json(meant),
        state=RUNNING,
        most=most,
        expected=sum(counts.values()) if is_whole else None,
        matched=0,
        done=0,
        skipped=0,
        created_at=now,
    )
    lines = _told(principal, bulk, counts)
    session = joined_session(state)
    if session is not None:
        session.add_all([bulk, *lines])
        session.flush()
        session.expunge(bulk)
        return bulk
    with Session(state.database.engine, expire_on_commit=False) as own:
        own.add_all([bulk, *lines])
        own.commit()
        own.expunge(bulk)
    return bulk


def _check_number(found: Trial, most: int, expected: int) -> None:
    touched = min(found.matched, most)
    if touched < expected or (found.is_exact and touched > expected):
        many = f"{touched:,} {'job' if touched == 1 else 'jobs'}"
        raise JobConflict(f"By now it would touch {many} and not {expected:,} as expected; nothing was done.")


def _told(principal: Principal, bulk: Bulk, counts: dict[str, int]) -> list[AuditLine]:
    """Return lines that tell each tenant of a bulk over all of them; who asks has its own from the door."""
    if bulk.tenant is not None:
        return []
    others = sorted(counts.keys() - {principal.tenant})
    lines = [
        audit.line(
            principal,
            "bulk.start",
            bulk.id,
            None,
            {"action": bulk.action, **(bulk.changes or NOTHING), "expected": counts[name]},
        )
        for name in others
    ]
    for name, line in zip(others, lines, strict=True):
        line.tenant = name
    return lines


def step(state: State, bulk_id: str, n: int = BATCH) -> Bulk:
    """Do the next `n` jobs of a bulk; return it as it is then. Two that step at once do not do the same jobs.

    Raises:
        JobNotFound: There is no such bulk.
    """
    told: list[Callable[[], None]] = []
    with Session(state.database.own_engine, expire_on_commit=False) as session:
        query = select(Bulk).where(Bulk.id == bulk_id).with_for_update()
        if state.database.is_sqlite:
            session.connection().exec_driver_sql("BEGIN IMMEDIATE")
        bulk = session.scalars(query).one_or_none()
        if bulk is None:
            raise JobNotFound(f"There is no bulk {bulk_id!r}.")
        if bulk.state == RUNNING:
            _step(state, session, bulk, n, told)
        session.commit()
        session.expunge(bulk)
    for tell in told:
        tell()
    return bulk


def _step(state: State, session: Session, bulk: Bulk, n: int, told: list[Callable[[], None]]) -> None:
    scope, wanted = Scope(bulk.tenant), from_json(bulk.filter)
    search = Search(state.database, scope, wanted, known(state), newest_first=False)
    place = (bulk.place_at, bulk.place_id) if bulk.place_at and bulk.place_id else None
    page = search.page(min(n, bulk.most - bulk.matched), place)
    done = act(state, session.connection(), bulk.action, bulk.changes or NOTHING, page.jobs, told)
    bulk.matched += len(page.jobs)
    bulk.done += done
    bulk.skipped += len(page.jobs) - done
    if page.after is None or bulk.matched >= bulk.most:
        bulk.state, bulk.finished_at = COMPLETED, datetime.now(UTC)
        asker = Principal(bulk.subject, bulk.tenant or "")
        detail = {
            "action": bulk.action,
            **(bulk.changes or NOTHING),
            "matched": bulk.matched,
            "done": bulk.done,
            "skipped": bulk.skipped,
        }
        session.add(audit.line(asker, "bulk.end", bulk.id, None, detail))
    else:
        bulk.place_at, bulk.place_id = page.after


def abort(state: State, bulk_id: str, scope: Scope) -> Bulk:
    """Do no more of a bulk; what is done stays done.

    Raises:
        JobNotFound: There is no such bulk within the scope.
        JobConflict: It has ended.
    """
    with transaction(state) as connection:
        aborted = run(connection, ABORT, id=bulk_id, any_tenant=scope.tenant is None, tenant=scope.tenant or "").first()
    bulk = find(state, bulk_id, scope)
    if bulk is None:
        raise JobNotFound(f"There is no bulk {bulk_id!r}.")
    if aborted is None:
        raise JobConflict(f"Bulk {bulk_id} is {bulk.state}.")
    return bulk


def find(state: State, bulk_id: str, scope: Scope) -> Bulk | None:
    """Return a bulk within the scope, or None."""
    query = select(Bulk).where(Bulk.id == bulk_id, scope.of(Bulk)).execution_options(populate_existing=True)
    joined = joined_session(state)
    if joined is not None:
        return joined.scalars(query).one_or_none()
    with Session(state.database.engine, expire_on_commit=False) as session:
        return session.scalars(query).one_or_none()


def running(state: State) -> Sequence[str]:
    """Return the ids of the bulks that are not done, the oldest first."""
    with Session(state.database.engine) as session:
        return session.scalars(select(Bulk.id).where(Bulk.state == RUNNING).order_by(Bulk.created_at)).all()
