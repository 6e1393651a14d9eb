"""What is new, for each person: the mails of a digest (A31)."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from app.extensions import db
from app.models.export_job import ExportJob, ExportStatus
from app.models.tenant import Tenant
from app.models.user import User
from app.models.wiki_page import WikiPage
from flask_understudy.contrib.mail import InvalidMail

DAILY = "daily"
ZONE = ZoneInfo("America/New_York")
HOUR = 9
#: How far the clock of the process may be behind the one that wakes it.
SKEW = dt.timedelta(minutes=1)
#: After how long an export that was asked for has failed if it ever does.
SETTLED = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Period:
    """The time that a digest is about.

    Attributes:
        since: Its beginning.
        until: Its end, which does not belong to it.
    """

    since: dt.datetime
    until: dt.datetime

    @property
    def name(self) -> str:
        """The day on which it ends, as people write it."""
        return f"{self.until.day} {self.until:%B %Y}"


@dataclass(frozen=True, slots=True)
class Digest:
    """What is new for one person.

    Attributes:
        user_id: Whom it is for.
        email: Their address.
        data: The fields of the mail.
    """

    user_id: str
    email: str
    data: dict[str, object]


def period_of(digest_type: str, now: dt.datetime) -> Period:
    """Return the time that a digest is about: a day, up to the last nine o'clock in New York.

    Raises:
        InvalidMail: There is no such digest.
    """
    if digest_type != DAILY:
        raise InvalidMail(f"{digest_type!r:.80} is no digest; there is {DAILY!r}.")
    here = (now + SKEW).astimezone(ZONE)
    until = here.replace(hour=HOUR, minute=0, second=0, microsecond=0)
    if until > here:
        until -= dt.timedelta(days=1)
    return Period(until - dt.timedelta(days=1), until)  # by the clock on the wall, whatever its hands did in between


def of_everybody(period: Period) -> Iterator[tuple[str, list[Digest]]]:
    """Return for each organisation, by its id, the digests of those members with a verified address that have news."""
    pages = _pages(period)
    ready = _exports(ExportJob.completed_at, ExportStatus.COMPLETED, period)
    settled = Period(period.since - SETTLED, period.until - SETTLED)
    failed = _exports(ExportJob.created_at, ExportStatus.FAILED, settled)
    for tenant_id, organization in db.session.execute(sa.select(Tenant.id, Tenant.name).order_by(Tenant.id)).all():
        members = sa.select(User.id, User.email, User.name).where(User.tenant_id == tenant_id)
        verified = members.where(User.email_verified_at.is_not(None)).order_by(User.id)
        found = []
        for user_id, email, name in db.session.execute(verified).all():
            figures = {
                "New pages of others in the wiki": sum(pages[tenant_id].values()) - pages[tenant_id][user_id],
                "Your exports that are ready": ready[tenant_id, user_id],
                "Your exports that failed": failed[tenant_id, user_id],
            }
            if told := {label: n for label, n in figures.items() if n}:
                data = {"name": name, "organization": organization, "period": period.name, "figures": told}
                found.append(Digest(user_id, email, {**data, "link": "/exports"}))
        yield tenant_id, found


class _Pages(dict[str, Counter[str]]):
    def __missing__(self, tenant_id: str) -> Counter[str]:
        return Counter()


def _pages(period: Period) -> _Pages:
    """Return how many pages are new, by organisation and author."""
    author = sa.func.coalesce(WikiPage.author_id, "")
    counted = sa.select(WikiPage.tenant_id, author, sa.func.count()).where(_within(WikiPage.created_at, period))
    found = _Pages()
    for tenant_id, author_id, n in db.session.execute(counted.group_by(WikiPage.tenant_id, author)):
        found.setdefault(tenant_id, Counter())[author_id] = n
    return found


def _exports(at: Any, status: ExportStatus, period: Period) -> Counter[tuple[str, str]]:
    """Return how many exports of each person came to that, by organisation and person."""
    owner = (ExportJob.tenant_id, ExportJob.user_id)
    counted = sa.select(*owner, sa.func.count()).where(ExportJob.status == status, _within(at, period))
    return Counter({(tenant_id, user_id): n for tenant_id, user_id, n in db.session.execute(counted.group_by(*owner))})


def _within(at: Any, period: Period) -> sa.ColumnElement[bool]:
    return sa.and_(at >= period.since, at < period.until)
