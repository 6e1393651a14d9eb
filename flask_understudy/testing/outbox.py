"""What an application sent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dramatiq
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from ..broker import explained
from ..ledger import Job
from ..operations.transaction import joined_session
from ..state import State

if TYPE_CHECKING:
    from ..extension import Understudy

AnyActor = dramatiq.Actor[Any, Any]


class Outbox:
    """The jobs that an application sent, to be looked at.

    Args:
        jobs: The application's `Understudy`, or `app.extensions["understudy"]`.
    """

    def __init__(self, jobs: Understudy | State) -> None:
        self.state = jobs if isinstance(jobs, State) else jobs.state

    def sent(self, actor: AnyActor | str | None = None, queue: str | None = None) -> list[Job]:
        """Return the jobs that were accepted, whatever became of them, the first one first.

        Inside a transaction of `db.session` with uncommitted writes, the jobs sent in it are among them.

        Args:
            actor: Only this actor's, or this name's.
            queue: Only this queue's.
        """
        query = select(Job).order_by(Job.created_at)
        if self.state.database.is_sqlite:
            query = query.order_by(text("rowid"))
        if actor is not None:
            query = query.where(Job.actor == _name(actor))
        if queue is not None:
            query = query.where(Job.queue == queue)
        try:
            if (session := joined_session(self.state)) is not None:
                with session.no_autoflush:
                    return _detached(session, session.scalars(query.execution_options(populate_existing=True)))
            with Session(self.state.database.engine, expire_on_commit=False) as session:
                return _detached(session, session.scalars(query))
        except SQLAlchemyError as problem:
            raise explained(problem) from problem

    def assert_sent(
        self,
        actor: AnyActor | str,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
        times: int | None = None,
    ) -> list[Job]:
        """Assert that an actor was sent.

        Args:
            actor: The actor or its name.
            args: Its positional arguments, exactly; default any.
            kwargs: Its keyword arguments, exactly; default any.
            queue: The queue; default any.
            times: How often, exactly; default once or more.

        Returns:
            The jobs that match.

        Raises:
            AssertionError: It was not; says what was sent instead.
        """
        all_sent = self.sent()
        found = [
            job
            for job in all_sent
            if job.actor == _name(actor)
            and (args is None or job.args == _as_json(list(args)))
            and (kwargs is None or job.kwargs == _as_json(dict(kwargs)))
            and (queue is None or job.queue == queue)
        ]
        if len(found) == times or (times is None and found):
            return found
        wanted = {"args": args, "kwargs": kwargs, "queue": queue}
        terms = ", ".join(f"{name}={value!r}" for name, value in wanted.items() if value is not None)
        lines = "".join(
            f"\n  {job.actor} args={job.args!r} kwargs={job.kwargs!r} ({job.state} in queue {job.queue})"
            for job in all_sent
        )
        raise AssertionError(
            f"{_name(actor)} {_times_sent(len(found))}{' with ' + terms if terms else ''}; "
            f"expected was {'once or more' if times is None else _times(times)}. "
            f"Sent were:{lines or ' no jobs at all.'}"
        )


def _name(actor: AnyActor | str) -> str:
    return actor if isinstance(actor, str) else actor.actor_name


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _times_sent(n: int) -> str:
    return f"was sent {_times(n)}" if n else "was never sent"


def _times(n: int) -> str:
    return {0: "never", 1: "once"}.get(n, f"{n} times")


def _detached(session: Session, jobs: Iterable[Job]) -> list[Job]:
    found = list(jobs)
    for job in found:
        session.expunge(job)
    return found
