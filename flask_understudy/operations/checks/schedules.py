"""Whether the schedules can fire, and do (requirement S06)."""

from __future__ import annotations

from collections.abc import Iterator

from ...ledger.statements import now
from ...state import State
from .. import schedules as operations
from ..timetable import is_overdue
from ..wording import age, counted
from .finding import ERROR, OK, WARNING, Finding


def valid(state: State) -> Iterator[Finding]:
    """Look whether each schedule's expression, zone, actor and payload make sense."""
    rows = operations.listing(state)
    wrong = [(row, why) for row, why in operations.problems(state) if row.enabled]
    for row, why in wrong:
        whose = f" of tenant {row.tenant}" if row.tenant else ""
        remedy = f"Register it anew, or disable it: flask jobs schedules disable {row.name}"
        yield Finding(ERROR, f"the schedule {row.name}{whose} cannot fire: {why}", remedy)
    if not wrong:
        yield Finding(OK, f"{counted(len(rows), 'schedule')} can fire")


def late(state: State) -> Iterator[Finding]:
    """Look for schedules that should have fired."""
    if not state.config.scheduler_enabled:
        return
    with state.database.engine.connect() as connection:
        time = now(connection)
    for row in operations.listing(state):
        if is_overdue(row, time) and row.next_run_at is not None:
            remedy = "Is a worker alive? Its log tells of turns that failed. See: flask jobs schedules show " + row.name
            yield Finding(WARNING, f"the schedule {row.name} should have fired {age(row.next_run_at)}", remedy)
