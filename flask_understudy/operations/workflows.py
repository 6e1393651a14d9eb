"""Workflows: actors that say `workflow=True`, their runs, which are jobs, and the steps of those."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import dramatiq
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from ..encoding import encode
from ..errors import InvalidEvent, InvalidJob, JobConflict, JobNotFound, PayloadTooLarge
from ..events.event import named
from ..ledger import Approval, Job, Step, Wait, steps, transitions, waits
from ..ledger.scope import EVERYTHING, Scope
from ..state import State
from .jobs import announce, existing, replayed
from .transaction import after_commit, joined_session, transaction


@dataclass(frozen=True, slots=True)
class Reached:
    """A step that a run has reached.

    Attributes:
        step: The step.
        wait: What it waits or waited for, or None.
        approval: What it asks or asked, or None.
    """

    step: Step
    wait: Wait | None
    approval: Approval | None


def declared(state: State) -> list[dramatiq.Actor[Any, Any]]:
    """Return the workflows by name."""
    return [actor for _, actor in sorted(state.broker.actors.items()) if actor.options.get("workflow")]


def reached(state: State, job: Job) -> list[Reached]:
    """Return the steps of a run, the first one first."""
    query = (
        select(Step, Wait, Approval)
        .outerjoin(Wait, (Wait.job_id == Step.job_id) & (Wait.position == Step.position))
        .outerjoin(Approval, (Approval.job_id == Step.job_id) & (Approval.position == Step.position))
        .where(Step.job_id == job.id)
        .order_by(Step.position)
    )
    session = joined_session(state)
    if session is not None:
        return [Reached(*row) for row in session.execute(query.execution_options(populate_existing=True))]
    with Session(state.database.engine, expire_on_commit=False) as own:
        return [Reached(*row) for row in own.execute(query)]


def rerun(state: State, id: str, from_step: str | None = None, scope: Scope = EVERYTHING) -> str:
    """Send a new job that does what another one did, from a step on; what lies before that is taken as done.

    Args:
        state: The application's side of the library.
        id: The job.
        from_step: The first step that is done anew; None = all of them are.
        scope: Whose jobs may be touched.

    Returns:
        The new job's id.

    Raises:
        JobNotFound: There is no such job.
        InvalidJob: It has no such step, no actor has its name any more, or a step before that has not ended.
    """
    job = existing(state, id, scope)
    before = 0 if from_step is None else _place_of(reached(state, job), from_step)
    message = replayed(state, job)
    message = message.copy(options={"dedup_key": None})  # whoever asks for it again wants it again
    with transaction(state) as connection:
        committed = state.broker.enqueue_within(connection, [message])
        steps.copy(connection, job.id, message.message_id, before)
    after_commit(state, committed)
    return message.message_id


def _place_of(run: Sequence[Reached], name: str) -> int:
    names = [r.step.name for r in run if "/" not in r.step.name]
    for found in run:
        if found.step.name != name or "/" in name:
            continue
        open_ = [r.step.name for r in run if r.step.position < found.step.position and r.step.finished_at is None]
        if open_:
            raise InvalidJob(f"from_step is {name!r}, and step {open_[0]!r} before it has not ended.")
        return found.step.position
    raise InvalidJob(f"from_step is {name[:100]!r}; the job's steps are {', '.join(names) or 'none'}.")


def signal(
    state: State, id: str, payload: dict[str, Any], *, step: str | None = None, by: str = "", scope: Scope = EVERYTHING
) -> None:
    """Give a run the event that it waits for; nobody else hears of it, and the log of events has it.

    Args:
        state: The application's side of the library.
        id: The job.
        payload: The event's fields; those that the wait compares may be left out.
        step: The step that waits; needed when there are several.
        by: Who says so.
        scope: Whose jobs may be touched.

    Raises:
        JobNotFound: There is no such job.
        JobConflict: It waits for no event, or not in that step.
        InvalidJob: The fields are not those that it waits for, or not the event's.
    """
    job = existing(state, id, scope)
    wait = _open_wait(reached(state, job), job, step)
    fields = _fields_of(state, wait, payload)
    with transaction(state) as connection:
        event_id = waits.store(connection, wait, fields, by)
        if not waits.close(connection, job.id, wait.position, event_id):
            raise JobConflict(f"Job {id} does not wait any more.")
        waits.arrive(connection, job.id)
        due = transitions.wake(connection, [job.id], fair=state.config.fair)
    after_commit(state, lambda: announce(state, due))


def _open_wait(run: Sequence[Reached], job: Job, step: str | None) -> Wait:
    found = {r.step.name: r.wait for r in run if r.wait is not None and r.wait.settled_at is None}
    if step is not None:
        found = {name: wait for name, wait in found.items() if name == step}
    if not found or job.state in {"completed", "failed", "cancelled"}:
        where = "" if step is None else f" in step {step[:100]!r}"
        raise JobConflict(f"Job {job.id} is {job.state} and waits for no event{where}.")
    return next(iter(found.values()))


def _fields_of(state: State, wait: Wait, payload: dict[str, Any]) -> str:
    compared = json.loads(wait.wanted)
    for name, value in compared.items():
        if name in payload and payload[name] != value:
            raise InvalidJob(f"payload: {name} is {payload[name]!r:.90}; the job waits for {value!r:.90}.")
    fields = {**compared, **payload}
    with suppress(InvalidEvent):  # one that this release does not know is not held against its class
        event = named(wait.event)
        try:
            fields = event.model_validate(fields).model_dump(mode="json")
        except ValidationError as problem:
            first = problem.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise InvalidJob(f"payload: {where}: {first['msg']}, says the event {wait.event}.") from None
    text = encode(fields, "The payload")
    if len(text.encode()) > state.config.max_payload_bytes:
        raise PayloadTooLarge(f"The payload has more than {state.config.max_payload_bytes} bytes.")
    return text


def find(state: State, id: str, scope: Scope = EVERYTHING) -> Job:
    """Return a run: any job will do, as any may have steps.

    Raises:
        JobNotFound: There is none within the scope.
    """
    return existing(state, id, scope)


__all__ = ["JobNotFound", "Reached", "declared", "find", "reached", "rerun", "signal"]
