"""`jobs.schedules`: what an application does to schedules while it runs, under its own names and the seeds'."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import dramatiq

from .errors import InvalidSchedule
from .ledger import Job, Schedule
from .ledger.schedule import ALLOW, GRACE_SECONDS, LATEST
from .ledger.scope import Scope
from .operations import scheduled
from .operations import schedules as operations
from .operations.drafts import Draft, actor_named, seconds_of
from .state import State
from .timing import describe

_NEEDED = ("name", "type", "schedule")
_OPTIONAL = ("payload", "timezone", "options", "missed", "grace", "overlap", "enabled", "tenant")

Actor = dramatiq.Actor[Any, Any] | str


@dataclass(frozen=True, slots=True)
class ScheduledJob:
    """A job for a date (K01).

    Attributes:
        id: The job's id.
        type: The actor's name.
        payload: Its arguments by name.
        options: Options of the send.
        scheduled_for: The date.
        status: `scheduled`, `enqueued` or `cancelled`.
        error: Type and message of its latest error.
        created_at: When it was scheduled.
        updated_at: When it last changed, as far as the ledger knows.
    """

    id: str
    type: str
    payload: dict[str, Any]
    options: dict[str, Any]
    scheduled_for: datetime
    status: str
    error: str | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, job: Job) -> ScheduledJob:
        """Return a job as the seeds see it."""
        updated = job.finished_at or job.cancel_requested_at or job.started_at or job.created_at
        status = scheduled.status_of(job)
        return cls(job.id, job.actor, job.kwargs, job.options, job.run_at, status, job.error, job.created_at, updated)


@dataclass(frozen=True, slots=True)
class RecurringJob:
    """A schedule (K02).

    Attributes:
        id: Given once.
        name: Unique among the tenant's.
        type: The actor's name.
        payload: Arguments by name.
        options: Options of each send.
        schedule: Cron, `every …` or a date.
        timezone: IANA name.
        enabled: Whether it fires.
        next_run_at: The next slot.
        last_run_at: The latest slot that fired.
        last_error: Why the latest slot could not fire.
        created_at: When it was registered.
        updated_at: When it was last changed.
        description: In words when it fires.
        missed: `latest`, `skip` or `all`.
        grace: How late the latest slot may be fired.
        overlap: `allow`, `skip` or `queue`.
        source: `code` or `runtime`.
        tenant: Whose it is; empty = nobody's.
    """

    id: str
    name: str
    type: str
    payload: dict[str, Any]
    options: dict[str, Any]
    schedule: str
    timezone: str
    enabled: bool
    next_run_at: datetime | None
    last_run_at: datetime | None
    last_error: str | None
    created_at: datetime
    updated_at: datetime
    description: str
    missed: str
    grace: timedelta
    overlap: str
    source: str
    tenant: str

    @classmethod
    def of(cls, row: Schedule) -> RecurringJob:
        """Return a schedule as the seeds see it."""
        return cls(
            id=row.id,
            name=row.name,
            type=row.actor,
            payload=row.kwargs,
            options=row.options,
            schedule=row.expression,
            timezone=row.timezone,
            enabled=row.enabled,
            next_run_at=row.next_run_at,
            last_run_at=row.last_run_at,
            last_error=row.last_error,
            created_at=row.created_at,
            updated_at=row.updated_at,
            description=words_of(row),
            missed=row.missed,
            grace=timedelta(seconds=row.grace_seconds),
            overlap=row.overlap,
            source=row.source,
            tenant=row.tenant,
        )


def words_of(row: Schedule) -> str:
    """Return in words when a schedule fires; empty when its expression makes no sense any more."""
    try:
        return describe(row.expression)
    except InvalidSchedule:
        return ""


class Schedules:
    """The schedules of a ledger, reached as `jobs.schedules`.

    Each belongs to a tenant, as jobs do: to the one that `tenant` names, else to that of the request, the job or the
    block of `acting_as` that asks, else to nobody. A name means the schedule of that tenant alone.

    Args:
        state: Returns the application's side of the library.
    """

    def __init__(self, state: Callable[[], State]) -> None:
        self._state = state

    def register(
        self,
        name: str,
        type: Actor,
        schedule: str,
        payload: Mapping[str, Any] | None = None,
        *,
        timezone: str | None = None,
        options: Mapping[str, Any] | None = None,
        missed: str = LATEST,
        grace: timedelta | int = GRACE_SECONDS,
        overlap: str = ALLOW,
        enabled: bool | None = None,
        tenant: str | None = None,
    ) -> RecurringJob:
        """Make a schedule, or let the one of that name be like this; doing so again changes nothing (F03).

        Args:
            name: Unique among the tenant's; up to 90 characters.
            type: The actor that is sent, or its name.
            schedule: Five cron fields, `@daily` and the like, `every 30 minutes`, or a date as `2026-12-24T09:00`.
            payload: Arguments of each job, by name.
            timezone: IANA name; default `UNDERSTUDY_TIMEZONE`.
            options: Options of each send: `queue`, `priority`, `tags`, `attempts`, `max_retries`, `time_limit`, …
            missed: What becomes of slots that passed while no clock ran: `latest` of them within the grace, `skip` or
                `all`, at most 100.
            grace: How late the latest slot may be fired, as s or timedelta; default 1 h, up to a week.
            overlap: What becomes of a slot while an earlier job has not ended: `allow`, `skip` or `queue`.
            enabled: Whether it fires; None = as it was, and yes for a new one.
            tenant: Whose it is.

        Raises:
            InvalidSchedule: Something about it cannot be; nothing was stored.
            ScheduleConflict: The code declares one of that name.
        """
        state = self._state()
        if payload is not None and not isinstance(payload, Mapping):
            raise InvalidSchedule(f"payload is {payload!r}; it takes a mapping of arguments by name.")
        draft = Draft(
            name=name,
            actor=actor_named(state, type),
            expression=schedule,
            timezone=timezone or state.config.timezone,
            kwargs=dict(payload or {}),
            options=options or {},
            missed=missed,
            grace_seconds=seconds_of(grace),
            overlap=overlap,
        )
        whose, owner = self._sender(tenant)
        return RecurringJob.of(operations.register(state, draft, tenant=whose, owner=owner, enabled=enabled)[0])

    def enable(self, name: str, *, tenant: str | None = None) -> RecurringJob:
        """Let a schedule fire again, from its next slot on (F04).

        Raises:
            ScheduleNotFound: There is none of that name.
        """
        return RecurringJob.of(operations.enable(self._state(), name, self._sender(tenant)[0]))

    def disable(self, name: str, *, tenant: str | None = None) -> RecurringJob:
        """Let a schedule fire no more until somebody enables it; also one that the code declares (F04).

        Raises:
            ScheduleNotFound: There is none of that name.
        """
        return RecurringJob.of(operations.disable(self._state(), name, self._sender(tenant)[0]))

    def delete(self, name: str, *, tenant: str | None = None) -> None:
        """Delete a schedule made at runtime; its jobs stay (F04).

        Raises:
            ScheduleNotFound: There is none of that name.
            ScheduleConflict: The code declares it.
        """
        operations.delete(self._state(), name, self._sender(tenant)[0])

    def get(self, name: str, *, tenant: str | None = None) -> RecurringJob:
        """Return a schedule.

        Raises:
            ScheduleNotFound: There is none of that name.
        """
        return RecurringJob.of(operations.find(self._state(), name, self._sender(tenant)[0]))

    def list(self, *, tenant: str | None = None) -> Sequence[RecurringJob]:
        """Return the tenant's schedules by name (F05)."""
        return [RecurringJob.of(row) for row in operations.listing(self._state(), Scope(self._sender(tenant)[0]))]

    def run(self, name: str, *, tenant: str | None = None) -> str:
        """Send a schedule's job at once, also of one that is disabled; return the job's id.

        Raises:
            ScheduleNotFound: There is none of that name.
            InvalidJob: Its job cannot be sent.
        """
        return operations.run_now(self._state(), name, self._sender(tenant)[0])

    def preview(self, schedule: str, n: int = 5, *, timezone: str | None = None) -> Sequence[datetime]:
        """Return the next slots of an expression.

        Raises:
            InvalidSchedule: The expression or the zone makes no sense.
        """
        state = self._state()
        return operations.preview(state, schedule, timezone or state.config.timezone, n)[1]

    # -- the seeds' names ------------------------------------------------------------------------------------------

    def schedule(self, type: Actor, payload: Mapping[str, Any], date: datetime, **options: Any) -> str:
        """Send a job that does not run before a date; return its id (F01).

        Args:
            type: The actor, or its name.
            payload: Its arguments by name.
            date: An aware time within the next ten years.
            **options: `queue`, `priority`, `tags`, `dedup_key`, `expires_at`, …

        Raises:
            InvalidJob: Something about it cannot be; nothing was stored.
        """
        state = self._state()
        return scheduled.schedule(state, actor_named(state, type), payload, date, options)

    def cancel_scheduled_job(self, id: str) -> None:
        """Cancel a job that has not started (F02).

        Raises:
            JobNotFound: There is no such job.
            JobConflict: It has started, or was cancelled before.
        """
        scheduled.cancel(self._state(), id)

    def list_scheduled(self, *, tenant: str | None = None) -> Sequence[ScheduledJob]:
        """Return the tenant's jobs that wait for their date, the first one first (K01)."""
        return [ScheduledJob.of(job) for job in scheduled.listing(self._state(), Scope(self._sender(tenant)[0]))]

    def register_recurring(self, wanted: Mapping[str, Any]) -> RecurringJob:
        """Register `{name, type, payload, schedule, timezone}`, and whatever else `register` takes (F03).

        Raises:
            InvalidSchedule: A name is unknown or missing, or something about it cannot be.
        """
        if not isinstance(wanted, Mapping) or not {*_NEEDED} <= set(wanted) <= {*_NEEDED, *_OPTIONAL}:
            raise InvalidSchedule(
                f"A recurring job has {', '.join(sorted(map(str, wanted))) or 'nothing'}; "
                f"it takes {', '.join(_NEEDED)}, and perhaps {', '.join(_OPTIONAL)}."
            )
        return self.register(**wanted)

    def enable_recurring(self, name: str) -> RecurringJob:
        """See `enable`."""
        return self.enable(name)

    def disable_recurring(self, name: str) -> RecurringJob:
        """See `disable`."""
        return self.disable(name)

    def delete_recurring(self, name: str) -> None:
        """See `delete`."""
        self.delete(name)

    def list_recurring(self) -> Sequence[RecurringJob]:
        """See `list`."""
        return self.list()

    def _sender(self, tenant: str | None) -> tuple[str, str]:
        whose, owner = self._state().broker.sender()
        return (whose if tenant is None else tenant), owner
