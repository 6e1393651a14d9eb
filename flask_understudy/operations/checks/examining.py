"""Doing the checks, one after the other, each within a time."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from ...state import State
from ...storing import explained
from ..wording import reason_of
from . import CHECKS
from .finding import ERROR, NOTE, Check, Finding

LIMIT_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A finding, and the check that made it."""

    check: str
    finding: Finding


def examine(here: State, checks: Iterable[Check] = CHECKS, limit_seconds: float = LIMIT_SECONDS) -> Iterator[Seen]:
    """Do the checks in order and yield what they find.

    Args:
        here: The application's side of the library.
        checks: Which ones, default all; those whose needs are not met are left out and told.
        limit_seconds: s that each may take.
    """
    broken: set[str] = set()
    left_out: dict[str, list[str]] = {}
    for check in checks:
        lacking = next((need for need in check.needs if need in broken), None)
        if lacking is not None:
            left_out.setdefault(lacking, []).append(check.name)
            continue
        for finding in _within(limit_seconds, here, check):
            if finding.status == ERROR:
                broken.add(check.name)
            yield Seen(check.name, finding)
    for need, names in left_out.items():
        yield Seen(need, Finding(NOTE, f"not checked because of it: {', '.join(names)}"))


def _within(seconds: float, here: State, check: Check) -> list[Finding]:
    """Do a check in a thread that can be left behind when it hangs."""
    found: list[Finding] = []
    if here.database.is_in_memory:  # only one thread has that database
        _look(here, check, found)
        return found
    thread = threading.Thread(target=_look, args=(here, check, found), name=f"doctor-{check.name}", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        remedy = "It hangs: a firewall that drops packets, a frozen server, or a lock that somebody holds."
        return [Finding(ERROR, f"no answer within {seconds:g} s", remedy)]
    return found


def _look(here: State, check: Check, found: list[Finding]) -> None:
    try:
        with here.app.app_context():
            found += check.look(here)
    except SQLAlchemyError as problem:
        clearer = explained(problem)
        said = f"The database does not do what was asked: {reason_of(problem)}" if clearer is problem else str(clearer)
        found.append(Finding(ERROR, said, "See the database's log."))
    except Exception as problem:  # a check that breaks must not look like one that found nothing
        found.append(Finding(ERROR, f"the check itself failed: {type(problem).__name__}: {problem}"))
