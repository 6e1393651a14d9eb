"""Every error of the service is ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import http
import logging
import re
import uuid
from collections.abc import Sequence
from typing import Any

from flask import Flask, Response, has_request_context, json, request
from sqlalchemy import exc
from werkzeug.exceptions import HTTPException

from app.services import schema
from flask_understudy import errors as library
from flask_understudy.contrib.mail import InvalidMail

log = logging.getLogger("app.errors")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

#: What the library's errors mean to a caller of the API; the first that fits is the answer.
_LIBRARY_ERRORS: tuple[tuple[type[Exception], int], ...] = (
    (library.BrokerUnavailable, 503),
    (library.JobNotFound, 404),
    (library.JobConflict, 409),
    (library.PayloadTooLarge, 413),
    (library.InvalidJob, 422),
    (InvalidMail, 422),
)


class Problem(Exception):
    """An error with an answer: raise it anywhere in a request.

    Args:
        status: HTTP status code.
        title: The kind of error in a few words; None takes HTTP's own phrase.
        detail: What went wrong this time, and what would be right.
        errors: One entry per wrong field, ``{"pointer": "/field", "detail": "…"}``.
        headers: Headers of the answer, such as ``Retry-After``.
        extra: More members of the body, such as ``job_id``.
    """

    def __init__(
        self,
        status: int,
        title: str | None = None,
        detail: str | None = None,
        *,
        errors: Sequence[dict[str, str]] = (),
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail or title or str(status))
        self.status = status
        self.title = title or http.HTTPStatus(status).phrase
        self.detail = detail
        self.errors = list(errors)
        self.headers = headers or {}
        self.extra = extra

    def response(self) -> Response:
        """Return the problem as an HTTP answer."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
        }
        if self.detail:
            body["detail"] = self.detail
        if has_request_context():
            body["instance"] = request.path
            body["request_id"] = request_id()
        if self.errors:
            body["errors"] = self.errors
        answer = Response(
            json.dumps(body | self.extra),
            status=self.status,
            content_type="application/problem+json",
        )
        answer.headers.update(self.headers)
        return answer


def not_found() -> Problem:
    """Return the 404 that an unknown id and somebody else's id both get, word for word."""
    return Problem(404, detail="There is nothing here under this id.")


def request_id() -> str:
    """Return this request's id: the caller's ``X-Request-ID`` when it is plain, or a new one."""
    if "app.request_id" not in request.environ:
        given = request.headers.get("X-Request-ID", "")
        is_plain = _REQUEST_ID.fullmatch(given)
        request.environ["app.request_id"] = given if is_plain else uuid.uuid4().hex
    return str(request.environ["app.request_id"])


def _from_problem(error: Problem) -> Response:
    return error.response()


def _from_http(error: HTTPException) -> Response:
    headers = {
        name: value
        for name, value in error.get_headers(request.environ)
        if name.lower() in {"allow", "retry-after", "www-authenticate", "location"}
    }
    return Problem(error.code or 500, error.name, error.description, headers=headers).response()


def _from_library(error: library.UnderstudyError) -> Response:
    status = next((status for kind, status in _LIBRARY_ERRORS if isinstance(error, kind)), None)
    if status is None:
        return _from_anything(error)
    if status == 404:
        return not_found().response()
    headers = {"Retry-After": "5"} if status == 503 else None
    return Problem(status, detail=str(error), headers=headers).response()


def _from_database(error: exc.DBAPIError | exc.TimeoutError) -> Response:
    """Answer 503 for a database that is away, overloaded or not migrated; else it is our bug."""
    problem = schema.problem()
    if problem is None and isinstance(error, exc.ProgrammingError):
        return _from_anything(error)
    log.error("the database failed a request: %s", problem or error, extra={"path": request.path})
    return Problem(503, detail="The database cannot be used now. Try again.", headers={"Retry-After": "5"}).response()


def _from_anything(error: Exception) -> Response:
    log.exception("request failed", extra={"path": request.path})
    return Problem(500, detail="Something went wrong here. It was recorded under this request's id.").response()


def _label(response: Response) -> Response:
    response.headers["X-Request-ID"] = request_id()
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def init_app(app: Flask) -> None:
    """Answer every error of ``app`` as a problem, those of routing included."""
    app.register_error_handler(Problem, _from_problem)
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(library.UnderstudyError, _from_library)
    for kind in (exc.OperationalError, exc.ProgrammingError, exc.TimeoutError):
        app.register_error_handler(kind, _from_database)
    app.register_error_handler(Exception, _from_anything)
    app.after_request(_label)
