"""Who makes a request: whoever the application says, the holder of one job's token, or of the event key."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from flask import current_app, g, request
from itsdangerous import BadSignature, URLSafeTimedSerializer

from ..context import Principal
from ..contrib.api import Problem
from ..ledger.scope import Scope
from ..state import KEY, State

#: What a principal may be allowed to do; `payload` is seeing arguments and results, `tenants` is seeing every tenant.
SCOPES = ("read", "payload", "enqueue", "operate", "admin", "tenants")

JOB_TOKEN = "ujt_"
JOB_TOKEN_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes this request.

    Attributes:
        principal: As the application says.
        job: The only job that may be seen, when the credentials were a job's token.
        is_event_key: Whether the credentials were the key that opens nothing but publishing events.
    """

    principal: Principal
    job: str | None = None
    is_event_key: bool = False

    @property
    def scope(self) -> Scope:
        """The part of the ledger that the caller may know of."""
        tenant = None if self.may("tenants") else self.principal.tenant
        return Scope(tenant, self.job)

    @property
    def key(self) -> tuple[str, str]:
        """What tells callers apart."""
        return (self.principal.tenant, self.principal.subject)

    def may(self, scope: str) -> bool:
        """Whether the caller has a scope."""
        return scope in self.principal.scopes

    def need(self, scope: str) -> None:
        """Refuse a caller without a scope.

        Raises:
            Problem: 403.
        """
        if not self.may(scope):
            raise Problem(403, detail=f"This needs the scope {scope!r}.")


def state() -> State:
    """Return the library's side of the current application."""
    return cast(State, current_app.extensions[KEY])


def caller() -> Caller:
    """Return who makes this request.

    Raises:
        Problem: 401, nobody the application knows.
    """
    if "understudy_caller" not in g:
        g.understudy_caller = _caller()
    return cast(Caller, g.understudy_caller)


def _caller() -> Caller:
    secret = _job_token()
    if secret is not None:
        return _holder(secret)
    if _has_event_key():
        return Caller(Principal(subject="event-key", scopes=frozenset({"enqueue"})), is_event_key=True)
    authorizer = state().authorizer
    principal = authorizer(request) if authorizer is not None else None
    if principal is None:
        raise _unauthorised("Send credentials that this application knows.")
    return Caller(principal)


def _has_event_key() -> bool:
    key = state().config.event_key
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    return bool(key) and kind.lower() == "bearer" and hmac.compare_digest(secret.strip().encode(), key.encode())


def _job_token() -> str | None:
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer" and secret.strip().startswith(JOB_TOKEN):
        return secret.strip()
    given = request.args.get("token", "") if request.method == "GET" else ""  # an EventSource sends no headers
    return given if given.startswith(JOB_TOKEN) else None


def job_tokens() -> URLSafeTimedSerializer:
    """Return what signs the tokens that open one job to a browser."""
    return URLSafeTimedSerializer(current_app.secret_key or "", salt="understudy-job-token")


def _holder(secret: str) -> Caller:
    try:
        tenant, job = job_tokens().loads(secret.removeprefix(JOB_TOKEN), max_age=JOB_TOKEN_SECONDS)
    except (BadSignature, ValueError, TypeError):
        raise _unauthorised("The job's token is invalid or has expired.") from None
    return Caller(Principal(subject=f"job:{job}", tenant=tenant, scopes=frozenset({"read"})), job)


def comes_from_elsewhere() -> bool:
    """Whether a page of another site made the browser send this request, by what browsers say of that."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = request.headers.get("Origin")  # browsers name no site where the page came without TLS
    return origin is not None and urlsplit(origin).netloc != request.host


def refuse_forgery() -> None:
    """Refuse what another site lets a browser do in the name of whoever is signed in here.

    Credentials in `Authorization` are what such a page does not have.

    Raises:
        Problem: 403.
    """
    if request.method not in {"GET", "HEAD"} and "Authorization" not in request.headers and comes_from_elsewhere():
        raise Problem(403, detail="This came from a page of another site; send a token in Authorization instead.")


def _unauthorised(detail: str) -> Problem:
    return Problem(401, detail=detail, headers={"WWW-Authenticate": 'Bearer realm="jobs"'})


def require(scope: str, *, opens_to_token: bool = False, opens_to_event_key: bool = False) -> Caller:
    """Return who makes this request.

    Raises:
        Problem: 401, nobody; 403, without the scope, or with a token or key that opens other doors only.
    """
    who = caller()
    if who.is_event_key and not opens_to_event_key:
        raise Problem(403, detail="This key publishes events and does nothing else.")
    if not who.may(scope) or (who.job is not None and not opens_to_token):
        raise Problem(403, detail=f"This needs the scope {scope!r}.")
    return who


def require_change(scope: str) -> None:
    """Refuse whoever may look at what tenants share and not act on it: that takes `operate` beside `tenants`.

    Raises:
        Problem: 403.
    """
    if scope == "tenants":
        caller().need("operate")
