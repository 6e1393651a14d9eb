"""Grants at other services, and renewing their tokens before they expire (requirements A13 to A16).

A provider may give a new refresh token with each access token and take a used one for stolen. So a grant is renewed
by one job at a time, which looks again whether it is still to be done, and what the provider answered is committed
before anything else.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any

import requests
import sqlalchemy as sa
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from flask import current_app

from app.extensions import db
from app.models.base import new_id, utcnow
from app.models.integration import Integration
from app.services.ownership import check_own
from flask_understudy.contrib.webhooks.sealing import Seal

#: A token that ends so soon is renewed (A15).
BUFFER = dt.timedelta(minutes=5)
#: How long to wait for a provider, in s.
TIMEOUT_SECONDS = 10
#: How long an access token holds when the provider does not say, in s.
USUAL_SECONDS = 3600
LONGEST_SECONDS = 10 * 366 * 86_400


@dataclass(frozen=True, slots=True)
class Provider:
    """Where tokens are renewed.

    Attributes:
        prefix: Of its settings: ``<prefix>_CLIENT_ID``, ``<prefix>_CLIENT_SECRET``, ``<prefix>_TOKEN_URL``.
        client_auth: How it wants the client's secret, as RFC 6749 section 2.3.1 has it.
    """

    prefix: str
    client_auth: str


PROVIDERS = {
    "google-calendar": Provider("GOOGLE", "client_secret_post"),
    "zoom": Provider("ZOOM", "client_secret_basic"),
}


class IntegrationRefused(ValueError):
    """There is no such integration, or it cannot be renewed; says why."""


class ProviderFailed(Exception):
    """The provider gave no tokens this time; says why."""


class GrantRevoked(IntegrationRefused):
    """The provider ended the grant; somebody has to connect the account again."""


def connect(
    tenant_id: str, provider: str, account: str, access_token: str, refresh_token: str, expires_at: dt.datetime
) -> Integration:
    """Add a grant to the caller's transaction, or put its new tokens in the place of the old ones.

    Raises:
        IntegrationRefused: There is no such provider; names those there are.
    """
    if provider not in PROVIDERS:
        raise IntegrationRefused(f"{provider!r:.80} is no provider; there are {', '.join(PROVIDERS)}.")
    query = sa.select(Integration).filter_by(tenant_id=tenant_id, provider=provider, account=account)
    integration = db.session.scalar(query.with_for_update())
    if integration is None:
        integration = Integration(id=new_id(), tenant_id=tenant_id, provider=provider, account=account)
        db.session.add(integration)
    seal = Seal(current_app)
    integration.access_token = seal.seal(access_token, f"{integration.id}.access")
    integration.refresh_token = seal.seal(refresh_token, f"{integration.id}.refresh")
    integration.expires_at, integration.revoked_at, integration.error = expires_at, None, None
    db.session.flush()
    return integration


def find(tenant_id: str, integration_id: str) -> Integration | None:
    """Return an integration of an organisation; None for anybody else's, and for none."""
    return db.session.scalar(sa.select(Integration).filter_by(id=integration_id, tenant_id=tenant_id))


def tenant_of(integration_id: str) -> str:
    """Return whose an integration is that can be renewed.

    Raises:
        IntegrationRefused: There is none, or its grant has ended.
        NotOwn: It is not of the running job's organisation.
    """
    integration = db.session.get(Integration, str(integration_id))
    if integration is None:
        raise IntegrationRefused(f"There is no integration {integration_id!r:.80}.")
    check_own(integration.tenant_id, f"integration {integration_id!r:.80}")
    if integration.revoked_at is not None:
        raise GrantRevoked(f"The grant of {integration.account!r} has ended: {integration.error}")
    return integration.tenant_id


def expiring() -> list[tuple[str, str]]:
    """Return id and tenant of each grant whose token ends within five minutes or has ended (A14, A15)."""
    query = sa.select(Integration.id, Integration.tenant_id).where(
        Integration.expires_at < utcnow() + BUFFER, Integration.revoked_at.is_(None)
    )
    return [(id_, tenant) for id_, tenant in db.session.execute(query)]


def refresh(integration_id: str, asked_at: dt.datetime | None) -> bool:
    """Renew a grant's tokens, and commit; return whether that was still to be done.

    Args:
        integration_id: The grant.
        asked_at: Renew it unless that was done since; None = renew it if its token is about to expire.

    Raises:
        IntegrationRefused: There is none, or the provider is not configured.
        NotOwn: It is not of the running job's organisation.
        GrantRevoked: The provider ended it.
        ProviderFailed: The provider could not be asked, or answered with something else. What went wrong stands in
            the integration's ``error``, as it does for a provider that is not configured.
        OAuthError: The provider refused.
    """
    tenant_of(integration_id)
    integration = db.session.get_one(Integration, integration_id)
    if not _is_wanted(integration, asked_at):
        return False
    seal, held = Seal(current_app), integration.refresh_token
    provider, refresh_token = integration.provider, seal.open(held, f"{integration_id}.refresh")
    db.session.rollback()  # the provider may take its time; the database is not held meanwhile
    try:
        token = _ask(provider, refresh_token)
    except OAuthError as problem:
        values = {"error": f"{problem.error}: {problem.description}"[:500]}
        is_over = problem.error == "invalid_grant"
        _store(integration_id, held, values | ({"revoked_at": utcnow()} if is_over else {}))
        if is_over:
            raise GrantRevoked(f"The provider has ended the grant: {problem.description or problem.error}") from None
        raise
    except (IntegrationRefused, ProviderFailed) as problem:
        _store(integration_id, held, {"error": str(problem)[:500]})
        raise
    now = utcnow()
    _store(
        integration_id,
        held,
        {
            "access_token": seal.seal(token["access_token"], f"{integration_id}.access"),
            "refresh_token": seal.seal(token.get("refresh_token") or refresh_token, f"{integration_id}.refresh"),
            "expires_at": now + dt.timedelta(seconds=_seconds_of(token.get("expires_in"))),
            "refreshed_at": now,
            "error": None,
        },
    )
    return True


def _is_wanted(integration: Integration, asked_at: dt.datetime | None) -> bool:
    if asked_at is None:
        return integration.expires_at < utcnow() + BUFFER
    return integration.refreshed_at is None or integration.refreshed_at < asked_at


def _seconds_of(expires_in: object) -> int:
    """Return how long a token holds: RFC 6749 section 5.1 lets a provider leave it out, and new tokens are kept."""
    try:
        seconds = int(expires_in)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return USUAL_SECONDS
    return seconds if 0 < seconds <= LONGEST_SECONDS else USUAL_SECONDS


def _ask(provider: str, refresh_token: str) -> dict[str, Any]:
    """Ask a provider for new tokens.

    Raises:
        IntegrationRefused, OAuthError, ProviderFailed: As `refresh` says.
    """
    settings, config = PROVIDERS[provider], current_app.config
    client_id, secret = config[f"{settings.prefix}_CLIENT_ID"], config[f"{settings.prefix}_CLIENT_SECRET"]
    if not client_id or not secret:
        raise IntegrationRefused(f"{provider} is not configured: {settings.prefix}_CLIENT_ID and …_SECRET are missing.")
    url = config[f"{settings.prefix}_TOKEN_URL"]
    with OAuth2Session(client_id, secret, token_endpoint_auth_method=settings.client_auth) as session:
        session.register_compliance_hook("refresh_token_response", lambda answer: _checked(provider, answer))
        try:
            return dict(session.refresh_token(url, refresh_token=refresh_token, timeout=TIMEOUT_SECONDS))
        except requests.Timeout:
            raise ProviderFailed(f"{provider} did not answer within {TIMEOUT_SECONDS} seconds.") from None
        except requests.RequestException as problem:
            raise ProviderFailed(f"{provider} could not be reached ({type(problem).__name__}).") from None


def _checked(provider: str, answer: requests.Response) -> requests.Response:
    """Let an answer pass that has tokens or says in OAuth's words why not; a lifetime that is none is taken out."""
    if answer.status_code >= 500:
        raise ProviderFailed(f"{provider} answered with HTTP {answer.status_code}.")
    try:
        token = answer.json()
    except ValueError:
        raise ProviderFailed(f"{provider} answered with HTTP {answer.status_code} and no JSON.") from None
    if not isinstance(token, dict) or not ("error" in token or _is_text(token.get("access_token"))):
        raise ProviderFailed(f"{provider} answered with HTTP {answer.status_code} and without an access_token.")
    lifetime = {"expires_in": _seconds_of(token.get("expires_in"))}
    answer._content = json.dumps({k: v for k, v in token.items() if k != "expires_at"} | lifetime).encode()
    answer.encoding = "utf-8"
    return answer


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _store(integration_id: str, held: str, values: dict[str, object]) -> None:
    """Write what the provider answered, unless the account was connected anew meanwhile; commit."""
    mine = sa.and_(Integration.id == integration_id, Integration.refresh_token == held)
    db.session.execute(sa.update(Integration).where(mine).values(values))
    db.session.commit()
