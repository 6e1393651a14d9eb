"""What can be done to schedules: registering, changing, switching, deleting, running (requirements F03 to F05)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..errors import InvalidJob, InvalidSchedule, ScheduleConflict, ScheduleNotFound
from ..ledger import Schedule, ScheduleFire
from ..ledger.schedule import BY_HAND, SKIPPED
from ..ledger.scope import EVERYTHING, Scope
from ..ledger.statements import now
from ..state import State
from ..timing import describe, next_slot, trigger_of
from . import drafts
from .drafts import Draft
from .slots import in_the_name_of, message_of, record, settle
from .transaction import after_commit, joined_session, transaction

CODE, RUNTIME = "code", "runtime"

MOST_OF_TENANT = 1000
MOST_PREVIEWED = 1000

DISABLED = "the schedule was disabled before it could start"


def register(
    state: State, draft: Draft, *, tenant: str = "", owner: str = "", enabled: bool | None = None
) -> tuple[Schedule, bool]:
    """Make a schedule, or let the one of that name be as drafted; registering the same again changes nothing (F03).

    Args:
        state: The application's side of the library.
        draft: What it shall be.
        tenant: Whose it is.
        owner: Who registers it.
        enabled: Whether it fires; None = as it was, and yes for a new one.

    Returns:
        The schedule, and whether it is new.

    Raises:
        InvalidSchedule: The draft cannot be, or the tenant has as many as it may have; nothing was stored.
        ScheduleConflict: The code declares one of that name.
    """
    with in_the_name_of(Schedule(tenant=tenant, owner=owner)):
        draft = drafts.check(state, draft)
    try:
        return _register(state, draft, tenant, owner, enabled)
    except IntegrityError:  # somebody else registered it at this very moment
        return _register(state, draft, tenant, owner, enabled)


def _register(state: State, draft: Draft, tenant: str, owner: str, enabled: bool | None) -> tuple[Schedule, bool]:
    if not tenant and any(known.name == draft.name for known in state.broker.schedules):
        raise ScheduleConflict(f"The code declares the schedule {draft.name!r}; give this one another name.")
    with _session(state) as session:
        time = now(session.connection())
        row = _locked(session, draft.name, tenant)
        if row is not None and row.source == CODE and row.retired_at is None:
            raise ScheduleConflict(f"The code declares the schedule {draft.name!r}; give this one another name.")
        is_new = row is None or row.retired_at is not None
        if row is None:
            _check_number(session, tenant)
            row = Schedule(id=str(uuid.uuid4()), tenant=tenant, name=draft.name, created_at=time)
            session.add(row)
        row.source, row.retired_at = RUNTIME, None
        if is_new or owner:
            row.owner = owner
        if is_new and enabled is None:
            enabled = True
        _set(session, row, draft.values, enabled, time, is_new=is_new)
        return row, is_new


def amend(state: State, name: str, tenant: str, changes: Mapping[str, Any], enabled: bool | None = None) -> Schedule:
    """Change some of what a schedule made at runtime is.

    Raises:
        ScheduleNotFound: There is none of that name.
        ScheduleConflict: The code declares it.
        InvalidSchedule: It cannot be like this; nothing was changed.
    """
    row = find(state, name, tenant)
    draft = Draft(name=name, **{key: changes.get(key, getattr(row, key)) for key in Draft(name, "", "", "").values})
    return register(state, draft, tenant=tenant, owner=row.owner, enabled=enabled)[0]


def enable(state: State, name: str, tenant: str = "") -> Schedule:
    """Let a schedule fire again, from its next slot on (F04)."""
    return _switch(state, name, tenant, True)


def disable(state: State, name: str, tenant: str = "") -> Schedule:
    """Let a schedule fire no more, whatever the code says, until somebody enables it (F04)."""
    return _switch(state, name, tenant, False)


def _switch(state: State, name: str, tenant: str, enabled: bool) -> Schedule:
    with _session(state) as session:
        row = _existing(_locked(session, name, tenant), name)
        _set(session, row, {}, enabled, now(session.connection()))
        return row


def delete(state: State, name: str, tenant: str = "") -> None:
    """Delete a schedule made at runtime, and its slots; its jobs stay (F04).

    Raises:
        ScheduleNotFound: There is none of that name.
        ScheduleConflict: The code declares it, and would again.
    """
    with _session(state) as session:
        row = _existing(_locked(session, name, tenant), name)
        if row.source == CODE:
            raise ScheduleConflict(f"The code declares the schedule {name!r}: disable it, or drop it from the code.")
        session.delete(row)


def run_now(state: State, name: str, tenant: str = "") -> str:
    """Send a schedule's job at once, whatever its slots and its switch; return the job's id.

    Raises:
        ScheduleNotFound: There is none of that name.
        InvalidJob: Its job cannot be sent.
    """
    with _session(state) as session:
        connection = session.connection()
        row = _existing(_locked(session, name, tenant), name)
        time = now(connection)
        between = time.replace(microsecond=max(1, time.microsecond) | 1)  # slots are whole seconds
        with in_the_name_of(row):
            message = message_of(state, row)
            committed = state.broker.enqueue_within(connection, [message])
        if not record(connection, row, between, BY_HAND, job_id=message.message_id):
            raise InvalidJob(f"The schedule {name!r} is run too often; try again.")
    after_commit(state, committed)
    return str(message.message_id)


def find(state: State, name: str, tenant: str = "") -> Schedule:
    """Return a schedule.

    Raises:
        ScheduleNotFound: There is none of that name.
    """
    with reading(state) as session:
        return _existing(session.scalar(_named(name, tenant)), name)


def find_within(state: State, name: str, tenants: Sequence[str], scope: Scope = EVERYTHING) -> Schedule:
    """Return the first schedule of a name that one of the tenants has, in their order.

    Raises:
        ScheduleNotFound: None of them has.
    """
    with reading(state) as session:
        mine = select(Schedule).where(scope.of(Schedule), Schedule.name == name, Schedule.retired_at.is_(None))
        rows = {row.tenant: row for row in session.scalars(mine.where(Schedule.tenant.in_(tenants)))}
    return _existing(next((rows[tenant] for tenant in tenants if tenant in rows), None), name)


def listing(
    state: State, scope: Scope = EVERYTHING, *, after: tuple[str, str] | None = None, n: int | None = None
) -> list[Schedule]:
    """Return schedules by name (F05).

    Args:
        state: The application's side of the library.
        scope: Whose.
        after: Name and tenant of the one before.
        n: How many; None = all.
    """
    query = select(Schedule).where(scope.of(Schedule), Schedule.retired_at.is_(None))
    if after is not None:
        query = query.where(tuple_(Schedule.name, Schedule.tenant) > after)
    with reading(state) as session:
        return list(session.scalars(query.order_by(Schedule.name, Schedule.tenant).limit(n)))


def slots(state: State, schedule: Schedule, n: int = 20) -> list[ScheduleFire]:
    """Return what became of the latest slots of a schedule, the latest first."""
    query = select(ScheduleFire).where(ScheduleFire.schedule == schedule.id)
    with reading(state) as session:
        return list(session.scalars(query.order_by(ScheduleFire.slot.desc()).limit(n)))


def preview(
    state: State, expression: str, timezone: str, n: int = 5, after: datetime | None = None
) -> tuple[str, list[datetime]]:
    """Return in words when an expression fires, and its next slots.

    Args:
        state: The application's side of the library.
        expression: Cron, `every …` or a date.
        timezone: IANA name.
        n: How many slots, up to 1000.
        after: Where they begin; None = now.

    Raises:
        InvalidSchedule: The expression or the zone makes no sense, or there are too many slots.
    """
    if not 1 <= n <= MOST_PREVIEWED:
        raise InvalidSchedule(f"The number of slots is {n!r}; it takes 1 to {MOST_PREVIEWED}.")
    trigger = trigger_of(expression, timezone)
    slot: datetime | None = after
    if slot is None:
        with state.database.engine.connect() as connection:
            slot = now(connection)
    found: list[datetime] = []
    while len(found) < n and (slot := next_slot(trigger, slot)) is not None:
        found.append(slot)
    return describe(expression), found


def problems(state: State) -> Iterator[tuple[Schedule, str]]:
    """Yield the schedules that cannot fire, or not any more, each with why (S06)."""
    for row in listing(state):
        try:
            trigger_of(row.expression, row.timezone)
            with in_the_name_of(row):
                drafts.check_message(state, row)
        except InvalidJob as problem:
            yield row, str(problem)
            continue
        if row.enabled and row.next_run_at is None and row.last_run_at is None:
            yield row, "It never fires: its date has passed."


# -- rows --------------------------------------------------------------------------------------------------------------


def _set(
    session: Session,
    row: Schedule,
    values: Mapping[str, Any],
    enabled: bool | None,
    time: datetime,
    *,
    is_new: bool = False,
) -> None:
    """Set what changed; the next slot stays unless its timing or its switch says otherwise."""
    changed = {key for key, value in values.items() if getattr(row, key) != value}
    for key in changed:
        setattr(row, key, values[key])
    is_switched = enabled is not None and enabled != row.enabled
    if enabled is not None:
        row.enabled = enabled
    if not row.enabled and row.queued_slot is not None:
        settle(session.connection(), row, row.queued_slot, SKIPPED, reason=DISABLED)
        row.queued_slot = None
    if is_new or changed & {"expression", "timezone"} or (is_switched and row.enabled):
        row.next_run_at = next_slot(trigger_of(row.expression, row.timezone), time)
        row.last_error = None
        if row.next_run_at is None and (is_new or "expression" in changed):
            raise InvalidSchedule(f"{row.expression!r} never fires: its date has passed.")
    if is_new or changed or is_switched:
        row.updated_at = time
    session.flush()


def _named(name: str, tenant: str) -> Any:
    return select(Schedule).where(Schedule.tenant == tenant, Schedule.name == name, Schedule.retired_at.is_(None))


def _locked(session: Session, name: str, tenant: str) -> Schedule | None:
    """Return a row, retired or not, that nobody else changes until this transaction ends."""
    query = select(Schedule).where(Schedule.tenant == tenant, Schedule.name == name)
    return session.scalar(query.with_for_update())


def _existing(row: Schedule | None, name: str) -> Schedule:
    if row is None or row.retired_at is not None:
        raise ScheduleNotFound(f"There is no schedule {name!r}.")
    return row


def _check_number(session: Session, tenant: str) -> None:
    if tenant:
        n = session.scalar(select(func.count()).where(Schedule.tenant == tenant)) or 0
        if n >= MOST_OF_TENANT:
            raise InvalidSchedule(f"The tenant has {n} schedules, as many as it may have. Delete some first.")


@contextmanager
def _session(state: State) -> Iterator[Session]:
    """A session to change schedules in, with the caller's changes when there are any; what fails is undone."""
    with transaction(state) as connection, connection.begin_nested(), _on(connection) as session:
        yield session
        session.commit()


@contextmanager
def reading(state: State) -> Iterator[Session]:
    """A session to read schedules in, with the caller's changes when there are any."""
    joined = joined_session(state)
    if joined is None:
        with Session(state.database.engine, expire_on_commit=False) as session:
            yield session
    else:
        with _on(joined.connection(bind_arguments={"mapper": Schedule})) as session:
            yield session


def _on(connection: Connection) -> Session:
    return Session(connection, expire_on_commit=False)


__all__ = [
    "amend",
    "delete",
    "disable",
    "enable",
    "find",
    "find_within",
    "listing",
    "preview",
    "problems",
    "reading",
    "register",
    "run_now",
    "slots",
]
