"""What every page has in common: who may see it, its frame, its errors, and what a browser may do with it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flask import Blueprint, Response, make_response, render_template, request, url_for

from ..contrib.api import Problem, problems
from ..rest.callers import caller, require, state
from ..rest.doors import check_askable, check_there, is_there
from ..rest.metrics import sees_everything
from . import browser, searching, words

V = TypeVar("V", bound=Callable[..., Any])

bp = Blueprint("understudy_dashboard", __name__, template_folder="templates", static_folder="static")

TEMPLATES = "understudy/dashboard"

#: As many stand in the navigation; the others are folded away under "More".
FIRST_ENTRIES = 6

#: Nothing from elsewhere, nothing inline, in nobody's frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A page that the navigation leads to.

    Attributes:
        title: What it is called.
        endpoint: The name of its view.
        scope: What a caller needs to see it.
        place: Where it stands among the others.
        of_all: Whether it is about every tenant's jobs at once, and so for callers who may know of them.
        needs: The broker's companion that it is about; None = every application has what it is about.
        given: The values of the names in its address.
    """

    title: str
    endpoint: str
    scope: str
    place: int
    of_all: bool
    needs: str | None = None
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where it is."""
        return url_for(self.endpoint, **self.given)

    @property
    def is_here(self) -> bool:
        """Whether it is the page of this request."""
        return request.endpoint == self.endpoint and dict(self.given) == (request.view_args or {})


_entries: list[Entry] = []


def page(
    rule: str,
    template: str,
    *,
    scope: str = "read",
    title: str | None = None,
    place: int = 0,
    of_all: bool = False,
    needs: str | None = None,
) -> Callable[[V], V]:
    """Declare a page: a view that returns what its template shows.

    Args:
        rule: Below the dashboard's prefix.
        template: Its file's name, without the ending.
        scope: What a caller needs.
        title: Its name in the navigation; None = it is not there.
        place: Where it stands there.
        of_all: Whether it is about every tenant's jobs at once; then callers who may not know of them are not led to
            it. What they would be told is the doors' matter.
        needs: The broker's companion that it is about; without one nobody is led to it, and it is a 404.
    """

    def decorate(view: V) -> V:
        @functools.wraps(view)
        def guarded(**given: Any) -> Response:
            require(scope)
            check_there(needs)
            check_askable(given)
            browser.check_texts(request.args)
            return rendered(template, **view(**given))

        guarded.__guard__ = scope  # type: ignore[attr-defined]
        for path in ("", "/") if rule == "/" else (rule,):  # the first page has its address with and without a slash
            bp.add_url_rule(path, endpoint=view.__name__, view_func=guarded, methods=["GET"])
        if title is not None:
            _entries.append(Entry(title, f"{bp.name}.{view.__name__}", scope, place, of_all, needs))
            _entries.sort(key=lambda entry: entry.place)
        return view

    return decorate


def rendered(template: str, code: int = 200, /, **shown: Any) -> Response:
    """Return a page in its frame."""
    return make_response(render_template(f"{TEMPLATES}/{template}.html", **shown), code)


def entries() -> Sequence[Entry]:
    """Return the pages that the caller may see, the application's own last."""
    who = caller()
    ours = [
        entry
        for entry in _entries
        if who.may(entry.scope) and (not entry.of_all or sees_everything(who)) and is_there(entry.needs)
    ]
    return [*ours, *additions()]


def additions() -> Sequence[Entry]:
    """Return the application's own pages that the caller may see."""
    return [
        Entry(page.title, f"{bp.name}.show_addition", page.scope, 0, of_all=False, given={"name": page.name})
        for page in state().broker.pages.values()
        if caller().may(page.scope)
    ]


@bp.before_request
def _recognise() -> None:
    browser.recognise()


@bp.context_processor
def _frame() -> dict[str, Any]:
    return {
        "csrf": browser.csrf_token,
        "entries": entries,
        "first_entries": FIRST_ENTRIES,
        "here": browser.this_page(),
        "may": lambda scope: caller().may(scope),
        "may_change": lambda scope: caller().may(scope) and (scope != "tenants" or caller().may("operate")),
        "notice": browser.notice(),
        "qualifier": searching.qualifier,
        "root": url_for(f"{bp.name}.show_overview"),
        "who": caller,
        **words.WORDS,
    }


@bp.errorhandler(Exception)
def _failed(error: Exception) -> Response:
    problem = problems.problem_of(error)
    if problem.status == 401:
        return rendered("sign_in", 401, problem=_said(problem), next=browser.this_page())
    response = rendered("problem", problem.status, problem=problem)
    for name, value in problem.headers.items():
        response.headers[name] = value
    return response


def _said(problem: Problem) -> str | None:
    """Return what to tell whoever tried to sign in; nothing to whoever merely came."""
    return problem.detail if request.method == "POST" else None


@bp.after_request
def _protect(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Frame-Options"] = "DENY"
    if request.endpoint == f"{bp.name}.static":
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response
    browser.forget_notice(response)
    return problems.label(response)
