"""Limits by key: what holds, and changing it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from ..contrib.api import Answer, Body, Problem
from ..operations import limits as operations
from ..operations.limits import Standing
from .callers import caller, state
from .doors import door, note
from .finding import PageOfTenant, within
from .paging import cursor_of, pair_of
from .shapes import Shape

TAG = "Limits"


class OfTenant(Body):
    """Whose key."""

    tenant: Annotated[str, StringConstraints(max_length=200)] | None = Field(
        default=None, description="Default: the caller's; another one needs the scope 'tenants'."
    )


class KeyLimits(Body):
    """What shall hold for a key."""

    concurrency: int | None = Field(default=None, ge=1, le=100_000, description="null = no limit.")
    rate: Annotated[str, StringConstraints(max_length=50)] | None = Field(
        default=None, description="Starts within a span of time, such as 100/minute or 5/10 seconds; null = no limit."
    )


class LimitShape(Shape):
    """A key."""

    tenant: str
    key: str
    concurrency: int | None = Field(description="Jobs that run at a time in all processes; null = no limit.")
    rate: str | None = Field(description="Starts within a span of time; null = no limit.")
    is_set: bool = Field(description="Whether an operator set it, and not the code.")
    active: int
    held_back: int = Field(description="Jobs that wait for room.")

    @classmethod
    def of(cls, found: Standing) -> LimitShape:
        """Return a key's shape."""
        return cls(**{name: getattr(found, name) for name in Standing.__slots__})


class Limits(Shape):
    """A page of keys."""

    data: list[LimitShape]
    next_cursor: str | None


@door("/limits", scope="read", tag=TAG, query=PageOfTenant, answers={200: Limits})
def list_limits(query: PageOfTenant) -> Limits:
    """List the keys that jobs are limited by."""
    scope = within(caller(), query.tenant)
    found = operations.listing(state(), scope, after=pair_of(query), n=query.limit + 1)
    shown = found[: query.limit]
    last = (shown[-1].tenant, shown[-1].key) if len(found) > query.limit else None
    return Limits(data=[LimitShape.of(key) for key in shown], next_cursor=cursor_of(last, query))


@door("/limits/<path:key>", scope="read", tag=TAG, query=OfTenant, answers={200: LimitShape})
def show_limit(key: str, query: OfTenant) -> LimitShape:
    """Say what holds for a key."""
    return LimitShape.of(operations.find(state(), (_tenant(query), key)))


@door(
    "/limits/<path:key>",
    method="PATCH",
    scope="operate",
    tag=TAG,
    audit_as="limit.set",
    query=OfTenant,
    body=KeyLimits,
    answers={200: LimitShape},
)
def limit_key(key: str, query: OfTenant, body: KeyLimits) -> LimitShape:
    """Limit the jobs that share a key, whatever the code says; it may have none yet. What is not named stays."""
    changes = {name: getattr(body, name) for name in sorted(body.model_fields_set)}
    note(tenant=_tenant(query), **changes)
    operations.change(state(), (_tenant(query), key), changes)
    return LimitShape.of(operations.find(state(), (_tenant(query), key)))


@door(
    "/limits/<path:key>",
    method="DELETE",
    scope="operate",
    tag=TAG,
    audit_as="limit.reset",
    query=OfTenant,
    answers={204: Answer(description="The code says.")},
)
def reset_limit(key: str, query: OfTenant) -> tuple[str, int]:
    """Let the code say again what holds for a key."""
    note(tenant=_tenant(query))
    operations.reset(state(), (_tenant(query), key))
    return "", 204


def _tenant(query: OfTenant) -> str:
    who = caller()
    if query.tenant is None or query.tenant == who.principal.tenant:
        return who.principal.tenant
    if not who.may("tenants"):
        raise Problem(403, detail="Other tenants' limits need the scope 'tenants'.")
    return query.tenant
