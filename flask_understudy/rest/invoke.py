"""Jobs driven over HTTP, for hosts that keep no worker: `GET`, `PUT` and `POST` of one signed address (I01, P08)."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, cast

from flask import Blueprint, Flask, Response, current_app, request
from pydantic import BaseModel, Field, StringConstraints

from ..clock import declare
from ..contrib.api import Body, Problem, problems, read_body, read_raw
from ..contrib.webhooks.signing import SIGNATURE_HEADER, TIMESTAMP_HEADER, SignatureInvalid, verify
from ..errors import JobNotFound
from ..events import Subscriber
from ..invoking import Invoker, Order
from ..ledger import queries
from ..operations import queues
from .callers import state
from .shapes import Shape

V = TypeVar("V", bound=Callable[..., Any])

MOST_JOBS = 100
LONGEST_MS = 900_000
LOOPBACK = {"127.0.0.1", "::1"}

_INVOKER = "understudy_invoker"

bp = Blueprint("understudy_invoke", __name__)
problems.init_app(bp)


class Run(Body):
    """What shall be run."""

    job_id: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    queue: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    max: int = Field(default=10, ge=1, le=MOST_JOBS)
    budget_ms: int = Field(default=10_000, ge=100, le=LONGEST_MS)


class Ran(Shape):
    """A job that was begun, as it is now."""

    id: str
    type: str
    queue: str
    state: str
    attempt: int
    error: str | None


class Report(Shape):
    """What became of an invocation."""

    data: list[Ran]
    took_ms: int


class Function(Shape):
    """An actor, as a host may want to list it."""

    id: str
    name: str
    queue: str
    event: str | None
    schedules: list[str]


class Functions(Shape):
    """All of them."""

    data: list[Function]


def mount(app: Flask, prefix: str, alias: str) -> None:
    """Add the address to an application.

    Args:
        app: The application.
        prefix: Of the REST API; the address is `invoke` below it.
        alias: A second address, such as `/api/inngest`; empty = none.
    """
    if bp.name in app.blueprints:
        return
    app.register_blueprint(bp, url_prefix=f"{prefix}/invoke")
    if alias:
        app.register_blueprint(bp, url_prefix=alias, name="understudy_invoke_alias")


def signed(view: V) -> V:
    """Let a view be called by whoever has the signing key."""

    @functools.wraps(view)
    def guarded(**given: Any) -> Any:
        _check_signature()
        return view(**given)

    guarded.__guard__ = "signed"  # type: ignore[attr-defined]
    return cast(V, guarded)


def _check_signature() -> None:
    key = state().config.signing_key
    if not key:
        if current_app.debug and request.remote_addr in LOOPBACK:
            return
        raise Problem(503, detail="Nobody can invoke jobs here, as UNDERSTUDY_SIGNING_KEY is not set.")
    headers = request.headers
    try:
        verify(key, headers.get(TIMESTAMP_HEADER, ""), headers.get(SIGNATURE_HEADER, ""), read_raw())
    except SignatureInvalid as problem:
        raise Problem(401, detail=str(problem), headers={"WWW-Authenticate": SIGNATURE_HEADER}) from None


@bp.get("")
def tell_reachable() -> dict[str, Any]:
    """Say that this is there; nothing about jobs."""
    return {"status": "ok", "hasSigningKey": bool(state().config.signing_key)}


@bp.put("")
@signed
def register() -> Response:
    """Bring the ledger up to date with what the code declares, and list the functions."""
    here = state()
    declare(here)
    scheduled: dict[str, list[str]] = {}
    for schedule in here.broker.schedules:
        scheduled.setdefault(schedule.actor, []).append(schedule.name)
    found = [
        Function(
            id=actor.actor_name,
            name=actor.options.get("description") or actor.actor_name,
            queue=actor.queue_name,
            event=actor.event.event_name if isinstance(actor, Subscriber) else None,
            schedules=scheduled.get(actor.actor_name, []),
        )
        for _, actor in sorted(here.broker.actors.items())
    ]
    return _answer(Functions(data=found))


@bp.post("")
@signed
def invoke() -> Response:
    """Run one job, or what is due, within a budget of time."""
    body = Run() if not read_raw().strip() else read_body(Run)
    here, began = state(), time.monotonic()
    if body.queue is not None:
        queues.check(here, body.queue)
    if body.job_id is not None and queries.find(here.database, body.job_id) is None:
        raise JobNotFound(f"There is no job {body.job_id!r}.")
    wanted = (body.queue,) if body.queue is not None else tuple(sorted(here.broker.get_declared_queues()))
    ran = _invoker().run(Order(body.job_id, wanted, body.max, body.budget_ms / 1000))
    shown = [
        Ran(id=job.id, type=job.actor, queue=job.queue, state=job.state, attempt=job.attempt, error=job.error)
        for job in ran
    ]
    return _answer(Report(data=shown, took_ms=round((time.monotonic() - began) * 1000)))


def _invoker() -> Invoker:
    return cast(Invoker, current_app.extensions.setdefault(_INVOKER, Invoker(state())))


def _answer(shape: BaseModel) -> Response:
    return Response(shape.model_dump_json(by_alias=True), content_type="application/json")
