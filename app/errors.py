"""Every error of the service is ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import logging

from flask import Flask, Response, request
from sqlalchemy import exc

from app.services import schema
from flask_understudy.contrib.api import Problem, problems
from flask_understudy.contrib.mail import InvalidMail

log = logging.getLogger("app.errors")


def _from_mail(error: InvalidMail) -> Response:
    return Problem(422, detail=str(error)).response()


def _from_database(error: exc.DBAPIError | exc.TimeoutError) -> Response:
    """Answer 503 for a database that is away, overloaded or not migrated; else it is our bug."""
    problem = schema.problem()
    if problem is None and isinstance(error, exc.ProgrammingError):
        return problems.answer(error)
    log.error("the database failed a request: %s", problem or error, extra={"path": request.path})
    return problems.unavailable().response()


def init_app(app: Flask) -> None:
    """Answer every error of ``app`` as a problem, those of routing included."""
    problems.init_app(app)
    app.register_error_handler(InvalidMail, _from_mail)
    for kind in (exc.OperationalError, exc.ProgrammingError, exc.TimeoutError):
        app.register_error_handler(kind, _from_database)
