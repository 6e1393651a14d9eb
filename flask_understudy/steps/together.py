"""Doing several things at once, each in a thread and each kept by itself."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

from ..errors import InvalidStep, StepFailed
from ..ledger.step import COMPLETED, FAILED, PARALLEL
from ..suspension import Unwind
from .doing import Work, do
from .run import Place, Run, check_name, error_text

MOST = 32
WAIT_SECONDS = 0.2


def parallel(run: Run, name: str, branches: dict[str, Any], was: str | None) -> dict[str, Any]:
    """Return the results by name; raise the first error once all have ended."""
    if not 1 <= len(branches) <= MOST:
        raise InvalidStep(f"Step {name!r} does {len(branches)} things at once; it takes 1 to {MOST}.")
    works = {branch: _work(branch, given) for branch, given in branches.items()}
    place = run.place(PARALLEL, name, was)
    children = dict(zip(works, run.children(place, list(works)), strict=True))
    if place.recorded is None:
        run.check_written(f"Before step {name!r}")
    outcomes = _all(run, children, works)
    errors = [outcome for outcome in outcomes.values() if isinstance(outcome, BaseException)]
    for error in sorted(errors, key=lambda e: not isinstance(e, Unwind)):  # first what leaves the job to be tried again
        if place.recorded is None and isinstance(error, StepFailed):
            run.record(run.note(place, FAILED, error=error_text(error)))
        raise error
    if place.recorded is None:
        run.record(run.note(place, COMPLETED))
    return outcomes


def _work(name: str, given: Any) -> Work:
    check_name(name)
    fn, *args = given if isinstance(given, tuple) and given else (given,)
    return Work(fn, tuple(args), {})


def _all(run: Run, children: dict[str, Place], works: dict[str, Work]) -> dict[str, Any]:
    """Return what became of each: its result, or what it raised."""
    outcomes: dict[str, Any] = dict.fromkeys(children)

    def one(name: str) -> None:
        try:
            outcomes[name] = do(run, children[name], works[name])
        except BaseException as error:
            outcomes[name] = error

    def alone(name: str) -> None:
        with run.worker.app.app_context():  # so that its db.session is its own
            one(name)

    kept = [name for name, child in children.items() if child.recorded is not None]
    for name in kept:
        one(name)
    fresh = [name for name in children if name not in kept]
    if run.worker.state.database.is_in_memory:  # which only one thread can use
        for name in fresh:
            one(name)
        return outcomes
    threads = [_start(alone, name) for name in fresh]
    for thread in threads:
        while thread.is_alive():  # in slices, so that an interrupt of the job gets through
            thread.join(WAIT_SECONDS)
    return outcomes


def _start(fn: Callable[[str], None], name: str) -> threading.Thread:
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(fn, name), name=f"understudy-step-{name}", daemon=True)
    thread.start()
    return thread


__all__ = ["parallel"]
