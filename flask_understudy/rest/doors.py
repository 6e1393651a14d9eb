"""What every route of the REST API has in common: who may pass, what it takes and answers, and its line in the audit.

A route that changes something does so in one transaction with that line: what was done and who did it are written
together, or neither is.
"""

from __future__ import annotations

import functools
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, TypeVar, cast

from flask import Blueprint, Response, current_app, g, request
from itsdangerous import BadSignature, URLSafeTimedSerializer
from pydantic import BaseModel, Field, StringConstraints

from ..context import Principal
from ..contrib.api import Answer, Body, Problem, not_found, once, operation, problems
from ..contrib.api.idempotency import Sealing
from ..ledger.scope import Scope
from ..operations import audit
from ..state import KEY, State

V = TypeVar("V", bound=Callable[..., Any])

bp = Blueprint("understudy", __name__, template_folder="templates")
problems.init_app(bp)


@bp.after_request
def _tell_version(response: Response) -> Response:
    response.headers["Jobs-Api-Version"] = VERSION
    return response


#: Of the API; changes that break a client raise it.
VERSION = "1"

#: What a principal may be allowed to do; `payload` is seeing arguments and results, `tenants` is seeing every tenant.
SCOPES = ("read", "payload", "enqueue", "operate", "admin", "tenants")

LONGEST_NAME = 500

#: NUL, and what stands for bytes that were no UTF-8.
_UNASKABLE = frozenset("\x00\ufffd")

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


@dataclass(frozen=True, slots=True)
class Door:
    """A route as it was declared, for doors that are no JSON.

    Attributes:
        view: What it does: takes the rule's names, `body` and `query`, and returns a shape.
        rule: Below the API's prefix.
        method: The HTTP method.
        scope: What the caller needs.
        audit_as: The action's name in the audit; None = it changes nothing.
        body: Model of the body; None = it takes none.
        query: Model of the query; None = it takes none.
        needs: The broker's companion that it is about; None = every application has what it is about.
    """

    view: Callable[..., Any]
    rule: str
    method: str
    scope: str
    audit_as: str | None
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    needs: str | None = None


#: Every route by its view's name.
DOORS: dict[str, Door] = {}


class TokenQuery(Body):
    """What a job's own token can come in."""

    token: Annotated[str, StringConstraints(max_length=500)] | None = Field(
        default=None, description="A job's own token, for clients that send no headers."
    )


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


def check_askable(given: Mapping[str, Any]) -> None:
    """Let the values of a rule's names pass that a database could be asked for.

    Raises:
        Problem: 404.
    """
    if any(not _UNASKABLE.isdisjoint(str(value)) or len(str(value)) > LONGEST_NAME for value in given.values()):
        raise not_found()


def is_there(needs: str | None) -> bool:
    """Whether the application has what a door is about: a companion of its broker, or nothing of the kind."""
    return needs is None or needs in state().broker.companions


def check_there(needs: str | None) -> None:
    """Refuse what the application does not have.

    Raises:
        Problem: 404.
    """
    if not is_there(needs):
        raise Problem(404, detail=f"This application has no {needs}.")


def door(
    rule: str,
    *,
    scope: str,
    tag: str,
    answers: Mapping[int, Answer | type[BaseModel]],
    method: str = "GET",
    also: Mapping[str, str] = MappingProxyType({}),
    audit_as: str | None = None,
    opens_to_token: bool = False,
    opens_to_event_key: bool = False,
    body: type[BaseModel] | None = None,
    body_is_optional: bool = False,
    query: type[BaseModel] | None = None,
    errors: tuple[int, ...] = (),
    needs: str | None = None,
    seal: Callable[[], Sealing] | None = None,
) -> Callable[[V], V]:
    """Declare a route of the API.

    Args:
        rule: Below the API's prefix.
        scope: What the caller needs.
        tag: The group it stands in.
        answers: The successful answers by status.
        method: The HTTP method.
        also: Further rules for the same, by the names that the description gives them.
        audit_as: The action's name in the audit, `job.retry`; every route that changes something has one. Its target is
            what the rule names last.
        opens_to_token: Whether a job's own token opens it.
        opens_to_event_key: Whether `UNDERSTUDY_EVENT_KEY` opens it.
        body: Model of the body, handed over as `body`.
        body_is_optional: Whether a request without a body means defaults.
        query: Model of the query, handed over as `query`.
        errors: Further statuses.
        needs: The broker's companion that it is about, such as `webhooks`: in an application without one it is a 404,
            and not described.
        seal: Returns what keeps its answer for an `Idempotency-Key`, as that tells a secret; None = it tells none.
    """

    def decorate(view: V) -> V:
        described = operation(
            tag=tag, answers=answers, body=body, body_is_optional=body_is_optional, query=query, errors=errors
        )(view)

        @functools.wraps(described)
        def guarded(**given: Any) -> Any:
            require(scope, opens_to_token=opens_to_token, opens_to_event_key=opens_to_event_key)
            check_there(needs)
            check_askable(given)
            if audit_as is None:
                return described(**given)
            target = str(list(given.values())[-1]) if given else ""
            return _audited(audit_as, functools.partial(described, **given), target, None if seal is None else seal())

        guarded.__guard__ = scope  # type: ignore[attr-defined]
        guarded.__audit__ = audit_as  # type: ignore[attr-defined]
        guarded.__needs__ = needs  # type: ignore[attr-defined]
        DOORS[view.__name__] = Door(view, rule, method, scope, audit_as, body, query, needs)
        for endpoint, path in {view.__name__: rule, **also}.items():
            bp.add_url_rule(path, endpoint=endpoint, view_func=guarded, methods=[method])
        return view

    return decorate


def act(door: Door, given: Mapping[str, Any], body: BaseModel | None = None, query: BaseModel | None = None) -> Any:
    """Do what a door does that changes something, with its permission and its line in the audit.

    Args:
        door: The door.
        given: The values of the rule's names.
        body: The body, where the door takes one.
        query: The query, where the door takes one; None = its defaults.

    Returns:
        What its view returns.

    Raises:
        Problem: 401, 403, or what the view refuses.
    """
    require(door.scope)
    check_there(door.needs)
    check_askable(given)
    session, target = state().db.session, str(list(given.values())[-1]) if given else ""
    arguments = {**given, **({} if body is None else {"body": body})}
    if door.query is not None:
        arguments["query"] = door.query() if query is None else query
    session.rollback()
    try:
        answer = _told(str(door.audit_as), target, functools.partial(door.view, **arguments))
        session.commit()
    except BaseException:
        session.rollback()
        raise
    return answer


def _audited(action: str, act: Callable[[], Any], target: str, seal: Sealing | None) -> Any:
    """Do it once, in one transaction with its line in the audit; what fails leaves nothing behind."""
    session, who = state().db.session, caller().principal
    session.rollback()
    try:
        return once(session, who.tenant, who.subject, lambda: _told(action, target, act), seal=seal)
    except BaseException:
        session.rollback()
        raise


def _told(action: str, target: str, act: Callable[[], Any]) -> Any:
    session, who = state().db.session, caller().principal
    line = g.understudy_audit = audit.line(who, action, target, request.remote_addr)
    line.tenant = audit.whose(session, who, action, target)
    session.add(line)
    session.flush()
    return act()


def settle() -> None:
    """Commit what was done so far, so that others and the answer see it."""
    state().db.session.commit()


def note(target: str | None = None, *, tenant: str | None = None, **detail: Any) -> None:
    """Say more about what is being done, for the audit.

    Args:
        target: What it is done to, unless the path says so.
        tenant: Whose that is, unless the path says so.
        **detail: Further facts, as JSON.
    """
    line = g.understudy_audit
    if target is not None:
        line.target = target
    if tenant is not None:
        line.tenant, detail = tenant, {"tenant": tenant, **detail}
    line.detail = {**(line.detail or {}), **detail}


__all__ = [
    "DOORS",
    "SCOPES",
    "Caller",
    "Door",
    "TokenQuery",
    "act",
    "bp",
    "caller",
    "check_askable",
    "check_there",
    "door",
    "is_there",
    "job_tokens",
    "note",
    "require",
    "settle",
    "state",
]
