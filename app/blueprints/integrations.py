"""Integrations over HTTP: connecting an account, renewing its tokens, letting it go. Tokens are never shown."""

from __future__ import annotations

import re
from typing import Annotated, Any

import sqlalchemy as sa
from flask import Blueprint, Response
from pydantic import StringConstraints

from app.actors.integrations import queue_token_refresh
from app.auth import current_principal, requires
from app.extensions import db
from app.models.integration import Integration
from app.services import audit, integrations
from app.services.shapes import Queued, Shape
from flask_understudy.contrib.api import Answer, Body, Instant, Problem, invalid, not_found, once, operation

bp = Blueprint("integrations", __name__, url_prefix="/api/integrations")

TAG = "Integrations"
_ID = re.compile(r"[0-9a-f-]{36}")

Token = Annotated[str, StringConstraints(min_length=1, max_length=8_000)]


class Grant(Body):
    """An account that was connected elsewhere."""

    provider: Annotated[str, StringConstraints(max_length=50)]
    account: Annotated[str, StringConstraints(min_length=1, max_length=254)]
    access_token: Token
    refresh_token: Token
    expires_at: Instant


class IntegrationShape(Shape):
    """An integration."""

    id: str
    provider: str
    account: str
    expires_at: Instant
    refreshed_at: Instant | None
    revoked_at: Instant | None
    error: str | None
    created_at: Instant


class IntegrationList(Shape):
    """All integrations."""

    data: list[IntegrationShape]


@bp.get("")
@requires("read")
@operation(tag=TAG, answers={200: IntegrationList})
def list_integrations() -> Any:
    """List the organisation's integrations."""
    query = sa.select(Integration).filter_by(tenant_id=current_principal().tenant)
    found = db.session.scalars(query.order_by(Integration.provider, Integration.account))
    return IntegrationList(data=[_shape(integration) for integration in found])


@bp.post("")
@requires("admin")
@operation(tag=TAG, body=Grant, answers={201: IntegrationShape})
def connect(body: Grant) -> Response:
    """Keep the tokens of an account; those of one that is connected already are replaced."""
    return once(db.session, current_principal().tenant, current_principal().subject, lambda: _connect(body))


@bp.post("/<integration_id>/refresh")
@requires("operate")
@operation(tag=TAG, answers={202: Queued}, errors=(409,))
def refresh(integration_id: str) -> Response:
    """Queue the renewal of an integration's tokens."""
    caller = current_principal()
    return once(db.session, caller.tenant, caller.subject, lambda: _refresh(integration_id))


@bp.delete("/<integration_id>")
@requires("admin")
@operation(tag=TAG, answers={204: Answer(description="The tokens are gone.")})
def disconnect(integration_id: str) -> tuple[str, int]:
    """Forget an account and its tokens."""
    integration, caller = _own(integration_id), current_principal()
    audit.record("integration.delete", tenant_id=caller.tenant, subject=caller.subject, target=integration.id)
    db.session.delete(integration)
    db.session.commit()
    return "", 204


def _connect(body: Grant) -> tuple[dict[str, Any], int]:
    caller = current_principal()
    try:
        integration = integrations.connect(caller.tenant, **{name: getattr(body, name) for name in Grant.model_fields})
    except integrations.IntegrationRefused as problem:
        raise invalid("provider", str(problem)) from None
    audit.record("integration.connect", tenant_id=caller.tenant, subject=caller.subject, target=integration.id)
    return _shape(integration).answer(), 201


def _refresh(integration_id: str) -> tuple[dict[str, Any], int]:
    try:
        return Queued.of(queue_token_refresh(_own(integration_id).id)).answer(), 202
    except integrations.GrantRevoked as problem:
        raise Problem(409, detail=str(problem)) from None


def _own(integration_id: str) -> Integration:
    found = integrations.find(current_principal().tenant, integration_id) if _ID.fullmatch(integration_id) else None
    if found is None:
        raise not_found()
    return found


def _shape(integration: Integration) -> IntegrationShape:
    return IntegrationShape(**{name: getattr(integration, name) for name in IntegrationShape.model_fields})
