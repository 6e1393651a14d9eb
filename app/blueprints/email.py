"""Mail over HTTP (I14): one that the caller wrote, or one of ours by its name."""

from __future__ import annotations

from typing import Annotated, Any

import dramatiq
from flask import Blueprint, Response
from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from app.actors.email import queue_email
from app.auth import current_principal, requires
from app.extensions import db
from app.services.email import check_open
from app.services.shapes import Queued
from flask_understudy.contrib.api import Body, Problem, once, operation
from flask_understudy.contrib.mail import InvalidMail

bp = Blueprint("email", __name__, url_prefix="/api/jobs/email")

Address = Annotated[str, StringConstraints(max_length=320)]
Content = Annotated[str, StringConstraints(max_length=100_000)]


class Mail(Body):
    """A mail: `subject` with `html`, `text` or both, or `type` with `data`."""

    to: Address | Annotated[list[Address], Field(min_length=1, max_length=50)]
    subject: Annotated[str, StringConstraints(max_length=1_000)] | None = None
    html: Content | None = None
    text: Content | None = None
    from_: Address | None = Field(default=None, alias="from", description="Default: SMTP_FROM.")
    type: Annotated[str, StringConstraints(max_length=100)] | None = Field(
        default=None, description="The name of a mail of the service, such as welcome."
    )
    data: dict[str, Any] | None = Field(default=None, description="The fields of that mail.")
    priority: int | None = Field(default=None, ge=1, le=5, description="Lower goes first; default 2.")

    @model_validator(mode="after")
    def _one_of_two(self) -> Mail:
        written = [name for name in ("subject", "html", "text", "from_") if getattr(self, name) is not None]
        if self.type is not None and (written or self.data is None or not isinstance(self.to, str)):
            raise PydanticCustomError("mail", "A mail with a type takes one address as to, and data; nothing else.")
        if self.type is None and self.data is not None:
            raise PydanticCustomError("mail", "data are the fields of a mail with a type; none is given.")
        return self


@bp.post("")
@requires("enqueue")
@operation(tag="Mail", body=Mail, answers={202: Queued})
def send(body: Mail) -> Response:
    """Queue a mail; while the broker is down it is sent before the answer (J01)."""
    caller = current_principal()
    return once(db.session, caller.tenant, caller.subject, lambda: (Queued.of(_queue(body)).answer(), 202))


def _queue(body: Mail) -> dramatiq.Message[Any]:
    try:
        check_open(body.type or "")
    except InvalidMail as problem:
        detail = str(problem)
        raise Problem(422, "The mail cannot be sent", detail, errors=[{"pointer": "/type", "detail": detail}]) from None
    try:
        if body.type is not None:
            return queue_email(body.type, body.to, body.data, priority=body.priority)
        return queue_email(
            to=body.to,
            subject=body.subject,
            html=body.html,
            text=body.text,
            from_=body.from_,
            priority=body.priority,
        )
    except InvalidMail as problem:
        raise Problem(422, detail=str(problem)) from None
