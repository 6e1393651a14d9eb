"""Data to try the service with: two organisations, their people, pages, events, payroll, stations and workflows.

The same data whenever it is asked for, and only once in a database.
"""

from __future__ import annotations

import datetime as dt
import random

import sqlalchemy as sa

from app.extensions import db
from app.models.analytics_event import AnalyticsEvent
from app.models.api_token import ApiToken
from app.models.base import new_id, utcnow
from app.models.tenant import Tenant
from app.models.user import User
from app.models.wiki_page import WikiPage
from app.policies import ROLES, SCOPES
from app.services import demo_payroll, demo_stations, demo_workflows, tokens

EVENTS_PER_TENANT = 2_000
PAGES_PER_TENANT = 25
TOKEN_NAME = "demo"
HOST = "host"

_TENANTS = (("acorn", "Acorn Bakery"), ("basalt", "Basalt Studios"))
OTHER_TENANT = _TENANTS[1][0]
_NAMES = ("Ada", "Bruno", "Chloé", "Dmitri", "Esra", "Femi", "Grete", "Hiro")
_TOPICS = ("Onboarding", "Holidays", "Recipes", "Deploying", "Payroll", "Safety", "Style guide")
_EVENTS = ("page.viewed", "page.edited", "search", "signed_in", "export.requested")


def load() -> int:
    """Add the demo organisations that are missing; commit; return how many were added."""
    added = 0
    for slug, name in _TENANTS:
        if db.session.scalar(sa.select(Tenant.id).where(Tenant.slug == slug)) is None:
            _add_tenant(slug, name)
            added += 1
    db.session.commit()
    return added


def tenant_id() -> str:
    """Return the id of the organisation that is looked at first."""
    return db.session.scalars(sa.select(Tenant.id).where(Tenant.slug == _TENANTS[0][0])).one()


def renew_tokens() -> dict[str, str]:
    """Give the first organisation's people a fresh token each, ending the last ones; commit.

    Returns:
        The secret for each role, weakest role first, and for `HOST`, the operator of the whole service.
    """
    first = tenant_id()
    earlier = sa.select(ApiToken).where(
        ApiToken.tenant_id == first,
        ApiToken.name == TOKEN_NAME,
        ApiToken.revoked_at.is_(None),
    )
    for token in db.session.scalars(earlier).all():
        tokens.revoke(token)
    secrets = {}
    for role, scopes in ROLES.items():
        user_id = db.session.scalar(sa.select(User.id).where(User.tenant_id == first, User.role == role).limit(1))
        _, secrets[role] = tokens.create(tenant_id=first, user_id=user_id, name=TOKEN_NAME, scopes=scopes)
    _, secrets[HOST] = tokens.create(tenant_id=first, user_id=None, name=TOKEN_NAME, scopes=SCOPES)
    db.session.commit()
    return secrets


def _add_tenant(slug: str, name: str) -> None:
    # Seeded by the slug: the data is the same in every database.
    chance = random.Random(slug)
    tenant = Tenant(id=new_id(), slug=slug, name=name)
    db.session.add(tenant)
    db.session.flush()
    roles = list(ROLES)
    people = [
        User(
            id=new_id(),
            tenant_id=tenant.id,
            email=f"{_ascii(first).lower()}@{slug}.example",
            name=first,
            role=roles[number % len(roles)],
            email_verified_at=utcnow(),
        )
        for number, first in enumerate(_NAMES)
    ]
    db.session.add_all(people)
    db.session.flush()
    now = utcnow()
    for number in range(PAGES_PER_TENANT):
        topic = _TOPICS[number % len(_TOPICS)]
        db.session.add(
            WikiPage(
                tenant_id=tenant.id,
                author_id=chance.choice(people).id,
                slug=f"{topic.lower().replace(' ', '-')}-{number + 1}",
                title=f"{topic}, part {number // len(_TOPICS) + 1}",
                body=f"What everybody at {name} should know about {topic.lower()}.\n" * 5,
                created_at=now - dt.timedelta(days=chance.randrange(1, 400)),
            )
        )
    events = [
        {
            "tenant_id": tenant.id,
            "user_id": chance.choice(people).id,
            "name": chance.choice(_EVENTS),
            "properties": {"page": chance.randrange(1, PAGES_PER_TENANT + 1)},
            "occurred_at": now - dt.timedelta(minutes=chance.randrange(90 * 24 * 60)),
        }
        for _ in range(EVENTS_PER_TENANT)
    ]
    db.session.execute(sa.insert(AnalyticsEvent), events)
    demo_payroll.add(tenant.id, slug, chance)
    demo_stations.add(tenant.id, [person.id for person in people], chance)
    demo_workflows.add(tenant.id, people[0].id)


def _ascii(name: str) -> str:
    return name.replace("é", "e")
