"""Tenants: who they are, what each has, and holding one back; for operators, who see all of them."""

from __future__ import annotations

from pydantic import Field
from werkzeug.routing import BaseConverter

from ..contrib.api import Body, not_found
from ..operations import tenants as operations
from ..operations.tenants import Standing
from .callers import state
from .doors import bp, door, note
from .paging import PageOf, cursor_of, keys_of
from .shapes import Instant, Shape

TAG = "Tenants"


class TenantName(BaseConverter):
    """Any text, slashes wherever they stand included: `/tenants/%2Facme` is not `/tenants/acme`."""

    part_isolating = False
    regex = "(?s:.+?)"


bp.record_once(lambda setup: setup.app.url_map.converters.update(tenant_name=TenantName))


class StateCounts(Shape):
    """How many jobs of a tenant stand in each state."""

    delayed: int
    waiting: int
    active: int
    completed: int
    failed: int
    cancelled: int


class TenantShape(Shape):
    """A tenant."""

    name: str
    paused_at: Instant | None = Field(description="Since when none of its jobs starts; null = running.")
    concurrency: int | None = Field(description="Jobs that run at a time in all processes; null = no limit.")
    counts: StateCounts

    @classmethod
    def of(cls, tenant: Standing) -> TenantShape:
        """Return a tenant's shape."""
        return cls(
            name=tenant.name,
            paused_at=tenant.paused_at,
            concurrency=tenant.concurrency,
            counts=StateCounts(**tenant.counts),
        )


class Tenants(Shape):
    """A page of tenants, by name."""

    data: list[TenantShape]
    next_cursor: str | None


class TenantLimits(Body):
    """What shall hold for the tenant."""

    concurrency: int | None = Field(ge=1, le=100_000, description="null = no limit.")


@door("/tenants", scope="tenants", tag=TAG, query=PageOf, answers={200: Tenants})
def list_tenants(query: PageOf) -> Tenants:
    """List the tenants that have jobs or are paused or limited."""
    [after] = keys_of(query, 1) or [""]
    found = operations.listing(state(), after=after, n=query.limit + 1)
    shown = found[: query.limit]
    last = [shown[-1].name] if len(found) > query.limit else None
    return Tenants(data=[TenantShape.of(tenant) for tenant in shown], next_cursor=cursor_of(last, query))


@door("/tenants/<tenant_name:tenant>", scope="tenants", tag=TAG, answers={200: TenantShape})
def show_tenant(tenant: str) -> TenantShape:
    """Describe a tenant."""
    return TenantShape.of(_known(tenant))


@door(
    "/tenants/<tenant_name:tenant>",
    method="PATCH",
    scope="tenants",
    tag=TAG,
    audit_as="tenant.limit",
    body=TenantLimits,
    answers={200: TenantShape},
)
def limit_tenant(tenant: str, body: TenantLimits) -> TenantShape:
    """Limit how many jobs of a tenant run at a time, in all processes; it may have none yet."""
    note(concurrency=body.concurrency)
    operations.limit(state(), tenant, body.concurrency)
    return TenantShape.of(operations.standing(state(), tenant))


@door(
    "/tenants/<tenant_name:tenant>/pause",
    method="POST",
    scope="tenants",
    tag=TAG,
    audit_as="tenant.pause",
    answers={200: TenantShape},
)
def pause_tenant(tenant: str) -> TenantShape:
    """Start no job of a tenant any more; what runs goes on."""
    _known(tenant)
    operations.pause(state(), tenant)
    return TenantShape.of(operations.standing(state(), tenant))


@door(
    "/tenants/<tenant_name:tenant>/resume",
    method="POST",
    scope="tenants",
    tag=TAG,
    audit_as="tenant.resume",
    answers={200: TenantShape},
)
def resume_tenant(tenant: str) -> TenantShape:
    """Start jobs of a paused tenant again."""
    _known(tenant)
    operations.resume(state(), tenant)
    return TenantShape.of(operations.standing(state(), tenant))


def _known(name: str) -> Standing:
    found = operations.find(state(), name)
    if found is None:
        raise not_found()
    return found
