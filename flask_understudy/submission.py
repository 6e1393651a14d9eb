"""From message to job: what a sender may ask for, checked before anything is stored."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dramatiq

from .config import Config
from .context import Principal, RunningJob, acting
from .encoding import encode
from .errors import ConfigError, InvalidJob, PayloadTooLarge
from .ledger.limit import Numbers
from .ledger.statements import moment
from .ledger.transitions import NewJob
from .limit import Limit, given_key, rate_of
from .policy import LIBRARY_PRIORITY, LIBRARY_RETRIES, QueuePolicy, agreed_retries
from .thinning import thinning_of

logger = logging.getLogger("flask_understudy")

#: Options of `send_with_options` that become columns of the job; all others are Dramatiq's and travel with it.
COLUMNS = frozenset(
    {
        "delay",
        "run_at",
        "priority",
        "dedup_key",
        "tags",
        "expires_at",
        "tenant",
        "owner",
        "correlation_id",
        "transaction",
        "replay_of",
        "event_id",
        "concurrency_key",
        "debounce",
        "debounce_max",
        "throttle",
        "keep",
    }
)

MAX_DELAY = timedelta(days=3660)
PAST_ALLOWANCE = timedelta(minutes=1)
_NO_POLICY = QueuePolicy()
#: What a key allows that a sender named for an actor without a limit.
ONE = Numbers(1, overrides=False)


def new_job(
    message: dramatiq.Message[Any],
    delay: int | None,
    actor: dramatiq.Actor[Any, Any],
    config: Config,
    principal: Principal | None,
    parent: RunningJob | None,
) -> NewJob:
    """Return the job that a message asks for.

    Args:
        message: As Dramatiq built it.
        delay: ms until it may run; None = as the message's own `delay` says.
        actor: The actor it names.
        config: The settings.
        principal: In whose name it is sent.
        parent: The job that sends it.

    Raises:
        InvalidJob: An option is out of range or an argument is no JSON; names the value and what is valid.
        PayloadTooLarge: The arguments are larger than accepted.
    """
    options = message.options
    policy = config.queues.get(message.queue_name, _NO_POLICY)
    delay_ms = _delay(options.get("delay") if delay is None else delay)
    run_at = _time(options, "run_at", message)
    if run_at is not None and delay_ms:
        raise InvalidJob(f"{message.actor_name}: give delay or run_at, not both.")
    args, kwargs = encode_payload(message.actor_name, message.args, message.kwargs, config)
    tenant, owner = whose(principal, parent)
    kept = {k: v for k, v in options.items() if k not in COLUMNS and k != "eta"}
    dedup_key = word(options["dedup_key"], "dedup_key", 255) if options.get("dedup_key") is not None else None
    thinning = thinning_of(options, actor.actor_name, dedup_key, delays=bool(delay_ms) or run_at is not None)
    if thinning is not None:
        dedup_key = None
        delay_ms = thinning.ms if thinning.most_ms is not None else 0
    limit_key, numbers = limit_of(actor, message, options)
    return NewJob(
        id=word(message.message_id, "message_id", 64),
        tenant=word(
            options.get("tenant") or tenant,
            "tenant",
            200,
        ),
        owner=word(
            options.get("owner") or owner,
            "owner",
            200,
        ),
        queue=message.queue_name,
        actor=actor.actor_name,
        state="delayed" if delay_ms or run_at is not None else "waiting",
        priority=_priority(options, actor, policy),
        args=args,
        kwargs=kwargs,
        options=encode(kept, f"An option of {message.actor_name}") if kept else "{}",
        fallback=actor.options.get("fallback") or config.fallback,
        tags=_tags(options.get("tags")),
        dedup_key=dedup_key,
        correlation_id=word(
            options.get("correlation_id") or (parent.correlation_id if parent else message.message_id),
            "correlation_id",
            200,
        ),
        parent_id=parent.id if parent else None,
        run_at=moment(run_at),
        delay_ms=delay_ms,
        expires_at=moment(_time(options, "expires_at", message)),
        max_attempts=max_attempts(options, actor, policy, config),
        sensitive=bool(actor.options.get("sensitive")),
        replay_of=options.get("replay_of"),
        event_id=options.get("event_id"),
        limit_key=limit_key,
        debounce_key=thinning.key if thinning is not None and thinning.most_ms is not None else None,
        takes_turns=config.fair,
        numbers=numbers,
        thinning=thinning,
    )


def whose(principal: Principal | None, parent: RunningJob | None) -> tuple[str, str]:
    """Return tenant and owner: of whom the code acts as, else of the job that sends, else of who makes the request."""
    if parent is not None and (named := acting()) is not None:
        return named.tenant, named.subject
    if parent is not None:
        return parent.tenant, parent.owner
    return (principal.tenant, principal.subject) if principal is not None else ("", "")


def limit_of(
    actor: dramatiq.Actor[Any, Any], message: dramatiq.Message[Any], options: Mapping[str, Any]
) -> tuple[str | None, Numbers | None]:
    """Return the key that a message's job shares with those that are limited together, and what it allows.

    Raises:
        InvalidJob: There is no such key.
    """
    declared: Limit | None = actor.options.get("limit")
    named = options.get("concurrency_key")
    if declared is None and named is None:
        return None, None
    if named is not None:
        key: str | None = given_key(named)
    else:
        assert declared is not None
        key = declared.key_of(actor.actor_name, message.args, message.kwargs)
    if key is None:
        return None, None
    return key, ONE if declared is None else Numbers(declared.concurrency, *rate_of(declared.rate))


def max_attempts(
    options: Mapping[str, Any], actor: dramatiq.Actor[Any, Any], policy: QueuePolicy, config: Config
) -> int | None:
    """Return the attempts allowed: call, else actor, else queue, else environment, else library (C1, C2)."""
    if actor.options.get("retry_when") is not None:
        return None
    layers: tuple[tuple[Mapping[str, Any], str], ...] = (
        (options, f"{actor.actor_name}.send_with_options"),
        (actor.options, f"Actor {actor.actor_name}"),
        (
            {k: v for k in ("attempts", "max_retries") if (v := getattr(policy, k)) is not None},
            f"Queue {actor.queue_name}",
        ),
    )
    for given, where in layers:
        try:
            retries = agreed_retries(given, where)
        except ConfigError as problem:
            raise InvalidJob(str(problem)) from None
        if retries is not False:
            return None if retries is None else int(retries) + 1
    return config.max_attempts or LIBRARY_RETRIES + 1


def _delay(delay: Any) -> int:
    if delay is None:
        return 0
    if isinstance(delay, timedelta):
        delay = delay.total_seconds() * 1000
    limit = int(MAX_DELAY.total_seconds() * 1000)
    if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay <= limit:
        raise InvalidJob(f"delay is {delay!r}; it takes milliseconds from 0 to {limit} (ten years).")
    return int(delay)


def _time(options: Mapping[str, Any], name: str, message: dramatiq.Message[Any]) -> datetime | None:
    value = options.get(name)
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise InvalidJob(f"{message.actor_name}: {name} is {value!r}; it takes an aware datetime.")
    where = f"{message.actor_name}: {name} is {value.isoformat()}"
    if value.tzinfo is None or value.utcoffset() is None:
        raise InvalidJob(f"{where}, which has no time zone; add one, such as datetime.now(UTC).")
    now = datetime.now(UTC)
    if value < now - PAST_ALLOWANCE:
        raise InvalidJob(f"{where}, which has passed; it is {now:%Y-%m-%dT%H:%M:%SZ} now.")
    if value > now + MAX_DELAY:
        raise InvalidJob(f"{where}, which is more than ten years away.")
    return value


def check_reach(run_at: datetime) -> None:
    """Refuse a time at which no job can be asked to run.

    Raises:
        InvalidJob: It passed more than a minute ago, or is more than ten years away.
    """
    now = datetime.now(UTC)
    if run_at < now - PAST_ALLOWANCE:
        told = f"run_at is {run_at.isoformat()}, which has passed; it is {now:%Y-%m-%dT%H:%M:%SZ} now."
        raise InvalidJob(f"{told} To run the job at once, ask for that: run now.")
    if run_at > now + MAX_DELAY:
        raise InvalidJob(f"run_at is {run_at.isoformat()}, which is more than ten years away.")


def encode_payload(actor_name: str, args: Sequence[Any], kwargs: Mapping[str, Any], config: Config) -> tuple[str, str]:
    """Return arguments as the ledger stores them.

    Raises:
        InvalidJob: An argument is no JSON.
        PayloadTooLarge: They are larger than accepted.
    """
    encoded_args = encode(list(args), f"An argument of {actor_name}") if args else "[]"
    encoded_kwargs = encode(dict(kwargs), f"An argument of {actor_name}") if kwargs else "{}"
    size = len(encoded_args.encode()) + len(encoded_kwargs.encode())
    if size > config.max_payload_bytes:
        raise PayloadTooLarge(
            f"The arguments of {actor_name} take {size} bytes; {config.max_payload_bytes} are accepted. "
            "Store the data and send its id."
        )
    if size > config.warn_payload_bytes:
        logger.warning("The arguments of %s take %d bytes; send references instead of data.", actor_name, size)
    return encoded_args, encoded_kwargs


def _priority(options: Mapping[str, Any], actor: dramatiq.Actor[Any, Any], policy: QueuePolicy) -> int:
    own = getattr(actor, "own_priority", actor.priority or None)  # a plain Dramatiq actor says 0 when it says nothing
    for value in (options.get("priority"), own, policy.priority):
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int) or not -1000 <= value <= 1000:
                raise InvalidJob(
                    f"priority is {value!r}; it takes a whole number from -1000 to 1000, lower runs first."
                )
            return int(value)
    return LIBRARY_PRIORITY


def word(value: Any, name: str, limit: int) -> str:
    """Return a text that fits a column.

    Raises:
        InvalidJob: It is none, is too long or cannot be printed.
    """
    if not isinstance(value, str) or len(value) > limit or not value.isprintable():
        shown = repr(value[:80] if isinstance(value, str) else value)[:90]
        raise InvalidJob(f"{name} is {shown}; it takes a printable text of {limit} characters at the most.")
    return value


def _tags(tags: Any) -> str | None:
    if tags is None:
        return None
    if isinstance(tags, str) or not isinstance(tags, list | tuple | set | frozenset) or len(tags) > 50:
        raise InvalidJob(f"tags is {tags!r}; it takes a list of up to 50 texts.")
    return encode(sorted(word(tag, "A tag", 100) for tag in tags), "tags")
