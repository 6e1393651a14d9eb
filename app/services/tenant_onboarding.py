"""Making an organisation that somebody ordered, step by step (A49, A50).

An order has a key: the subscription that it pays with, or its administrator and name. The organisation's id follows
from the key, and a unique index holds it, so the same order makes one organisation however often and wherever it is
carried out. Each function here is a step: it runs in the caller's transaction, and does nothing when it was done.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

import sqlalchemy as sa
from pydantic import AfterValidator, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError
from sqlalchemy.dialects import postgresql, sqlite

from app.extensions import db
from app.models.base import utcnow
from app.models.invitation import Invitation
from app.models.tenant import Tenant
from app.models.user import User
from app.models.wiki_page import WikiPage
from app.services import accounts, audit
from app.services.people import Address, Name
from flask_understudy.contrib.api import Body

Tier = Literal["free", "starter", "professional", "enterprise"]
TIERS: tuple[str, ...] = get_args(Tier)

ADMINISTRATOR = "admin"
#: Never to be changed: the ids of organisations are made of it and the key of their order.
_NAMESPACE = uuid.UUID("6f0a53c4-8c0e-4f0e-9d0b-7d6d2c1f6b1e")
#: Tries at a slug that other organisations of the same name want as well.
_MOST_SLUGS = 5

_FIRST_PAGE = """This is the wiki of {organization}. Write down what everybody should find.

To begin with:

- Invite the others.
- Replace this page with your own.
"""


class InvalidOnboarding(ValueError):
    """An order cannot be carried out; names the field, what was given and what is valid."""


class OnboardingConflict(InvalidOnboarding):
    """The order is known with other data."""


def _stripe(prefix: str, what: str) -> Callable[[str], str]:
    def checked(text: str) -> str:
        rest = text.removeprefix(prefix)
        if rest == text or not rest.isascii() or not rest.isalnum():
            raise PydanticCustomError(
                "stripe", "a {what} of Stripe's is {prefix} with letters and digits", {"what": what, "prefix": prefix}
            )
        return text

    return checked


CustomerId = Annotated[str, StringConstraints(max_length=80), AfterValidator(_stripe("cus_", "customer"))]
SubscriptionId = Annotated[str, StringConstraints(max_length=80), AfterValidator(_stripe("sub_", "subscription"))]


class Order(Body):
    """A new organisation and who administers it."""

    organization_name: Name
    admin_email: Address
    admin_name: Name
    tier: Tier
    stripe_customer_id: CustomerId | None = Field(default=None, description="cus_…")
    stripe_subscription_id: SubscriptionId | None = Field(
        default=None, description="sub_…; orders with the same one are the same order."
    )

    @property
    def key(self) -> str:
        """What makes two orders the same one, in up to 100 characters."""
        if self.stripe_subscription_id is not None:
            return f"stripe:{self.stripe_subscription_id}"
        words = " ".join(self.organization_name.casefold().split())
        return "order:" + hashlib.sha256(f"{self.admin_email}\n{words}".encode()).hexdigest()

    @property
    def tenant_id(self) -> str:
        """The id of the organisation, before there is one and ever after."""
        return str(uuid.uuid5(_NAMESPACE, self.key))


def read(**fields: Any) -> Order:
    """Return an order, checked.

    Raises:
        InvalidOnboarding: Naming each field that is wrong, what was given and what is valid.
    """
    try:
        return Order.model_validate(fields, strict=True)
    except ValidationError as problem:
        wrong = [_said(error) for error in problem.errors(include_url=False)]
        raise InvalidOnboarding("; ".join(wrong)) from None


def check(order: Order) -> None:
    """Let an order pass that is new, or is the one that made the organisation.

    Raises:
        OnboardingConflict: Its subscription belongs to an organisation of another name.
    """
    name = db.session.scalar(sa.select(Tenant.name).where(Tenant.onboarding_key == order.key))
    if name is not None and name.casefold() != order.organization_name.casefold():
        raise OnboardingConflict(
            f"organization_name is {order.organization_name!r}, and {order.stripe_subscription_id} is the "
            f"subscription of {name!r}. Give the subscription of the new organisation."
        )


def add_tenant(order: Order, by: str) -> dict[str, Any]:
    """Add the organisation, or find it; return its ``slug`` and whether it ``is_onboarded`` already."""
    insert = postgresql.insert if db.engine.dialect.name == "postgresql" else sqlite.insert
    for _ in range(_MOST_SLUGS):
        known = sa.select(Tenant.slug, Tenant.onboarded_at).where(Tenant.onboarding_key == order.key)
        if (found := db.session.execute(known).one_or_none()) is not None:
            return {"slug": found.slug, "is_onboarded": found.onboarded_at is not None}
        values = {
            "id": order.tenant_id,
            "slug": accounts.free_slug(order.organization_name),
            "name": order.organization_name,
            "onboarding_key": order.key,
            "created_at": utcnow(),
        }
        # Another order may take the slug, or the same one make the organisation, between the look and this.
        if db.session.scalar(insert(Tenant).values(**values).on_conflict_do_nothing().returning(Tenant.id)):
            audit.record("tenant.create", tenant_id=order.tenant_id, subject=by, target=order.tenant_id)
    raise RuntimeError(f"No free slug was found for {order.organization_name!r}.")


def add_administrator(order: Order) -> str | None:
    """Add who administers it, without a password, and return their id; None when all is done."""
    return _while_open(order, lambda: _administrator(order))


def add_defaults(order: Order) -> None:
    """Add the first page of its wiki."""
    _while_open(order, lambda: _first_page(order))


def set_billing(order: Order) -> None:
    """Note what it pays for, and how."""
    paid = {
        "tier": order.tier,
        "stripe_customer_id": order.stripe_customer_id,
        "stripe_subscription_id": order.stripe_subscription_id,
    }
    db.session.execute(sa.update(Tenant).where(_is_open(order)).values(**paid))


def invite_administrator(order: Order, by: str, send: Callable[[str], object]) -> None:
    """Invite who administers it; ``send`` gets the invitation's secret, which is kept nowhere."""

    def invite() -> None:
        ours = sa.select(Invitation).filter_by(tenant_id=order.tenant_id)
        for other in db.session.scalars(ours.where(Invitation.email != order.admin_email)):
            db.session.delete(other)
        invited = ours.filter_by(email=order.admin_email)
        if db.session.scalar(invited) is None:
            _, secret = accounts.invite(tenant_id=order.tenant_id, email=order.admin_email, role=ADMINISTRATOR, by=by)
            send(secret)

    _while_open(order, invite)


def complete(order: Order) -> bool:
    """Note that all is done; return whether it was this call that did."""
    done = sa.update(Tenant).where(_is_open(order)).values(onboarded_at=utcnow()).returning(Tenant.id)
    return db.session.scalar(done) is not None


def _while_open(order: Order, act: Callable[[], Any]) -> Any:
    """Act unless all is done. The row is written, and so locked on every database, that others wait meanwhile."""
    held = sa.update(Tenant).where(_is_open(order)).values(name=Tenant.name).returning(Tenant.id)
    return act() if db.session.scalar(held) is not None else None


def _is_open(order: Order) -> sa.ColumnElement[bool]:
    return sa.and_(Tenant.id == order.tenant_id, Tenant.onboarded_at.is_(None))


def _administrator(order: Order) -> str:
    people = sa.select(User).filter_by(tenant_id=order.tenant_id)
    user = db.session.scalar(people.filter_by(email=order.admin_email))
    if user is None:  # an order that failed may have had another address: nobody keeps the right to it
        user = db.session.scalar(people.filter_by(password_hash=None).limit(1))
    if user is None:
        user = User(tenant_id=order.tenant_id, role=ADMINISTRATOR)
        db.session.add(user)
    if user.password_hash is None:
        user.email, user.name = order.admin_email, order.admin_name
    db.session.flush()
    return user.id


def _first_page(order: Order) -> None:
    if db.session.scalar(sa.select(WikiPage.id).filter_by(tenant_id=order.tenant_id, slug="welcome")) is None:
        title, body = f"Welcome to {order.organization_name}", _FIRST_PAGE.format(organization=order.organization_name)
        db.session.add(WikiPage(tenant_id=order.tenant_id, slug="welcome", title=title, body=body))


def _said(error: Any) -> str:
    """Return what is wrong with a field, by the name that it has in Python."""
    names = {field.alias: name for name, field in Order.model_fields.items()}
    field = ".".join(str(part) for part in error["loc"]) or "the order"
    given = "missing" if error["type"] == "missing" else f"{error['input']!r:.80}"
    return f"{names.get(field, field)} is {given}: {error['msg']}"
