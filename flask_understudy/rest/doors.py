"""What every route of the REST API has in common: what it needs, takes and answers, and its line in the audit.

A route that changes something does so in one transaction with that line: what was done and who did it are written
together, or neither is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

from flask import Blueprint, Response, g, request
from pydantic import BaseModel, Field, StringConstraints

from ..contrib.api import Answer, Body, Problem, not_found, once, operation, problems
from ..contrib.api.idempotency import Sealing
from ..operations import audit
from .callers import caller, refuse_forgery, require, require_change, state

V = TypeVar("V", bound=Callable[..., Any])

bp = Blueprint("understudy", __name__, template_folder="templates")
problems.init_app(bp)


@bp.after_request
def _tell_version(response: Response) -> Response:
    response.headers["Jobs-Api-Version"] = VERSION
    return response


#: Of the API; changes that break a client raise it.
VERSION = "1"

LONGEST_NAME = 500

#: NUL, and what stands for bytes that were no UTF-8.
_UNASKABLE = frozenset("\x00\ufffd")


@dataclass(frozen=True, slots=True)
class Door:
    """A route as it was declared, for doors that are no JSON.

    Attributes:
        view: What it does: takes the rule's names, `body` and `query`, and returns a shape.
        rule: Below the API's prefix.
        method: The HTTP method.
        scope: What the caller needs; `operate` as well to change what tenants share.
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
        scope: What the caller needs; `operate` as well to change what tenants share.
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
            refuse_forgery()
            require(scope, opens_to_token=opens_to_token, opens_to_event_key=opens_to_event_key)
            check_there(needs)
            check_askable(given)
            if audit_as is None:
                return described(**given)
            require_change(scope)
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
    require_change(door.scope)
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
    "Door",
    "TokenQuery",
    "act",
    "bp",
    "check_askable",
    "check_there",
    "door",
    "is_there",
    "note",
    "settle",
]
