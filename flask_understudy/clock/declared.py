"""Bringing the rows of schedules up to date with what the code declares, whenever a clock begins to lead.

What operators did lasts: a schedule they disabled stays disabled, also when the code changes it, gives it another name,
or drops it and takes it up again. One that the code drops is retired rather than deleted, as during a deployment the
releases take turns.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..declarations import DeclaredSchedule
from ..ledger import Schedule
from ..ledger.statements import now
from ..state import State
from ..timing import next_slot, trigger_of

CODE = "code"
_TIMING = ("expression", "timezone")
_SAME = ("actor", "expression", "timezone", "args", "kwargs")


def declare(state: State) -> None:
    """Bring the rows up to date; two clocks at once do no harm.

    Raises:
        InvalidSchedule: An expression or time zone is invalid.
    """
    try:
        _declare(state)
    except IntegrityError:  # another clock was first
        _declare(state)


def _declare(state: State) -> None:
    declared = {schedule.name: _values(state, schedule) for schedule in state.broker.schedules}
    enabled = {schedule.name: schedule.enabled for schedule in state.broker.schedules}
    with Session(state.database.own_engine) as session, session.begin(), session.connection().begin_nested():
        time = now(session.connection())
        rows = {row.name: row for row in session.scalars(select(Schedule).where(Schedule.tenant == ""))}
        for before, after in list(_renamed(rows, declared)):
            rows[after] = rows.pop(before)
            rows[after].name = after
        for name, values in declared.items():
            row = rows.get(name)
            if row is None:
                row = Schedule(id=str(uuid.uuid4()), name=name, enabled=enabled[name], created_at=time)
                session.add(row)
            _bring_up(row, values, time)
        for name, row in rows.items():
            if row.source == CODE and row.retired_at is None and name not in declared:
                row.retired_at, row.next_run_at, row.updated_at = time, None, time


def _values(state: State, schedule: DeclaredSchedule) -> dict[str, Any]:
    return {
        "actor": schedule.actor,
        "expression": schedule.expression,
        "timezone": schedule.timezone or state.config.timezone,
        "args": list(schedule.args),
        "kwargs": dict(schedule.kwargs),
        "options": dict(schedule.options),
        "missed": schedule.missed,
        "grace_seconds": schedule.grace_seconds,
        "overlap": schedule.overlap,
        "source": CODE,
    }


def _renamed(rows: Mapping[str, Schedule], declared: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the names that changed, from and to: of one that is gone and one that is new and does the same."""
    gone = [name for name, row in rows.items() if _is_live(row) and name not in declared]
    new = [name for name in declared if name not in rows]
    for before in gone:
        same = [name for name in new if all(declared[name][key] == getattr(rows[before], key) for key in _SAME)]
        rivals = [name for name in gone if all(getattr(rows[name], k) == getattr(rows[before], k) for k in _SAME)]
        if len(same) == len(rivals) == 1:
            yield before, same[0]


def _is_live(row: Schedule) -> bool:
    return row.source == CODE and row.retired_at is None


def _bring_up(row: Schedule, values: dict[str, Any], time: datetime) -> None:
    """Set what changed; the next slot stays, unless it is another's or the schedule was not there."""
    changed = {key for key, value in values.items() if getattr(row, key) != value}
    if not changed and row.retired_at is None:
        return
    if changed & {*_TIMING} or row.retired_at is not None or row.updated_at is None:
        row.next_run_at = next_slot(trigger_of(values["expression"], values["timezone"]), time)
    for key in changed:
        setattr(row, key, values[key])
    row.retired_at, row.updated_at = None, time
