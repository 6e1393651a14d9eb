"""Sending jobs, and what can be sent: the actors that say `api=True`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any

import dramatiq
from dramatiq.errors import ActorNotFound
from pydantic import Field, StringConstraints

from ..contrib.api import Answer, Body, Instant, instant, invalid, not_found
from ..operations import jobs as operations
from ..operations import queues
from ..operations.waiting import wait_in_turn
from ..policy import LIBRARY_PRIORITY, QueuePolicy, agreed_retries, time_limit_ms
from ..signatures import check_payload, named_payload, schema_of
from ..submission import PAST_ALLOWANCE, max_attempts
from . import following
from .callers import caller, state
from .doors import door, note, settle
from .presenting import detail_of
from .shapes import JobDetail, Shape

TAG = "Sending"

Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class SendOrder(Body):
    """A job to be done."""

    type: Word = Field(description="The actor's name; see /types.")
    payload: dict[str, Any] = Field(default={}, description="Its arguments by name.")
    queue: Word | None = Field(default=None, description="Default: the actor's.")
    priority: int | None = Field(default=None, ge=-1000, le=1000, description="Lower runs first.")
    delay: int | None = Field(default=None, ge=0, description="ms until it may run.")
    scheduled_for: Instant | None = Field(default=None, description="Not before this time.")
    expires_at: Instant | None = Field(default=None, description="Not after this time.")
    attempts: int | None = Field(default=None, ge=1, le=1000, description="Executions in total.")
    max_retries: int | None = Field(default=None, ge=0, le=999, description="attempts - 1.")
    timeout: int | None = Field(default=None, ge=1, le=86_400_000, description="ms that one attempt may take.")
    deduplication_key: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    tags: list[Tag] | None = Field(default=None, max_length=50)
    correlation_id: Word | None = None
    concurrency_key: Word | None = Field(
        default=None, description="Jobs with the same key are limited together: as the type says, else one at a time."
    )
    debounce_ms: int | None = Field(
        default=None,
        ge=1,
        description="Wait so long for a further send with the same deduplicationKey, which replaces it.",
    )
    throttle_ms: int | None = Field(
        default=None, ge=1, description="Start one job of the same deduplicationKey within that time, the first one."
    )


class SendQuery(Body):
    """Whether to wait."""

    wait: float = Field(0, ge=0, le=30, description="s to wait for the job's end.")


class SentJob(JobDetail):
    """The job that does it."""

    duplicate: bool = Field(description="Whether a live job with the same deduplication key does it already.")


class TypeShape(Shape):
    """An actor."""

    name: str
    description: str
    queue: str
    priority: int = Field(description="Lower runs first.")
    max_attempts: int | None = Field(description="null = no limit.")
    timeout_ms: int | None = Field(description="null = no limit.")
    can_be_sent: bool = Field(description="Whether the API may send it.")
    fallback: str = Field(description="What happens while the broker is down: sync, hold or fail.")


class TypeDetail(TypeShape):
    """An actor and what it takes."""

    payload_schema: dict[str, Any]
    origins: dict[str, str] = Field(
        description="Where priority, maxAttempts, timeoutMs and fallback come from: actor, queue, setting or library."
    )


class Types(Shape):
    """All actors."""

    data: list[TypeShape]


@door(
    "",
    method="POST",
    scope="enqueue",
    tag=TAG,
    audit_as="job.send",
    body=SendOrder,
    query=SendQuery,
    answers={202: SentJob, 200: Answer(SentJob, "A live job with the same deduplication key does it already.")},
    errors=(409, 503),
)
def send_job(body: SendOrder, query: SendQuery) -> tuple[SentJob, int, dict[str, str]]:
    """Send a job."""
    here, who = state(), caller()
    message = message_of(body)
    sent = here.broker.enqueue(message, delay=body.delay)
    note(target=sent.message_id, type=message.actor_name)
    is_duplicate = sent.message_id != message.message_id
    if query.wait:
        settle()  # nobody runs what is not committed
        wait_in_turn(here, who.key, sent.message_id, query.wait, who.scope)
    job = operations.existing(here, sent.message_id, who.scope)
    shown = SentJob(**dict(detail_of(here, who, job)), duplicate=is_duplicate)
    return shown, 200 if is_duplicate else 202, {"Location": following.location(job.id)}


def message_of(body: SendOrder, supplied: Mapping[str, Any] = MappingProxyType({})) -> dramatiq.Message[Any]:
    """Return the message that a body asks for, but for its delay.

    Args:
        body: The body.
        supplied: What the actor will be given beside its payload, if it has such parameters.

    Raises:
        Problem: 422, the API may not send it, or its payload does not fit.
    """
    here, who = state(), caller()
    _check_terms(body)
    actor = sendable(body.type)
    taken = inspect.signature(actor.fn).parameters
    payload = named_payload(actor, body.payload)
    check_payload(actor, {**{name: value for name, value in supplied.items() if name in taken}, **payload})
    if body.queue is not None:
        queues.check(here, body.queue)
    options: dict[str, Any] = {
        "tenant": who.principal.tenant,
        "owner": who.principal.subject,
        "priority": body.priority,
        "run_at": body.scheduled_for,
        "expires_at": body.expires_at,
        "attempts": body.attempts,
        "max_retries": body.max_retries,
        "time_limit": body.timeout,
        "dedup_key": body.deduplication_key,
        "tags": body.tags,
        "correlation_id": body.correlation_id,
        "concurrency_key": body.concurrency_key,
        "debounce": body.debounce_ms,
        "throttle": body.throttle_ms,
    }
    given = {name: value for name, value in options.items() if value is not None}
    message = actor.message_with_options(kwargs=payload, **given)
    return message if body.queue is None else message.copy(queue_name=body.queue)


@door("/types", scope="read", tag=TAG, answers={200: Types})
def list_types() -> Types:
    """List the actors there are."""
    return Types(data=[described(actor) for _, actor in sorted(state().broker.actors.items())])


@door(
    "/types/<path:type_name>/schema", scope="read", tag=TAG, answers={200: Answer(media_type="application/schema+json")}
)
def show_type_schema(type_name: str) -> Any:
    """Return the JSON Schema of an actor's arguments."""
    return schema_of(_actor(type_name)), 200, {"Content-Type": "application/schema+json"}


@door("/types/<path:type_name>", scope="read", tag=TAG, answers={200: TypeDetail})
def show_type(type_name: str) -> TypeDetail:
    """Describe an actor."""
    actor = _actor(type_name)
    return TypeDetail(**_facts(actor), payload_schema=schema_of(actor), origins=_origins(actor))


def _check_terms(body: SendOrder) -> None:
    """Refuse what the sender's own words would be refused for in Python's."""
    now = datetime.now(UTC)
    if body.delay and body.scheduled_for is not None:
        raise invalid("scheduledFor", "Give either delay or scheduledFor.")
    if body.expires_at is not None and body.expires_at < now - PAST_ALLOWANCE:
        raise invalid("expiresAt", f"That time has passed; it is {instant(now)} now.")
    if body.scheduled_for is not None and body.scheduled_for < now - PAST_ALLOWANCE:
        raise invalid("scheduledFor", f"That time has passed; it is {instant(now)} now.")
    if body.attempts is not None and body.max_retries is not None and body.max_retries != body.attempts - 1:
        raise invalid("maxRetries", f"{body.attempts} attempts are {body.attempts - 1} retries; give one of the two.")


def _actor(name: str) -> dramatiq.Actor[Any, Any]:
    try:
        return state().broker.get_actor(name)
    except ActorNotFound:
        raise not_found() from None


def sendable(name: str) -> dramatiq.Actor[Any, Any]:
    """Return an actor that the API may send; one that it may not is as unknown as one that is not there."""
    actors = state().broker.actors
    try:
        actor = state().broker.get_actor(name)
    except ActorNotFound:
        actor = None
    if actor is None or not actor.options.get("api"):
        known = ", ".join(sorted(name for name, known in actors.items() if known.options.get("api"))) or "none"
        raise invalid("type", f"{name[:80]!r} cannot be sent through the API. There are: {known}.")
    return actor


def described(actor: dramatiq.Actor[Any, Any]) -> TypeShape:
    """Return an actor as the API shows it."""
    return TypeShape(**_facts(actor))


def _facts(actor: dramatiq.Actor[Any, Any]) -> dict[str, Any]:
    config = state().config
    policy = config.queues.get(actor.queue_name, QueuePolicy())
    limit = time_limit_ms({}, actor.options, policy)
    priorities = (getattr(actor, "own_priority", None), policy.priority, LIBRARY_PRIORITY)
    return {
        "name": actor.actor_name,
        "description": actor.options.get("description") or "",
        "queue": actor.queue_name,
        "priority": next(priority for priority in priorities if priority is not None),
        "max_attempts": max_attempts({}, actor, policy, config),
        "timeout_ms": None if limit == float("inf") else int(limit),
        "can_be_sent": bool(actor.options.get("api")),
        "fallback": actor.options.get("fallback") or config.fallback,
    }


def _origins(actor: dramatiq.Actor[Any, Any]) -> dict[str, str]:
    """Return which layer says what holds for an actor's jobs, by the names of `TypeShape`."""
    config, options = state().config, actor.options
    policy = config.queues.get(actor.queue_name, QueuePolicy())

    def layer(of_actor: bool, of_queue: bool, of_setting: bool = False) -> str:
        layers = {"actor": of_actor, "queue": of_queue, "setting": of_setting, "library": True}
        return next(name for name, says in layers.items() if says)

    return {
        "priority": layer(getattr(actor, "own_priority", None) is not None, policy.priority is not None),
        "maxAttempts": layer(
            options.get("retry_when") is not None or agreed_retries(options, "") is not False,
            policy.attempts is not None or policy.max_retries is not None,
            config.max_attempts is not None,
        ),
        "timeoutMs": layer(bool(options.get("time_limit")), bool(policy.time_limit)),
        "fallback": layer(bool(options.get("fallback")), False, True),
    }
