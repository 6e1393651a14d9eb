"""Doing a step's work: once if it works, again if it does not, and never again when its result is kept."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dramatiq.errors import RateLimitExceeded, Retry
from dramatiq.middleware import SkipMessage
from sqlalchemy.orm import Session

from ..encoding import encode
from ..errors import InvalidJob, InvalidStep, JobCancelled, LeaseLost, StepFailed
from ..joining import joined
from ..ledger import steps
from ..ledger.step import COMPLETED, FAILED, RETRYING
from ..ledger.steps import StepNote
from .run import Place, Run, error_text, since

#: What ends or interrupts the job whatever its steps are.
PASSED_ON = (JobCancelled, LeaseLost, RateLimitExceeded, SkipMessage, InvalidStep)


@dataclass(slots=True)
class Work:
    """What a step does.

    Attributes:
        fn: An ordinary or an async function.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        attempts: How often it is tried; None = as often as the job.
        transaction: Whether its work on `db.session` and its row are committed together.
    """

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    attempts: int | None = None
    transaction: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        if not callable(self.fn):
            raise InvalidStep(f"A step runs a function; {self.fn!r} cannot be called.")
        if self.attempts is not None and (
            isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or not 1 <= self.attempts <= 1000
        ):
            raise InvalidStep(f"attempts is {self.attempts!r}; it takes a whole number from 1 to 1000.")


def do(run: Run, place: Place, work: Work) -> Any:
    """Return a step's result, kept or new.

    Raises:
        StepFailed: It failed for the last time, now or before.
        InvalidStep: Its result is no JSON, or it left changes that nobody committed.
    """
    known = place.recorded
    if known is not None and known.state == COMPLETED:
        return known.result
    if known is not None and known.state == FAILED:
        raise StepFailed(place.name, known.error or "")
    if known is not None and known.wake_ms is not None and known.wake_ms > 0:
        raise run.suspend(run.note(place, RETRYING, error=known.error, attempts=known.attempts, wake_ms=known.wake_ms))
    if not work.transaction:
        run.check_written(f"Before step {place.name!r}")
    return attempt(run, place, work, suspends=True)


def attempt(run: Run, place: Place, work: Work, *, suspends: bool) -> Any:
    """Try a step once and keep what comes of it.

    Args:
        run: The job's steps.
        place: Where it stands.
        work: What it does.
        suspends: Whether another attempt may follow; otherwise a failure is final.
    """
    tried = (place.recorded.attempts if place.recorded is not None else 0) + 1
    began = time.monotonic()
    try:
        return _done(run, place, work, tried, began)
    except PASSED_ON:
        raise
    except Exception as exception:
        run.worker.session().rollback()
        note = run.note(place, FAILED, error=error_text(exception), attempts=tried, busy_ms=since(began))
        if suspends and work.attempts is None and run.claim.allows_retry(exception):
            raise run.fail_for_now(place.name, exception) from exception
        if suspends and work.attempts is not None and tried < work.attempts and not run.claim.is_final(exception):
            delay = exception.delay if isinstance(exception, Retry) else None
            note.state, note.wake_ms = RETRYING, run.claim.backoff(tried) if delay is None else int(delay)
            raise run.suspend(note) from exception
        run.record(note)
        raise StepFailed(place.name, note.error or "") from exception


def _done(run: Run, place: Place, work: Work, tried: int, began: float) -> Any:
    note = run.note(place, COMPLETED, attempts=tried)
    own = _OwnTransaction(run, note, began)
    with run.within(place.name) as job:
        job.open_transaction = own.open
        if work.transaction:
            with own.open():
                result = call(work)
                note.result = encoded(run, place, result)
            return _as_kept(note.result, result)
        try:
            result = call(work)
        except Exception as exception:
            if not own.committed:
                raise
            run.worker.logger.error(
                "Step %r of job %s raised after its transaction had completed it: %r", place.name, run.job.id, exception
            )
            return None
    if own.committed:
        if result is not None:
            run.worker.logger.warning(
                "Step %r of job %s was done when its transaction was committed: what it returned is not kept. "
                "Use step.run(…, transaction=True).",
                place.name,
                run.job.id,
            )
        return None
    run.check_written(f"After step {place.name!r}")
    note.result, note.busy_ms = encoded(run, place, result), since(began)
    run.record(note)
    return _as_kept(note.result, result)


class _OwnTransaction:
    """`current_job.transaction()` inside a step: its work is committed with the step's row, or not at all."""

    def __init__(self, run: Run, note: StepNote, began: float) -> None:
        self.run = run
        self.note = note
        self.began = began
        self.committed = False

    @contextmanager
    def open(self) -> Iterator[Session]:
        session = self.run.worker.session()
        if self.committed:
            raise InvalidStep(f"Step {self.note.name!r} is done with its first transaction; make another step.")
        try:
            with joined(session):
                yield session
            self.note.busy_ms = since(self.began)
            connection = session.connection(bind_arguments=self.run.worker.bind_arguments)
            if not steps.record(connection, self.run.worker.id, [self.note]):
                raise self.run.lost(self.note)
            session.commit()
        except BaseException:
            session.rollback()
            raise
        self.committed = True


def call(work: Work) -> Any:
    """Call a step's function; an async one in an event loop of its own."""
    result = work.fn(*work.args, **work.kwargs)
    if inspect.isawaitable(result):
        return asyncio.run(_awaited(result))
    return result


async def _awaited(result: Any) -> Any:
    return await result


def encoded(run: Run, place: Place, result: Any) -> str | None:
    """Return a step's result as it is kept.

    Raises:
        InvalidStep: It is no JSON, or too large.
    """
    if result is None:
        return None
    try:
        text = encode(result, f"The result of step {place.name!r}")
    except InvalidJob as problem:
        raise InvalidStep(str(problem)) from None
    most = run.worker.config.max_payload_bytes
    if len(text.encode()) > most:
        raise InvalidStep(
            f"The result of step {place.name!r} has {len(text.encode())} bytes, and {most} are kept at the most. "
            "Store data and return its id."
        )
    return text


def _as_kept(text: str | None, result: Any) -> Any:
    """Return the result as the next run will see it: a tuple as a list, a number as a key as text."""
    if text is None or isinstance(result, str | int | float | bool):
        return result
    return json.loads(text)


__all__ = ["Work", "attempt", "call", "do", "encoded"]
