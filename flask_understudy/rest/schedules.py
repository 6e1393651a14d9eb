"""Schedules as rows: what fires when, for whom, and switching it (requirements F03 to F05, F08, K02)."""

from __future__ import annotations

from ..contrib.api import Answer, invalid
from ..ledger import Schedule, ScheduleFire
from ..operations import payloads
from ..operations import schedules as operations
from ..operations.drafts import Draft
from ..operations.timetable import upcoming
from .callers import Caller, caller, state
from .doors import door, note
from .finding import PageOfTenant, within
from .paging import cursor_of, pair_of
from .schedule_shapes import (
    Changes,
    Preview,
    Previewed,
    Registered,
    Registration,
    RunShape,
    ScheduleDetail,
    Schedules,
    ScheduleShape,
    SlotShape,
    Whose,
    fields_of,
    fields_of_each,
)
from .sending import sendable

TAG = "Schedules"


@door("/schedules", scope="read", tag=TAG, query=PageOfTenant, answers={200: Schedules})
def list_schedules(query: PageOfTenant) -> Schedules:
    """List schedules by name."""
    who = caller()
    found = operations.listing(state(), within(who, query.tenant), after=pair_of(query), n=query.limit + 1)
    page = found[: query.limit]
    last = (page[-1].name, page[-1].tenant) if len(found) > query.limit else None
    return Schedules(
        data=[ScheduleShape(**fields) for fields in fields_of_each(who, page)], next_cursor=cursor_of(last, query)
    )


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
    return Registered(**fields_of(who, row)), 201 if is_new else 200


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
    return ScheduleDetail(
        **fields_of(who, row),
        next_runs=upcoming(row.expression, row.timezone, row.next_run_at) if row.enabled else [],
        slots=[_slot(fire) for fire in operations.slots(state(), row)],
    )


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
    is_other = body.type is not None and sendable(body.type).actor_name != row.actor
    if body.type is not None:
        changes["actor"] = sendable(body.type).actor_name
    if is_other and body.payload is None and (row.args or row.kwargs):
        raise invalid("payload", "Another type takes a payload of its own; give it as well.")
    if body.grace_ms is not None:
        changes["grace_seconds"] = body.grace_ms // 1000
    if body.payload is not None:
        changes["args"] = ()
        actor = state().broker.actors.get(row.actor)
        changes["kwargs"] = payloads.anew(body.payload) if is_other else payloads.restored(actor, row, body.payload)
    note(tenant=row.tenant, changed=sorted(body.model_dump(exclude_none=True, by_alias=True)))
    return ScheduleShape(
        **fields_of(who, operations.amend(state(), row.name, row.tenant, changes, enabled=body.enabled))
    )


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
    return ScheduleShape(**fields_of(who, operations.enable(state(), row.name, row.tenant)))


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
    return ScheduleShape(**fields_of(who, operations.disable(state(), row.name, row.tenant)))


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
    scope = within(who, query.tenant)
    tenants = [who.principal.tenant, ""] if query.tenant is None else [query.tenant]
    return operations.find_within(state(), name, tenants, scope)


def _slot(fire: ScheduleFire) -> SlotShape:
    return SlotShape(
        slot=fire.slot, until=fire.until, outcome=fire.outcome, reason=fire.reason, job_id=fire.job_id, at=fire.at
    )
