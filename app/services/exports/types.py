"""What can be exported, with which filters (requirement A40).

A type is a name, a model of its filters and a SELECT. Each SELECT is bound to the tenant of who asked;
none has a password, a token or a digest of one among its columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import Field

from app.models.analytics_event import AnalyticsEvent
from app.models.export_job import ExportJob, ExportType
from app.models.user import User
from app.models.wiki_page import WikiPage
from app.services.exports.checking import check_one_of, checked, stored
from flask_understudy.contrib.api import Body, Instant

Query = sa.Select[*tuple[Any, ...]] | sa.CompoundSelect[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Owner:
    """Who asked, and in whose house."""

    tenant_id: str
    user_id: str


class Period(Body):
    """Filters that every type has: from ``createdAfter`` on, and before ``createdBefore``."""

    created_after: Instant | None = None
    created_before: Instant | None = None

    def within(self, column: Any) -> list[sa.ColumnElement[bool]]:
        """Return the conditions on ``column``."""
        conditions = []
        if self.created_after is not None:
            conditions.append(column >= self.created_after)
        if self.created_before is not None:
            conditions.append(column < self.created_before)
        return conditions


class WikiPageFilters(Period):
    """Filters of WIKI_PAGES."""

    updated_after: Instant | None = None
    author_id: str | None = Field(None, min_length=1, max_length=36)


class MemberFilters(Period):
    """Filters of MEMBERS."""

    role: Literal["viewer", "member", "operator", "admin"] | None = None
    is_verified: bool | None = None


class AnalyticsFilters(Period):
    """Filters of ANALYTICS."""

    name: str | None = Field(None, min_length=1, max_length=100)
    user_id: str | None = Field(None, min_length=1, max_length=36)


def user_data(owner: Owner, filters: Period) -> Query:
    """Everything about the person who asks: the account, pages written, events, exports."""

    def part(record: str, id_: Any, label: Any, detail: Any, created_at: Any, model: Any, *of: Any) -> Any:
        return sa.select(
            sa.literal(record).label("record"),
            sa.cast(id_, sa.String(36)).label("id"),
            sa.cast(label, sa.Text).label("label"),
            sa.cast(detail, sa.Text).label("detail"),
            sa.type_coerce(created_at, User.created_at.type).label("created_at"),
        ).where(model.tenant_id == owner.tenant_id, *of, *filters.within(created_at))

    own_pages = WikiPage.author_id == owner.user_id
    own_events = AnalyticsEvent.user_id == owner.user_id
    return sa.union_all(
        part("account", User.id, User.email, User.name, User.created_at, User, User.id == owner.user_id),
        part("wiki_page", WikiPage.id, WikiPage.title, WikiPage.body, WikiPage.created_at, WikiPage, own_pages),
        part(
            "event",
            AnalyticsEvent.id,
            AnalyticsEvent.name,
            sa.null(),
            AnalyticsEvent.occurred_at,
            AnalyticsEvent,
            own_events,
        ),
        part(
            "export",
            ExportJob.id,
            ExportJob.type,
            ExportJob.status,
            ExportJob.created_at,
            ExportJob,
            ExportJob.user_id == owner.user_id,
        ),
    ).order_by("created_at", "record", "id")


def wiki_pages(owner: Owner, filters: WikiPageFilters) -> Query:
    """The pages of the organisation, with their authors."""
    query = (
        sa.select(
            WikiPage.id,
            WikiPage.slug,
            WikiPage.title,
            WikiPage.body,
            User.name.label("author_name"),
            User.email.label("author_email"),
            WikiPage.created_at,
            WikiPage.updated_at,
        )
        .outerjoin(User, sa.and_(User.id == WikiPage.author_id, User.tenant_id == WikiPage.tenant_id))
        .where(WikiPage.tenant_id == owner.tenant_id, *filters.within(WikiPage.created_at))
        .order_by(WikiPage.slug)
    )
    if filters.updated_after is not None:
        query = query.where(WikiPage.updated_at >= filters.updated_after)
    if filters.author_id is not None:
        query = query.where(WikiPage.author_id == filters.author_id)
    return query


def members(owner: Owner, filters: MemberFilters) -> Query:
    """The people of the organisation."""
    query = (
        sa.select(User.id, User.email, User.name, User.role, User.email_verified_at, User.created_at)
        .where(User.tenant_id == owner.tenant_id, *filters.within(User.created_at))
        .order_by(User.email)
    )
    if filters.role is not None:
        query = query.where(User.role == filters.role)
    if filters.is_verified is not None:
        query = query.where(User.email_verified_at.is_not(None) == sa.literal(filters.is_verified))
    return query


def analytics(owner: Owner, filters: AnalyticsFilters) -> Query:
    """What happened in the organisation."""
    query = (
        sa.select(
            AnalyticsEvent.id,
            AnalyticsEvent.name,
            AnalyticsEvent.user_id,
            AnalyticsEvent.properties,
            AnalyticsEvent.occurred_at,
        )
        .where(
            AnalyticsEvent.tenant_id == owner.tenant_id,
            *filters.within(AnalyticsEvent.occurred_at),
        )
        .order_by(AnalyticsEvent.occurred_at, AnalyticsEvent.id)
    )
    if filters.name is not None:
        query = query.where(AnalyticsEvent.name == filters.name)
    if filters.user_id is not None:
        query = query.where(AnalyticsEvent.user_id == filters.user_id)
    return query


_TYPES: dict[ExportType, tuple[type[Any], Callable[[Owner, Any], Query]]] = {
    ExportType.USER_DATA: (Period, user_data),
    ExportType.WIKI_PAGES: (WikiPageFilters, wiki_pages),
    ExportType.MEMBERS: (MemberFilters, members),
    ExportType.ANALYTICS: (AnalyticsFilters, analytics),
}


def type_named(name: str) -> ExportType:
    """Return the type called ``name``.

    Raises:
        Problem: 422 with the valid names.
    """
    check_one_of("/type", "export", name, tuple(ExportType.__members__))
    return ExportType[name]


def checked_filters(type_: ExportType, filters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filters as they are stored: known ones, of the right kind, without the absent.

    Raises:
        Problem: 422 naming the filter, and the valid ones where it is unknown.
    """
    return stored(checked(_TYPES[type_][0], type_, filters))


def query_of(type_: ExportType, owner: Owner, filters: Mapping[str, Any]) -> Query:
    """Return what an export selects, from filters as they are stored."""
    model, select = _TYPES[type_]
    return select(owner, model.model_validate(dict(filters)))
