"""The Dramatiq broker in front of the ledger: `enqueue` is the only way in, for sends, pipelines and retries alike."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import dramatiq
from dramatiq.broker import Consumer
from dramatiq.errors import ActorNotFound
from dramatiq.middleware import Middleware
from dramatiq.results import Results
from flask import current_app, g, has_app_context, has_request_context, request
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from . import storing
from .claims import finishing
from .consumer import Capacity, LedgerConsumer
from .context import Principal, acting, running_job
from .declarations import DeclaredPage, DeclaredSchedule
from .errors import BrokerUnavailable, InvalidJob, NotInitialised
from .hooks import HookingBroker
from .interrupts import interruptible
from .ledger.batches import NewBatch
from .ledger.transitions import NewJob
from .results import LedgerResults
from .state import KEY, State
from .submission import new_job, whose
from .terms import check_names, terms_of
from .worker import WorkerProcess

logger = logging.getLogger("flask_understudy")


class LedgerBroker(HookingBroker):
    """Writes jobs into the ledger and lets workers claim them from there.

    Args:
        middleware: The ordered stack; see `flask_understudy.middleware`.

    Attributes:
        companions: What was made beside the actors by parts that an application need not have, by name: `webhooks`.
    """

    def __init__(self, middleware: list[Middleware]) -> None:
        super().__init__(middleware)
        self.add_middleware(
            Results(backend=LedgerResults(self), store_results=True)
        )  # of this very type, says Dramatiq
        self._state: State | None = None
        self.worker: WorkerProcess | None = None
        self.worker_kind = "worker"
        self.schedules: list[DeclaredSchedule] = []
        self.pages: dict[str, DeclaredPage] = {}
        self.companions: dict[str, Any] = {}
        self.capacity: Capacity | None = None

    # -- whose ledger ----------------------------------------------------------------------------------------------

    def bind(self, state: State) -> None:
        """Serve an application; outside of an application context the one bound last is meant."""
        self._state = state

    @property
    def is_bound(self) -> bool:
        """Whether an application was bound."""
        return self._state is not None

    @property
    def state(self) -> State:
        """The state of the current application, else of the one bound last.

        Raises:
            NotInitialised: No application was bound.
        """
        if has_app_context():
            state = current_app.extensions.get(KEY)
            if isinstance(state, State) and state.broker is self:
                return state
        if self._state is None:
            raise NotInitialised("No Flask application serves this job. Did you forget jobs.init_app(app)?")
        return self._state

    # -- declarations ----------------------------------------------------------------------------------------------

    def declare_queue(self, queue_name: str) -> None:
        """Declare a queue; there are no delay queues, as delayed jobs wait in the ledger."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = None
            self.emit_after("declare_queue", queue_name)

    def declare_actor(self, actor: dramatiq.Actor[Any, Any]) -> None:
        """Declare an actor, to be interrupted only while its function runs."""
        actor.fn = interruptible(actor.fn)
        super().declare_actor(actor)

    def get_actor(self, actor_name: str) -> dramatiq.Actor[Any, Any]:
        """Return an actor by name; `/` and `:` are the same in a name (C10).

        Raises:
            ActorNotFound: No actor has the name.
        """
        actor = self.actors.get(actor_name)
        if actor is None:
            actor = self.actors.get(actor_name.replace("/", ":")) or self.actors.get(actor_name.replace(":", "/"))
        if actor is None:
            raise ActorNotFound(actor_name)
        return actor

    # -- sending ---------------------------------------------------------------------------------------------------

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        """Accept a message as a job; or, in a hook after an actor, as part of that job's end.

        Args:
            message: The message; its id becomes the job's.
            delay: ms until it may run.

        Returns:
            The message; with a dedup key that a live job holds, that job's message.

        Raises:
            InvalidJob: It cannot be accepted as given; nothing was stored.
            BrokerUnavailable: Its fallback is `fail` and the broker is down.
            NotInitialised: No application is bound, or the tables are missing.
        """
        claim = finishing()
        if claim is None:
            return self.enqueue_many([message], delay=delay)[0]
        if message.message_id == claim.claimed.id:
            claim.retry(int(delay or 0), claim._exception)
            return message
        self.emit_before("enqueue", message, delay)
        try:
            claim.follow_ups.append(self._job_of(message, delay))
        except InvalidJob as problem:
            claim.give_up("error", problem)
            raise
        self.emit_after("enqueue", message, delay)
        return message

    def enqueue_many(
        self,
        messages: Sequence[dramatiq.Message[Any]],
        *,
        delay: int | None = None,
        beside: storing.Beside | None = None,
        batch: NewBatch | None = None,
        transaction: bool | None = None,
    ) -> list[dramatiq.Message[Any]]:
        """Accept many messages in one statement and one announcement; all of them or none.

        Args:
            messages: The messages.
            delay: ms until they may run.
            beside: Writes what belongs to them, in the same transaction.
            batch: What they are the jobs of; stored with them.
            transaction: Whether to join the caller's transaction, where no message says it.
        """
        if not messages and beside is None and batch is None:
            return []
        state = self.state
        for message in messages:
            terms_of(self._actor_of(message)).check(message)
            self.emit_before("enqueue", message, delay)
        jobs = [self._job_of(message, delay) for message in messages]
        for message in messages:
            check_names(message)
        if batch is not None:
            batch = storing.enlisted(self.sender(), jobs, batch)
        if not state.transport.is_up and any(job.fallback == "fail" for job in jobs):
            raise BrokerUnavailable(
                "The broker is down and the actor's fallback is 'fail'. Nothing was stored; try again later."
            )
        wishes = {transaction, *(message.options.get("transaction") for message in messages)}
        store = storing.store_joined if storing.joins(state, wishes) else storing.store_alone
        try:
            accepted, twins = store(state, jobs, beside, batch)
        except SQLAlchemyError as problem:
            raise storing.explained(problem) from problem
        for message in messages:
            self.emit_after("enqueue", message, delay)
        return [m if m.message_id not in twins else _named(m, twins[m.message_id]) for m in messages]

    def enqueue_within(self, connection: Connection, messages: Sequence[dramatiq.Message[Any]]) -> Callable[[], None]:
        """Store messages as jobs in a transaction of the caller's.

        Returns:
            What to call once that transaction is committed.
        """
        state = self.state
        for message in messages:
            terms_of(self._actor_of(message)).check(message)
        accepted, _ = storing.accept(connection, [self._job_of(message, None) for message in messages])
        return lambda: storing.committed(state, accepted)

    def check(self, message: dramatiq.Message[Any]) -> None:
        """Let a message pass that could be sent now; nothing is stored.

        Raises:
            InvalidJob: It cannot be accepted as given.
        """
        terms_of(self._actor_of(message)).check(message)
        self._job_of(message, None)
        check_names(message)

    def sender(self) -> tuple[str, str]:
        """Return the tenant and the owner in whose name this code sends."""
        return whose(self.principal(), running_job())

    def _actor_of(self, message: dramatiq.Message[Any]) -> dramatiq.Actor[Any, Any]:
        if not isinstance(message, dramatiq.Message):
            raise InvalidJob(f"Messages are sent, such as send_email.message(...), and {message!r:.80} was given.")
        try:
            return self.get_actor(message.actor_name)
        except ActorNotFound:
            raise InvalidJob(
                f"No actor is named {message.actor_name!r}. Declared are: {', '.join(sorted(self.actors)) or 'none'}."
            ) from None

    def _job_of(self, message: dramatiq.Message[Any], delay: int | None) -> NewJob:
        actor = self._actor_of(message)
        return new_job(message, delay, actor, self.state.config, self.principal(), running_job())

    def principal(self) -> Principal | None:
        """Return in whose name this code sends, when no job runs; None = in nobody's."""
        if (named := acting()) is not None:
            return named
        authorizer = self.state.authorizer
        if authorizer is None or not has_request_context():
            return None
        if "understudy_principal" not in g:
            g.understudy_principal = authorizer(request)
        principal: Principal | None = g.understudy_principal
        return principal

    # -- working ---------------------------------------------------------------------------------------------------

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30000) -> Consumer:
        """Return what yields the jobs of a queue to this process's worker."""
        if self.worker is None or self.capacity is None:
            raise NotInitialised("No worker was started in this process; use `dramatiq app.actors`.")
        return LedgerConsumer(self.worker, self.capacity, queue_name, timeout / 1000)

    def close(self) -> None:
        """Give up what this process holds."""
        if self.is_bound:
            self.state.transport.close()
            self.state.database.close()


def _named(message: dramatiq.Message[Any], job_id: str) -> dramatiq.Message[Any]:
    return message._replace(message_id=job_id)
