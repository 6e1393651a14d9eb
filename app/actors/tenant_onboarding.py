"""New organisations, made in the background (requirements A49, A50, D14)."""

from __future__ import annotations

from typing import Any

import dramatiq

from app.actors.email import send_invitation_email
from app.events import TenantOnboarded
from app.extensions import jobs
from app.models.analytics_event import AnalyticsEvent
from app.services import tenant_onboarding as onboarding
from app.services.ownership import NotOwn, check_own
from app.services.tenant_onboarding import InvalidOnboarding, OnboardingConflict, Order
from flask_understudy import current_job, step

QUEUE = "tenant-onboarding"


@jobs.actor(
    queue_name=QUEUE,
    actor_name="tenant:onboard",
    workflow=True,
    fallback="hold",
    throws=(InvalidOnboarding,),
)
def onboard_tenant(
    organization_name: str,
    admin_email: str,
    admin_name: str,
    tier: str,
    stripe_customer_id: str | None = None,
    stripe_subscription_id: str | None = None,
) -> dict[str, Any]:
    """Make an organisation and invite the person who administers it.

    It belongs to the organisation that it makes, and makes no other one: whoever may send it again there can do no
    more with it than repeat it.
    """
    order = onboarding.read(
        organization_name=organization_name,
        admin_email=admin_email,
        admin_name=admin_name,
        tier=tier,
        stripe_customer_id=stripe_customer_id,
        stripe_subscription_id=stripe_subscription_id,
    )
    if current_job.tenant != order.tenant_id:
        raise InvalidOnboarding("The job is not of the organisation that it is to make; use queue_tenant_onboarding.")
    by = f"job:{current_job.id}"
    tenant = step.run("organisation", onboarding.add_tenant, order, by, transaction=True)
    made = {"tenant": order.tenant_id, "slug": tenant["slug"]}
    if tenant["is_onboarded"]:
        return made | {"skipped": True}
    administrator = step.run("administrator", onboarding.add_administrator, order, transaction=True)
    step.run("defaults", onboarding.add_defaults, order, transaction=True)
    step.run("billing", onboarding.set_billing, order, transaction=True)
    step.run("invitation", _invite, order, by, transaction=True)
    is_last = step.run("announcement", _announce, order, tenant["slug"], administrator, transaction=True)
    return made | {"skipped": not is_last}


@jobs.on(TenantOnboarded, queue_name=QUEUE, throws=(NotOwn,))
def count_onboarding(event: TenantOnboarded) -> None:
    """Count a new organisation."""
    check_own(event.tenant_id, f"event of {event.tenant_id!r:.80}")
    with current_job.transaction() as session:
        session.add(AnalyticsEvent(tenant_id=event.tenant_id, name="tenant.onboarded", properties={"tier": event.tier}))


def queue_tenant_onboarding(
    *,
    organization_name: str,
    admin_email: str,
    admin_name: str,
    tier: str,
    stripe_customer_id: str | None = None,
    stripe_subscription_id: str | None = None,
) -> dramatiq.Message[Any]:
    """Queue the making of an organisation; while the same order is queued or runs, its job is returned (A49).

    Orders are the same when their subscription is, or without one when administrator and name are. Carried out again,
    an order changes nothing. It joins the caller's transaction when that has uncommitted writes, and else is
    committed at once.

    Args:
        organization_name: 1 to 200 characters in one line. Several organisations may have the same.
        admin_email: Who is invited to administer it; they choose their password.
        admin_name: 1 to 200 characters in one line.
        tier: free, starter, professional or enterprise.
        stripe_customer_id: cus_…, default none.
        stripe_subscription_id: sub_…, default none.

    Raises:
        InvalidOnboarding: Naming the field, what was given and what is valid; nothing was stored.
        OnboardingConflict: The same order is known with other data; nothing was stored.
    """
    order = onboarding.read(
        organization_name=organization_name,
        admin_email=admin_email,
        admin_name=admin_name,
        tier=tier,
        stripe_customer_id=stripe_customer_id,
        stripe_subscription_id=stripe_subscription_id,
    )
    onboarding.check(order)
    message = onboard_tenant.send_with_options(
        kwargs=order.model_dump(), dedup_key="tenant:onboard", tenant=order.tenant_id
    )
    _check_twin(order, message.message_id)
    return message


def _check_twin(order: Order, job_id: str) -> None:
    """Refuse an order whose job was there before, with other data; a new one has these, or is not committed yet."""
    job = jobs.get(job_id)
    known = order.model_dump() if job is None else job.kwargs
    other = [name for name, value in order.model_dump().items() if known.get(name) != value]
    if other:
        raise OnboardingConflict(
            f"{other[0]} is {getattr(order, other[0])!r:.100}, and the same order is under way with "
            f"{known.get(other[0])!r:.100}. Wait for its end, or cancel its job {job_id}."
        )


def _invite(order: Order, by: str) -> None:
    def send(secret: str) -> None:
        send_invitation_email(order.admin_email, order.admin_name, order.organization_name, secret)

    onboarding.invite_administrator(order, by, send)


def _announce(order: Order, slug: str, administrator: str | None) -> bool:
    if administrator is None or not onboarding.complete(order):
        return False
    jobs.publish(TenantOnboarded(tenant_id=order.tenant_id, slug=slug, tier=order.tier, administrator_id=administrator))
    return True
