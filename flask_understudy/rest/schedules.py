"""Schedules as rows: what fires when, for whom, and switching it (requirements F03 to F05, F08, K02)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import current_app
from itsdangerous import BadSignature, URLSafeSerializer
from pydantic import AwareDatetime, Field, StringConstraints

from ..contrib.api import Answer, Body, Problem, invalid
from ..ledger import Schedule, ScheduleFire
from ..ledger.schedule import GRACE_SECONDS
from ..operations import payloads
from ..operations import schedules as operations
from ..operations.drafts import LONGEST_NAME, MOST_GRACE_SECONDS, Draft
from ..timing import describe
from ..timing.expressions import LONGEST
from .doors import Caller, caller, door, note, state
from .finding import PageOf
from .sending import sendable
from .shapes import Instant, Shape

TAG = "Schedules"

Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Expression = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST)]
Missed = Literal["latest", "skip", "all"]
Overlap = Literal["allow", "skip", "queue"]


class SlotShape(Shape):
    """What became of one slot."""

    slot: Instant
    until: Instant | None = Field(description="The last of the slots that are meant, when they are many.")
    outcome: str = Field(description="fired, skipped, queued or by_hand.")
    reason: str | None = Field(description="Why it was skipped.")
    job_id: str | None
    at: Instant = Field(description="When that was decided.")


class ScheduleShape(Shape):
    """A schedule."""

    id: str
    name: str
    type: str = Field(description="The actor's name.")
    payload: dict[str, Any] | None = Field(description="Arguments by name, secrets withheld; null without permission.")
    options: dict[str, Any]
    schedule: str = Field(description="Cron, `every …` or a date.")
    timezone: str
    description: str = Field(description="In words when it fires.")
    enabled: bool
    missed: str
    grace_ms: int
    overlap: str
    source: str = Field(description="code or runtime.")
    tenant: str
    owner: str
    next_run_at: Instant | None
    last_run_at: Instant | None
    last_error: str | None
    created_at: Instant
    updated_at: Instant


class ScheduleDetail(ScheduleShape):
    """A schedule with its latest slots."""

    slots: list[SlotShape]


class Schedules(Shape):
    """A page of schedules, by name."""

    data: list[ScheduleShape]
    next_cursor: str | None


class Registered(ScheduleShape):
    """A schedule that was registered."""


class Registration(Body):
    """A schedule to be."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NAME)]
    type: Word = Field(description="The actor's name; see /types.")
    payload: dict[str, Any] = Field(default={}, description="Arguments of each job, by name.")
    schedule: Expression = Field(description="Five cron fields, `@daily`, `every 30 minutes` or a date.")
    timezone: Word | None = Field(default=None, description="IANA name; default UNDERSTUDY_TIMEZONE.")
    options: dict[str, Any] = Field(default={}, description="Options of each send: queue, priority, tags, attempts, …")
    missed: Missed = Field(default="latest", description="What becomes of slots that passed while no clock ran.")
    grace_ms: int = Field(default=GRACE_SECONDS * 1000, ge=0, le=MOST_GRACE_SECONDS * 1000)
    overlap: Overlap = Field(default="allow", description="What becomes of a slot while an earlier job has not ended.")
    enabled: bool | None = Field(default=None, description="null = as it was, and true for a new one.")


class Changes(Body):
    """What shall be otherwise."""

    type: Word | None = None
    payload: dict[str, Any] | None = None
    schedule: Expression | None = None
    timezone: Word | None = None
    options: dict[str, Any] | None = None
    missed: Missed | None = None
    grace_ms: int | None = Field(default=None, ge=0, le=MOST_GRACE_SECONDS * 1000)
    overlap: Overlap | None = None
    enabled: bool | None = None


class Whose(Body):
    """Whose schedule is meant."""

    tenant: Annotated[str, StringConstraints(max_length=200)] | None = Field(
        default=None, description="For callers who may see every tenant; default their own, else the code's."
    )


class Previewed(Body):
    """An expression to be tried."""

    schedule: Expression
    timezone: Word | None = None
    n: int = Field(default=5, ge=1, le=100)
    after: AwareDatetime | None = Field(default=None, description="Default: now.")


class Preview(Shape):
    """When an expression fires."""

    description: str
    timezone: str
    next_runs: list[Instant]


class RunShape(Shape):
    """The job that was sent."""

    job_id: str


@door("/schedules", scope="read", tag=TAG, query=PageOf, answers={200: Schedules})
def list_schedules(query: PageOf) -> Schedules:
    """List schedules by name."""
    who = caller()
    found = operations.listing(state(), who.scope, after=_place(query.cursor), n=query.limit + 1)
    page = found[: query.limit]
    cursor = str(_cursors().dumps([page[-1].name, page[-1].tenant])) if len(found) > query.limit else None
    return Schedules(data=[ScheduleShape(**_fields(who, row)) for row in page], next_cursor=cursor)


@door(
    "/schedules",
    method="POST",
    scope="enqueue",
    tag=TAG,
    audit_as="schedule.register",
    body=Registration,
    answers={201: Registered, 200: Answer(Registered, "There was one of that name; it is like this now.")},
    errors=(409,),
)
def register_schedule(body: Registration) -> tuple[Registered, int]:
    """Register a schedule; it belongs to the caller's tenant, and sends in its name."""
    who = caller()
    draft = Draft(
        name=body.name,
        actor=sendable(body.type).actor_name,
        expression=body.schedule,
        timezone=body.timezone or state().config.timezone,
        kwargs=body.payload,
        options=body.options,
        missed=body.missed,
        grace_seconds=body.grace_ms // 1000,
        overlap=body.overlap,
    )
    note(target=body.name, type=draft.actor, schedule=draft.expression)
    principal = who.principal
    row, is_new = operations.register(
        state(), draft, tenant=principal.tenant, owner=principal.subject, enabled=body.enabled
    )
    return Registered(**_fields(who, row)), 201 if is_new else 200


@door(
    "/schedules/preview",
    method="POST",
    scope="read",
    tag=TAG,
    audit_as="schedule.preview",
    body=Previewed,
    answers={200: Preview},
)
def preview_schedule(body: Previewed) -> Preview:
    """Say when an expression fires, in words and as the next slots."""
    zone = body.timezone or state().config.timezone
    words, slots = operations.preview(state(), body.schedule, zone, body.n, body.after)
    note(target=body.schedule)
    return Preview(description=words, timezone=zone, next_runs=slots)


@door("/schedules/<schedule_name>", scope="read", tag=TAG, query=Whose, answers={200: ScheduleDetail})
def show_schedule(schedule_name: str, query: Whose) -> ScheduleDetail:
    """Show a schedule and what became of its latest slots."""
    who = caller()
    row = _found(who, schedule_name, query)
    return ScheduleDetail(**_fields(who, row), slots=[_slot(fire) for fire in operations.slots(state(), row)])


@door(
    "/schedules/<schedule_name>",
    method="PATCH",
    scope="operate",
    tag=TAG,
    audit_as="schedule.amend",
    body=Changes,
    query=Whose,
    answers={200: ScheduleShape},
    errors=(409,),
)
def amend_schedule(schedule_name: str, body: Changes, query: Whose) -> ScheduleShape:
    """Change a schedule that was made at runtime; what is not given stays as it is."""
    who = caller()
    row = _found(who, schedule_name, query)
    renamed = {"type": "actor", "payload": "kwargs", "schedule": "expression", "grace_ms": "grace_seconds"}
    given = body.model_dump(exclude_none=True, exclude={"enabled"})
    changes = {renamed.get(key, key): value for key, value in given.items()}
    if body.type is not None:
        changes["actor"] = sendable(body.type).actor_name
    if body.grace_ms is not None:
        changes["grace_seconds"] = body.grace_ms // 1000
    if body.payload is not None:
        changes["args"] = ()
    note(tenant=row.tenant, changed=sorted(body.model_dump(exclude_none=True, by_alias=True)))
    return ScheduleShape(**_fields(who, operations.amend(state(), row.name, row.tenant, changes, enabled=body.enabled)))


@door(
    "/schedules/<schedule_name>",
    method="DELETE",
    scope="operate",
    tag=TAG,
    audit_as="schedule.delete",
    query=Whose,
    answers={204: Answer(description="It is deleted; its jobs stay.")},
    errors=(409,),
)
def delete_schedule(schedule_name: str, query: Whose) -> tuple[str, int]:
    """Delete a schedule that was made at runtime."""
    row = _found(caller(), schedule_name, query)
    note(tenant=row.tenant)
    operations.delete(state(), row.name, row.tenant)
    return "", 204


@door(
    "/schedules/<schedule_name>/enable",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="schedule.enable",
    query=Whose,
    answers={200: ScheduleShape},
)
def enable_schedule(schedule_name: str, query: Whose) -> ScheduleShape:
    """Let a schedule fire again, from its next slot on."""
    who = caller()
    row = _found(who, schedule_name, query)
    note(tenant=row.tenant)
    return ScheduleShape(**_fields(who, operations.enable(state(), row.name, row.tenant)))


@door(
    "/schedules/<schedule_name>/disable",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="schedule.disable",
    query=Whose,
    answers={200: ScheduleShape},
)
def disable_schedule(schedule_name: str, query: Whose) -> ScheduleShape:
    """Let a schedule fire no more, also one that the code declares, until somebody enables it."""
    who = caller()
    row = _found(who, schedule_name, query)
    note(tenant=row.tenant)
    return ScheduleShape(**_fields(who, operations.disable(state(), row.name, row.tenant)))


@door(
    "/schedules/<schedule_name>/run",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="schedule.run",
    query=Whose,
    answers={202: RunShape},
)
def run_schedule(schedule_name: str, query: Whose) -> tuple[RunShape, int]:
    """Send a schedule's job at once, whatever its slots and its switch."""
    row = _found(caller(), schedule_name, query)
    job = operations.run_now(state(), row.name, row.tenant)
    note(tenant=row.tenant, job=job)
    return RunShape(job_id=job), 202


def _found(who: Caller, name: str, query: Whose) -> Schedule:
    """Return the schedule that a caller means: of the tenant that is named, else of its own, else of nobody."""
    if query.tenant is not None and not who.may("tenants") and query.tenant != who.principal.tenant:
        raise Problem(403, detail="Seeing other tenants' schedules needs the scope 'tenants'.")
    tenants = [who.principal.tenant, ""] if query.tenant is None else [query.tenant]
    return operations.find_within(state(), name, tenants, who.scope)


def _fields(who: Caller, row: Schedule) -> dict[str, Any]:
    try:
        words = describe(row.expression)
    except ValueError:
        words = ""  # by an older release, which accepted it
    return {
        "id": row.id,
        "name": row.name,
        "type": row.actor,
        "payload": payloads.shown(state().broker.actors.get(row.actor), row) if who.may("payload") else None,
        "options": dict(row.options),
        "schedule": row.expression,
        "timezone": row.timezone,
        "description": words,
        "enabled": row.enabled,
        "missed": row.missed,
        "grace_ms": row.grace_seconds * 1000,
        "overlap": row.overlap,
        "source": row.source,
        "tenant": row.tenant,
        "owner": row.owner,
        "next_run_at": row.next_run_at,
        "last_run_at": row.last_run_at,
        "last_error": row.last_error,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def _slot(fire: ScheduleFire) -> SlotShape:
    return SlotShape(
        slot=fire.slot, until=fire.until, outcome=fire.outcome, reason=fire.reason, job_id=fire.job_id, at=fire.at
    )


def _place(cursor: str | None) -> tuple[str, str] | None:
    if cursor is None:
        return None
    try:
        name, tenant = _cursors().loads(cursor)
        return str(name), str(tenant)
    except (BadSignature, ValueError, TypeError):
        raise invalid("cursor", "The cursor is none of ours; take 'nextCursor' of the page before.") from None


def _cursors() -> URLSafeSerializer:
    return URLSafeSerializer(current_app.secret_key or "", salt="understudy-schedules-cursor")
