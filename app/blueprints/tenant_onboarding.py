"""Ordering a new organisation over HTTP (I18): for operators of the whole service."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response
from pydantic import Field

from app.actors.tenant_onboarding import queue_tenant_onboarding
from app.auth import current_principal, requires
from app.extensions import db
from app.services import audit
from app.services.shapes import Queued
from app.services.tenant_onboarding import OnboardingConflict, Order
from flask_understudy.contrib.api import Problem, once, operation

CLAIMS = ("organization_id", "user_id")

bp = Blueprint("tenant_onboarding", __name__, url_prefix="/api/jobs/tenant-onboarding")


class OrderByCaller(Order):
    """A new organisation and who administers it."""

    organization_id: str | None = Field(default=None, description="The caller's; another one is a 403.")
    user_id: str | None = Field(default=None, description="The caller's; another one is a 403.")


@bp.post("")
@requires("tenants")
@operation(tag="Tenant onboarding", body=OrderByCaller, answers={202: Queued}, errors=(409,))
def order(body: OrderByCaller) -> Response:
    """Queue the making of an organisation; the same order again changes nothing."""
    return once(db.session, current_principal().tenant, current_principal().subject, lambda: _order(body))


def _order(body: OrderByCaller) -> tuple[dict[str, Any], int]:
    caller = current_principal()
    if body.organization_id not in {None, caller.tenant} or body.user_id not in {None, caller.subject}:
        raise Problem(403, detail="organizationId and userId are those of the token; leave them out.")
    audit.record("tenant.onboard", tenant_id=caller.tenant, subject=caller.subject, target=body.tenant_id)
    try:
        message = queue_tenant_onboarding(**body.model_dump(exclude=set(CLAIMS)))  # in one transaction with its record
    except OnboardingConflict as problem:
        db.session.rollback()
        raise Problem(409, detail=str(problem)) from None
    return Queued.of(message).answer(), 202
