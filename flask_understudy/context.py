"""Who is asking, and which job is running: the two facts that follow a call without being passed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from werkzeug.local import LocalProxy

from .errors import JobCancelled

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from .claims import ClaimedMessage
    from .suspension import Unwind


class RunningSteps(Protocol):
    """The steps of the running job, made by the first one that its actor asks for."""

    unwind: Unwind | None
    step: Any

    def judge(self, exception: BaseException | None) -> BaseException | None:
        """Say what an actor that ended like this is to be taken to have raised."""
        ...


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request, as the application's authoriser says (requirement P02).

    Attributes:
        subject: The user's or program's id.
        tenant: The tenant it belongs to; empty when the app has none.
        scopes: What it may do: `read`, `enqueue`, `operate`, `admin`.
    """

    subject: str = ""
    tenant: str = ""
    scopes: frozenset[str] = field(default_factory=frozenset)


_acting: ContextVar[tuple[Principal, RunningJob | None] | None] = ContextVar("understudy_principal", default=None)


@contextmanager
def acting_as(principal: Principal) -> Iterator[None]:
    """Send jobs in the name of a principal for the length of the block, whoever asks or whichever job runs.

    Jobs that run within the block, as in tests, send in their own tenants' names all the same.
    """
    token = _acting.set((principal, _whole(running_job())))
    try:
        yield
    finally:
        _acting.reset(token)


def acting() -> Principal | None:
    """Return the principal of the innermost `acting_as` of this job or, outside of jobs, of this code; or None."""
    principal, job = _acting.get() or (None, None)
    return principal if job is _whole(running_job()) else None


@dataclass(slots=True)
class RunningJob:
    """The job that an actor is running, reached as `current_job` (requirements B03–B07).

    Attributes:
        id: The job's id, the same for all attempts.
        actor: The actor's name.
        queue: The queue it came from.
        attempt: Number of this attempt, 1-based.
        max_attempts: Attempts allowed; None = no limit.
        fence: Grows with each claim; give it to systems that can refuse an older one.
        tenant: Whose job it is.
        owner: Who asked for it.
        correlation_id: Shared by all jobs that one request led to.
        batch_id: The batch that it is part of, or whose end it follows; None = none.
        step: The name of the step that runs, or None.
    """

    id: str
    actor: str
    queue: str
    attempt: int
    max_attempts: int | None
    fence: int
    tenant: str
    owner: str
    correlation_id: str | None
    write_log: Callable[[str], None] = field(repr=False)
    write_progress: Callable[[int, str | None], None] = field(repr=False)
    open_transaction: Callable[[], AbstractContextManager[Session]] = field(repr=False)
    batch_id: str | None = None
    stop_asked: bool = field(default=False, repr=False)
    claim: ClaimedMessage | None = field(default=None, repr=False)
    steps: RunningSteps | None = field(default=None, repr=False)
    step: str | None = None
    whole: RunningJob | None = field(default=None, repr=False)

    @property
    def idempotency_key(self) -> str:
        """The same text for all attempts of this job, or of this step, for systems that recognise repeats."""
        return self.id if self.step is None else f"{self.id}:{self.step}"

    @property
    def cancelled(self) -> bool:
        """Whether the job was asked to stop, timed out, or lost its lease."""
        return self.stop_asked or (self.whole is not None and self.whole.stop_asked)

    def check_cancelled(self) -> None:
        """Stop here when the job was asked to.

        Raises:
            JobCancelled: It was; let it pass and the job ends as cancelled.
        """
        if self.cancelled:
            raise JobCancelled(f"Job {self.id} was asked to stop.")

    def log(self, message: str, *args: Any) -> None:
        """Add a line to the job's own log, kept with the job (requirement B05).

        Args:
            message: A `%`-style text.
            *args: Its values; without any the text is taken as it is. What does not fit is appended.
        """
        if args:
            try:
                message = message % args
            except (TypeError, ValueError):
                message = " ".join([message, *map(str, args)])
        self.write_log(str(message))

    def progress(self, percent: float, message: str | None = None) -> None:
        """Tell how far the job is (requirements B06, L07).

        Args:
            percent: 0 to 100.
            message: What it is doing.

        Raises:
            ValueError: `percent` is out of range.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"progress is {percent!r}; it takes a number from 0 to 100.")
        self.write_progress(int(percent), message)

    def transaction(self) -> AbstractContextManager[Session]:
        """Commit work on `db.session` together with this job's completion, or not at all (promise G5).

        Inside a step it is the step that is completed.

        Yields:
            The application's session. Leaving the block commits it with the job completed; an exception rolls it back.

        Raises:
            LeaseLost: The job is no longer this worker's; nothing was committed.
        """
        return self.open_transaction()


_running: ContextVar[RunningJob] = ContextVar("understudy_running_job")

current_job: RunningJob = cast(
    RunningJob,
    LocalProxy(
        _running,
        unbound_message="current_job is only there while an actor runs; this code was called from elsewhere.",
    ),
)


def running_job() -> RunningJob | None:
    """Return the job this code runs in, or None."""
    return _running.get(None)


def _whole(job: RunningJob | None) -> RunningJob | None:
    """Return the job itself for what runs in one of its steps."""
    return job.whole if job is not None and job.whole is not None else job


def enter(job: RunningJob) -> Token[RunningJob]:
    """Make a job the current one, until `leave`."""
    return _running.set(job)


def leave(token: Token[RunningJob]) -> None:
    """Make that job the current one no longer."""
    _running.reset(token)
