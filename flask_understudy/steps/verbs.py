"""What an actor may ask of its steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar, overload

from ..events import Event, publishing
from ..ledger.approvals import Decision
from ..ledger.statements import moment
from ..ledger.step import COMPLETED, PUBLISH, RUN, SLEEP, SLEEPING
from .approving import approve
from .doing import Work, do
from .run import Run, run_of_this_job
from .times import checked, milliseconds
from .together import parallel
from .waiting import wait_for

R = TypeVar("R")
E = TypeVar("E", bound=Event)

WEEK = timedelta(days=7)


class Steps:
    """The steps of the running job, reached as `step` (requirements B14, T02).

    Each verb raises `StepsChanged` when this job did another step in its place before, and `InvalidStep` when it is
    used outside of a job or with a value that makes no sense.
    """

    @overload
    def run(
        self,
        name: str,
        fn: Callable[..., Awaitable[R]],
        *args: Any,
        attempts: int | None = None,
        transaction: bool = False,
        was: str | None = None,
        **kwargs: Any,
    ) -> R: ...

    @overload
    def run(
        self,
        name: str,
        fn: Callable[..., R],
        *args: Any,
        attempts: int | None = None,
        transaction: bool = False,
        was: str | None = None,
        **kwargs: Any,
    ) -> R: ...

    def run(
        self,
        name: str,
        fn: Callable[..., Any],
        *args: Any,
        attempts: int | None = None,
        transaction: bool = False,
        was: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return what a function returns, and keep it: whenever the actor runs again, the function does not.

        Args:
            name: The step's name; the same one again, as in a loop, is another step.
            fn: An ordinary or an async function; returns JSON.
            *args: Its positional arguments.
            attempts: How often it is tried, the job being suspended in between and not charged; default: a failure
                is the job's, which runs again as its actor's options say.
            transaction: Commit what it does with `db.session` together with its result: exactly once.
            was: The step's name in jobs that began with an older release.
            **kwargs: Its keyword arguments.

        Raises:
            StepFailed: It failed for the last time; whenever the actor runs again as well.
            InvalidStep: Its result is no JSON, or it left changes in `db.session` that are not committed.
        """
        run = run_of_this_job()
        work = Work(fn, args, kwargs, attempts, transaction)
        return do(run, run.place(RUN, name, was), work)

    def sleep(self, name: str, duration: timedelta | None = None, *, was: str | None = None, **units: float) -> None:
        """Let the job go on later. Its worker is free meanwhile; restarts do not matter.

        Args:
            name: The step's name.
            duration: How long from now, by the database's clock; ten years at the most; or by units:
            was: The step's name in jobs that began with an older release.
            **units: `weeks`, `days`, `hours`, `minutes`, `seconds`, `milliseconds`.
        """
        run = run_of_this_job()
        _sleep(run, name, was, wake_ms=milliseconds(f"Step {name!r}", duration, units))

    def sleep_until(self, name: str, when: datetime, *, was: str | None = None) -> None:
        """Let the job go on at a time; one that is past lets it go on now.

        Args:
            name: The step's name.
            when: A time with a zone, within ten years. The one that counts is the first that was asked for.
            was: The step's name in jobs that began with an older release.
        """
        run = run_of_this_job()
        _sleep(run, name, was, wake_at=moment(checked(f"Step {name!r}", when)))

    def wait_for(
        self,
        name: str,
        event: type[E],
        *,
        match: Mapping[str, Any] | None = None,
        timeout: timedelta = WEEK,
        was: str | None = None,
    ) -> E | None:
        """Return an event of the job's tenant once it is published, or None when it is not in time.

        Events that were published since the job was sent count, the first one first, and each for one step.

        Args:
            name: The step's name.
            event: The class of the event.
            match: Fields that the event must have, with their values.
            timeout: How long to wait, by the database's clock; ten years at the most.
            was: The step's name in jobs that began with an older release.
        """
        run = run_of_this_job()
        timeout_ms = milliseconds(f"The timeout of step {name!r}", timeout, {})
        found: E | None = wait_for(run, name, event, match, timeout_ms, was)
        return found

    def publish(self, name: str, event: Event, *, was: str | None = None) -> None:
        """Publish an event once, in a transaction with this step.

        Args:
            name: The step's name.
            event: The event.
            was: The step's name in jobs that began with an older release.
        """
        run = run_of_this_job()
        broker = run.worker.broker

        def published() -> None:
            publishing.publish(broker, [event], transaction=True)

        do(run, run.place(PUBLISH, name, was), Work(published, (), {}, transaction=True))

    def approve(
        self,
        name: str,
        *,
        prompt: str,
        to: str = "",
        timeout: timedelta = WEEK,
        notify: Callable[[str], Any] | None = None,
        was: str | None = None,
    ) -> Decision:
        """Return what a person decided. Looking at the page behind the link decides nothing; its buttons do, once.

        Args:
            name: The step's name.
            prompt: What is to be decided; shown on the page.
            to: Who is asked, in your own words; shown in lists.
            timeout: After that the answer is no, with the state `expired`; ten years at the most.
            notify: Called with the signed link, as a step of its own: sends it to whoever decides.
            was: The step's name in jobs that began with an older release.
        """
        run = run_of_this_job()
        timeout_ms = milliseconds(f"The timeout of step {name!r}", timeout, {})
        return approve(run, name, prompt, to, timeout_ms, notify, was)

    def parallel(self, name: str, *, was: str | None = None, **branches: Any) -> dict[str, Any]:
        """Do several things at once, in threads; return their results by name.

        What one of them returned is kept though another one fails. Each has an application context, and so a
        `db.session`, of its own. They cannot sleep or wait.

        Args:
            name: The step's name.
            was: The step's name in jobs that began with an older release.
            **branches: A function each, or a tuple of a function and its arguments; 32 at the most.

        Raises:
            StepFailed: The first of those that failed for the last time; all of them have ended.
        """
        return parallel(run_of_this_job(), name, branches, was)

    def removed(self, name: str) -> None:
        """Say that a step stood here once, which jobs of an older release may have done."""
        run_of_this_job().removed(name)


def _sleep(run: Run, name: str, was: str | None, **wake: Any) -> None:
    place = run.place(SLEEP, name, was)
    known = place.recorded
    if known is None:
        run.check_written(f"Before step {name!r}")
        raise run.suspend(run.note(place, SLEEPING, **wake))
    if known.state == COMPLETED:
        return
    if known.wake_ms is not None and known.wake_ms > 0:
        raise run.suspend(run.note(place, SLEEPING, wake_ms=known.wake_ms))
    run.worker.writer.put(run.note(place, COMPLETED))  # what it says is known without: nobody has to wait for it


__all__ = ["Steps"]
