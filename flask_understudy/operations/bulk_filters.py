"""What a bulk keeps of the filter it was asked for: no jobs that come later, and as JSON."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from ..ledger.filter import Filter
from ..ledger.search import Search
from ..ledger.statements import run
from ..state import State

NOW = "SELECT <ms:at> FROM (SELECT <now> AS at) AS clock"


def moment(state: State) -> datetime:
    """Return the database's time: the millisecond after now, before which lies whatever is stored."""
    with state.database.statement() as connection:
        return datetime.fromtimestamp((run(connection, NOW).scalar_one() + 1) / 1000, UTC)


def until(wanted: Filter, at: datetime) -> Filter:
    """Return the filter without jobs that come later: those created, or ended where that is their order, by then."""
    if Search.is_by_end(wanted):
        return replace(wanted, finished_before=min(wanted.finished_before or at, at))
    return replace(wanted, created_before=min(wanted.created_before or at, at))


def to_json(wanted: Filter) -> dict[str, Any]:
    """Return a filter as JSON, without what it does not say."""
    return {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in asdict(wanted).items()
        if value is not None and value is not False and value != ()
    }


def from_json(stored: dict[str, Any]) -> Filter:
    """Return the filter that `to_json` wrote."""
    values: dict[str, Any] = {}
    for key, value in stored.items():
        if key.endswith(("_after", "_before")):
            values[key] = datetime.fromisoformat(value)
        elif key == "payload":
            values[key] = tuple((tuple(path), text) for path, text in value)
        else:
            values[key] = tuple(value) if isinstance(value, list) else value
    return Filter(**values)
