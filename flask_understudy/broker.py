"""The Dramatiq broker in front of the ledger: `enqueue` is the only way in, for sends, pipelines and retries alike."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import dramatiq
from dramatiq.broker import Broker, Consumer
from dramatiq.errors import ActorNotFound
from dramatiq.middleware import Middleware, MiddlewareError
from dramatiq.results import Results
from flask import current_app, g, has_app_context, has_request_context, request
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from . import joining, signals
from .admission import admit_sent
from .claims import ClaimedMessage, finishing
from .closing import close_soon
from .consumer import Capacity, LedgerConsumer
from .context import Principal, acting, running_job
from .errors import BrokerUnavailable, InvalidJob, JobConflict, NotInitialised, TransportError
from .interrupts import interruptible
from .ledger import Job, batches, transitions
from .ledger.batches import NewBatch
from .ledger.limit import Numbers
from .ledger.schedule import ALLOW, GRACE_SECONDS, LATEST
from .ledger.statements import run
from .ledger.transitions import Due, NewJob
from .limit import BATCH
from .redaction import redacted_arguments
from .results import LedgerResults
from .signals import JobNotice
from .state import KEY, State
from .submission import new_job, whose
from .terms import check_names, terms_of
from .worker import WorkerProcess

logger = logging.getLogger("flask_understudy")

MOST_TRIES = 5

TWIN = """
SELECT id FROM understudy_jobs
WHERE tenant = :tenant AND dedup_key = :key AND state IN ('delayed', 'waiting', 'active')"""


@dataclass(frozen=True, slots=True)
class DeclaredSchedule:
    """A schedule as the code declares it.

    Attributes:
        name: Unique name.
        actor: The actor that is sent.
        expression: Cron or `every …`.
        timezone: IANA name; None = the configured one.
        args: Positional arguments.
        kwargs: Keyword arguments.
        options: Options of each send.
        missed: What becomes of slots that passed while no clock ran: `latest`, `skip` or `all`.
        grace_seconds: How late the latest slot may be fired.
        overlap: What becomes of a slot while a former job has not ended: `allow`, `skip` or `queue`.
    """

    name: str
    actor: str
    expression: str
    timezone: str | None = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    missed: str = LATEST
    grace_seconds: int = GRACE_SECONDS
    overlap: str = ALLOW


#: What is written in the transaction of jobs, before them; returns the waiting jobs that it woke.
Beside = Callable[[Connection], list[Due]]

#: The jobs that are new, each with when it is due (ms since 1970); and the live twin's id of each that met one.
Stored = tuple[list[tuple[NewJob, int]], dict[str, str]]


class LedgerBroker(Broker):
    """Writes jobs into the ledger and lets workers claim them from there.

    Args:
        middleware: The ordered stack; see `flask_understudy.middleware`.
    """

    def __init__(self, middleware: list[Middleware]) -> None:
        self._hooks: dict[str, list[tuple[Middleware, Callable[..., None]]]] = {}
        super().__init__(middleware=middleware)
        self.add_middleware(
            Results(backend=LedgerResults(self), store_results=True)
        )  # of this very type, says Dramatiq
        self._state: State | None = None
        self.worker: WorkerProcess | None = None
        self.worker_kind = "worker"
        self.schedules: list[DeclaredSchedule] = []
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
        beside: Beside | None = None,
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
            batch = self._enlisted(jobs, batch)
        if not state.transport.is_up and any(job.fallback == "fail" for job in jobs):
            raise BrokerUnavailable(
                "The broker is down and the actor's fallback is 'fail'. Nothing was stored; try again later."
            )
        joins = self._joins(state, {transaction, *(message.options.get("transaction") for message in messages)})
        store = self._store_joined if joins else self._store_alone
        try:
            accepted, twins = store(state, jobs, beside, batch)
        except SQLAlchemyError as problem:
            raise explained(problem) from problem
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
        accepted, _ = accept(connection, [self._job_of(message, None) for message in messages])
        return lambda: self._committed(state, accepted)

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
        try:
            return self.get_actor(message.actor_name)
        except ActorNotFound:
            raise InvalidJob(
                f"No actor is named {message.actor_name!r}. Declared are: {', '.join(sorted(self.actors)) or 'none'}."
            ) from None

    def _job_of(self, message: dramatiq.Message[Any], delay: int | None) -> NewJob:
        actor = self._actor_of(message)
        return new_job(message, delay, actor, self.state.config, self.principal(), running_job())

    def _enlisted(self, jobs: list[NewJob], batch: NewBatch) -> NewBatch:
        """Make jobs part of a batch, let them share its limit where it has one, and return it with its owner."""
        tenant, owner = whose(self.principal(), running_job())
        if jobs and not batch.is_known:
            tenant, owner = jobs[0].tenant, jobs[0].owner
        if not batch.is_known:
            batch = replace(batch, tenant=tenant, owner=owner)
        for job in jobs:
            if job.tenant != batch.tenant:
                raise InvalidJob(f"A batch is one tenant's: {batch.tenant!r} and {job.tenant!r} cannot share one.")
            job.batch_id = batch.id
            if batch.concurrency is None:
                continue
            if job.limit_key is not None:
                raise InvalidJob(
                    f"{job.actor} has a limit of its own, and this batch has one as well: a job has one key. "
                    "Leave out the batch's concurrency, or send the job outside of it."
                )
            job.limit_key, job.numbers = f"{BATCH}{batch.id}", Numbers(batch.concurrency)
        return batch

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

    def _joins(self, state: State, wishes: set[Any]) -> bool:
        wishes.discard(None)
        if len(wishes) > 1 or not wishes <= {True, False}:
            raise InvalidJob(f"transaction is {wishes!r}; it takes True or False, the same for all jobs of one call.")
        if not has_app_context():
            if True in wishes:
                raise InvalidJob("transaction=True needs an application context, as it joins db.session.")
            return False
        return wishes.pop() if wishes else joining.has_uncommitted_writes(state.db.session())

    def _store_joined(self, state: State, jobs: list[NewJob], beside: Beside | None, batch: NewBatch | None) -> Stored:
        session = state.db.session()
        connection = session.connection(bind_arguments={"mapper": Job})
        with connection.begin_nested() if beside is not None else nullcontext():
            woken = beside(connection) if beside is not None else []
            accepted, twins = _accept_all(connection, jobs, batch)
        born = [job for job, _ in accepted]
        joining.after_commit(session, born, lambda: self._committed(state, accepted, woken, batch))
        return accepted, twins

    def _store_alone(self, state: State, jobs: list[NewJob], beside: Beside | None, batch: NewBatch | None) -> Stored:
        woken: list[Due] = []
        is_more = beside is not None or batch is not None
        if is_more or any(job.dedup_key is not None or job.thinning is not None for job in jobs):
            with state.database.engine.begin() as connection:
                woken = beside(connection) if beside is not None else []
                stored = _accept_all(connection, jobs, batch)
        else:
            with state.database.engine.connect() as connection:  # one statement needs no BEGIN and COMMIT around it
                stored = accept(connection.execution_options(isolation_level="AUTOCOMMIT"), jobs)
        self._committed(state, stored[0], woken, batch)
        return stored

    def _committed(
        self,
        state: State,
        accepted: list[tuple[NewJob, int]],
        woken: Sequence[Due] = (),
        batch: NewBatch | None = None,
    ) -> None:
        """The jobs exist: say so, and let somebody run them."""
        self.tell_added(state, [job for job, _ in accepted])
        waiting = [(job, due) for job, due in accepted if job.state == "waiting" and job.limit_key is None]
        keyed = [job for job, _ in accepted if job.limit_key is not None]
        urgent: list[NewJob] = []
        try:
            if waiting or woken:
                free = (Due(job.id, job.queue, job.priority, due) for job, due in waiting)
                state.transport.announce([*woken, *free])
        except TransportError as problem:
            logger.debug("Not announced: %s", problem)
            urgent = [job for job, _ in waiting if job.fallback == "sync"]
        if keyed:
            admitted = {due.id for due in admit_sent(state, keyed)}
            if not state.transport.is_up:
                urgent += [job for job in keyed if job.fallback == "sync" and job.id in admitted]
        if batch is not None and not accepted:
            close_soon(state, {batch.id})
        if urgent and running_job() is None:
            state.stand_in.run(urgent)

    def tell_added(self, state: State, jobs: Iterable[NewJob]) -> None:
        """Send `job_added` for jobs that exist from now on."""
        if not signals.job_added.receivers:
            return
        for job in jobs:
            message = dramatiq.get_encoder().decode(f'{{"args":{job.args},"kwargs":{job.kwargs}}}'.encode())
            args, kwargs = redacted_arguments(self.actors.get(job.actor), message["args"], message["kwargs"])
            notice = JobNotice(
                id=job.id,
                queue=job.queue,
                actor=job.actor,
                tenant=job.tenant,
                args=args,
                kwargs=kwargs,
            )
            signals.emit(signals.job_added, state.app, job=notice)

    # -- working ---------------------------------------------------------------------------------------------------

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30000) -> Consumer:
        """Return what yields the jobs of a queue to this process's worker."""
        if self.worker is None or self.capacity is None:
            raise NotInitialised("No worker was started in this process; use `dramatiq app.actors`.")
        return LedgerConsumer(self.worker, self.capacity, queue_name, timeout / 1000)

    def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Open a job before the first hook; then call the hooks in order."""
        if signal == "process_message":
            args[0].begin()
        for middleware, hook in self._hooks_of("before_" + signal):
            try:
                hook(self, *args, **kwargs)
            except MiddlewareError:
                raise
            except Exception:
                self.logger.critical("Unexpected failure in before_%s of %r.", signal, middleware, exc_info=True)

    def emit_after(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Close a job before the hooks that follow its actor, and make what they enqueue part of its end."""
        if signal not in {"process_message", "skip_message"}:
            self._emit_after(signal, *args, **kwargs)
            return
        message: ClaimedMessage = args[0]
        exception = message.ended(kwargs.get("result"), kwargs.get("exception"))
        if signal == "skip_message" and not message.failed:
            message.cancel(None)
        if message.is_suspended:  # neither done nor failed: what follows either must not hear of it
            signal, kwargs = "skip_message", {}
        if exception is not None:
            kwargs = {"exception": exception}
        elif "exception" in kwargs:
            kwargs = {"result": None}
        with message:  # what hooks enqueue belongs to this job's end
            self._emit_after(signal, *args, **kwargs)

    def _emit_after(self, signal: str, *args: Any, **kwargs: Any) -> None:
        for middleware, hook in reversed(self._hooks_of("after_" + signal)):
            try:
                hook(self, *args, **kwargs)
            except Exception:
                self.logger.critical("Unexpected failure in after_%s of %r.", signal, middleware, exc_info=True)

    def _hooks_of(self, name: str) -> list[tuple[Middleware, Callable[..., None]]]:
        """Return the middleware that has a hook of its own, in order: most of them lack most hooks."""
        found = self._hooks.get(name)
        if found is None:
            default = getattr(Middleware, name, None)
            found = self._hooks[name] = [
                (m, getattr(m, name)) for m in self.middleware if getattr(type(m), name, None) is not default
            ]
        return found

    def add_middleware(self, middleware: Middleware, **place: Any) -> None:
        """Add a middleware, `before` or `after` another one's class; see Dramatiq."""
        self._hooks.clear()
        super().add_middleware(middleware, **place)
        self._hooks.clear()

    def close(self) -> None:
        """Give up what this process holds."""
        if self.is_bound:
            self.state.transport.close()
            self.state.database.close()


def _accept_all(connection: Connection, jobs: list[NewJob], batch: NewBatch | None) -> Stored:
    """Store jobs in a transaction, and with them the batch that they are."""
    if batch is not None and batch.is_known:
        held = batches.hold(connection, batch.id)
        if held is None or not held.is_open or held.is_cancelled:
            raise JobConflict(f"Nothing can be added to batch {batch.id}: it has ended or was cancelled.")
    stored = accept(connection, jobs)
    if batch is not None:
        batches.store(connection, batch, len(stored[0]))
    return stored


def accept(connection: Connection, jobs: list[NewJob]) -> Stored:
    """Store jobs in a transaction.

    Returns:
        The jobs that are new with when they are due (ms since 1970), and for each job that met a live twin the
        twin's id by the job's own.
    """
    accepted: list[tuple[NewJob, int]] = []
    twins: dict[str, str] = {}
    missing = jobs
    for _ in range(MOST_TRIES):
        if not missing:
            break
        due = transitions.insert(connection, missing)
        accepted += [(job, due[job.id]) for job in missing if job.id in due]
        again = []
        for job in missing:
            if job.twin is not None:
                twins[job.id] = job.twin
            if job.id in due or job.dedup_key is None:
                continue
            twin = run(connection, TWIN, tenant=job.tenant, key=job.dedup_key).first()
            if twin is None:  # it ended in between
                again.append(job)
            else:
                twins[job.id] = twin[0]
        missing = again
    return accepted, twins


def _named(message: dramatiq.Message[Any], job_id: str) -> dramatiq.Message[Any]:
    return message._replace(message_id=job_id)


def explained(problem: SQLAlchemyError) -> Exception:
    """Return a clearer exception for a database error where there is one."""
    text = str(problem.orig if hasattr(problem, "orig") else problem)
    if "understudy_" in text and ("no such table" in text or "does not exist" in text or "no such column" in text):
        return NotInitialised(
            f"The ledger's tables are missing or old ({text.splitlines()[0]}). Run `flask db upgrade`."
        )
    return problem


__all__ = ["DeclaredSchedule", "LedgerBroker", "accept", "explained"]
