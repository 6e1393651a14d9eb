"""The steps of one claim of a job: what was done before, and where the actor is now.

When an actor runs again it asks for its steps in the same order as before. Each one that was done is answered from the
ledger, read once; the first that was not is where the job goes on. Place and name must agree, as the answer of one
step must never be given to another.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..context import RunningJob, enter, leave, running_job
from ..encoding import printable
from ..endings import not_asked_for
from ..errors import InvalidStep, LeaseLost, StepsChanged, described
from ..joining import has_changes
from ..ledger import steps
from ..ledger.steps import Recorded, StepNote
from ..redaction import redacted_text
from ..suspension import Unwind

if TYPE_CHECKING:
    from ..claims import ClaimedMessage

MAX_NAME = 100
MAX_ERROR = 2_000
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Place:
    """Where a step stands in its job.

    Attributes:
        position: From 0.
        kind: See `ledger.step.Step`.
        name: Unique in the job.
        recorded: What the ledger has of it, or None.
    """

    position: int
    kind: str
    name: str
    recorded: Recorded | None


class Run:
    """One claim's way through its job's steps.

    Args:
        job: The running job.
        claim: Its claim.

    Attributes:
        unwind: What left the actor in the middle, or None.
        step: The step that suspends the job, or None.
    """

    def __init__(self, job: RunningJob, claim: ClaimedMessage) -> None:
        self.job = job
        self.claim = claim
        self.worker = claim.worker
        self.unwind: Unwind | None = None
        self.step: StepNote | None = None
        self._changed: StepsChanged | None = None
        with self.worker.state.database.statement() as connection:
            self._recorded = steps.read(connection, job.id)
        self._last = max(self._recorded, default=-1)
        self._names: Counter[str] = Counter()
        self._visited: set[int] = set()
        self._next = 0

    # -- where the actor is ----------------------------------------------------------------------------------------

    def place(self, kind: str, name: Any, was: str | None = None) -> Place:
        """Return the place of the next step.

        Raises:
            InvalidStep: The name is none.
            StepsChanged: Another step was here before.
        """
        check_name(name)
        self._names[name] += 1
        nth = self._names[name]
        unique = name if nth == 1 else f"{name}#{nth}"
        place = Place(self._next, kind, unique, self._at(self._next, kind, unique, was))
        self._next += 1
        return place

    def children(self, parent: Place, names: list[str]) -> list[Place]:
        """Return the places of the children of a parallel step, which follow it."""
        places = []
        for name in names:
            position, unique = self._next, f"{parent.name}/{name}"
            self._next += 1
            recorded = self._recorded.get(position)
            if recorded is not None:
                recorded = self._at(position, "child", unique, None)
            elif parent.recorded is not None:
                raise self._differs(position, "child", unique)
            places.append(Place(position, "child", unique, recorded))
        return places

    def follower(self, leader: Place, kind: str, name: str) -> Place:
        """Return the place of a step that belongs to the one before it."""
        unique = f"{leader.name}/{name}"
        place = Place(self._next, kind, unique, self._at(self._next, kind, unique, None))
        self._next += 1
        return place

    def removed(self, name: str) -> None:
        """Pass over a step of that name, if that is what was done here."""
        recorded = self._recorded.get(self._next)
        if recorded is None or recorded.name.partition("#")[0] != name:
            return
        self._names[name] += 1
        self._visited.add(self._next)
        self._next += 1
        while (child := self._recorded.get(self._next)) is not None and child.name.startswith(f"{recorded.name}/"):
            self._visited.add(self._next)
            self._next += 1

    def _at(self, position: int, kind: str, name: str, was: str | None) -> Recorded | None:
        recorded = self._recorded.get(position)
        if recorded is None:
            if position <= self._last and kind != "parallel":  # whose row follows those of its children
                raise self._differs(position, kind, name)
            return None
        if recorded.kind != kind or recorded.name not in {name, was}:
            raise self._differs(position, kind, name)
        self._visited.add(position)
        return recorded

    def _differs(self, position: int, kind: str, name: str) -> StepsChanged:
        done = [f"{row.name!r} ({row.kind})" for row in self._recorded.values()]
        here = self._recorded.get(position)
        self._changed = StepsChanged(
            f"Step {position + 1} of this job was {f'{here.name!r} ({here.kind})' if here else 'another one'}, and its "
            f"actor now asks for {name!r} ({kind}) there. The job has done {', '.join(done[:SHOWN])}"
            f"{' …' if len(done) > SHOWN else ''}. Put the old order back and retry the job; or say what changed with "
            f"was=… for a new name and step.removed(…) for a step that is gone."
        )
        return self._changed

    def judge(self, exception: BaseException | None) -> BaseException | None:
        """Say what an actor that ended like this is to be taken to have raised, whatever it caught."""
        if self._changed is not None:
            return self._changed
        if self.unwind is not None:
            return self.unwind.exception
        left = [row.name for position, row in self._recorded.items() if position not in self._visited]
        if exception is None and left:
            return not_asked_for(left[:SHOWN])
        return exception

    # -- writing what was done -------------------------------------------------------------------------------------

    def note(self, place: Place, state: str, **more: Any) -> StepNote:
        """Return what to write of a step."""
        claimed = self.claim.claimed
        note = StepNote(claimed.id, claimed.fence, place.position, place.name, place.kind, state, **more)
        note.gets_on = bool(claimed.crashes or claimed.hand_backs)
        return note

    def record(self, note: StepNote) -> None:
        """Write a step together with those of the process's other threads.

        Raises:
            LeaseLost: The job is no longer this worker's, or another claim of it wrote the step before.
        """
        if not self.worker.writer.commit(note):
            raise self.lost(note)
        if note.gets_on:
            self.claim.claimed.crashes = self.claim.claimed.hand_backs = 0

    def lost(self, note: StepNote) -> LeaseLost:
        """Return the error about a step that this claim may not write."""
        return LeaseLost(f"Step {note.name!r} of job {note.id} is no longer this worker's to write.")

    def suspend(self, note: StepNote) -> Unwind:
        """Return what to raise to leave the actor until the step's time has come."""
        self.step = note
        self.unwind = Unwind(f"The job goes on after step {note.name!r}.")
        return self.unwind

    def fail_for_now(self, name: str, exception: Exception) -> Unwind:
        """Return what to raise to end this attempt of the job with what a step raised."""
        self.unwind = Unwind(f"Step {name!r} failed and the job tries it again.", exception)
        return self.unwind

    def check_written(self, what: str) -> None:
        """Let pass a session without changes that nobody committed: what is recorded here would outlive them.

        Raises:
            InvalidStep: There are such changes.
        """
        if has_changes(self.worker.session()):
            raise InvalidStep(
                f"{what} db.session holds changes that are not committed, and might be lost though the step is kept. "
                "Commit them, or make them in step.run(…, transaction=True)."
            )

    @contextmanager
    def within(self, name: str) -> Iterator[RunningJob]:
        """Let `current_job` speak for a step for the length of the block."""
        job = replace(self.job, step=name, whole=self.job)
        token = enter(job)
        try:
            yield job
        finally:
            leave(token)


def check_name(name: Any) -> None:
    """Refuse what is no name of a step."""
    if isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable() and not set(name) & set("/#"):
        return
    raise InvalidStep(
        f"The name of a step is {name!r}; it takes a printable text of 1 to {MAX_NAME} characters without '/' and '#'."
    )


def run_of_this_job() -> Run:
    """Return the steps of the job this code runs in.

    Raises:
        InvalidStep: It runs in no job, in a step, or in an event loop.
    """
    job = running_job()
    if job is None or job.claim is None:
        raise InvalidStep("step is only there while an actor runs as a job; this code was called from elsewhere.")
    if job.step is not None:
        raise InvalidStep(f"Step {job.step!r} asks for another step; steps have none within. Return, then ask for it.")
    if _in_event_loop():
        raise InvalidStep(
            "Steps would block the event loop. Declare the actor with `def`; step.run takes async functions."
        )
    run = job.steps
    if run is None:
        job.steps = run = Run(job, job.claim)
    assert isinstance(run, Run)
    if run.unwind is not None:  # the actor caught what cannot be caught
        raise run.unwind
    return run


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def error_text(exception: BaseException) -> str:
    """Return an exception's type and text as they are kept."""
    return printable(redacted_text(described(exception)), MAX_ERROR)


def since(began: float) -> int:
    """Return the ms since a time of the monotonic clock."""
    return int((time.monotonic() - began) * 1000)


__all__ = ["Place", "Run", "error_text", "run_of_this_job", "since"]
