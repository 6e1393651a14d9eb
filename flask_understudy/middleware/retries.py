"""What a failure means: another attempt, or the end (requirements C1 to C5, D, V01)."""

from __future__ import annotations

from typing import Any

import dramatiq
from dramatiq import Broker
from dramatiq.errors import RateLimitExceeded, Retry
from dramatiq.middleware import Shutdown
from dramatiq.middleware.retries import Retries as DramatiqRetries

from ..claims import ClaimedMessage, ReportedFailure
from ..config import Config
from ..errors import JobCancelled, LeaseLost, Snooze
from ..policy import LIBRARY_FACTOR, LIBRARY_JITTER, LIBRARY_MAX_BACKOFF_MS, backoff_ms


class Retries(DramatiqRetries):
    """Retries as Dramatiq documents them, kept in the ledger.

    Options of an actor or a call, in Dramatiq's names: `max_retries`, `min_backoff`, `max_backoff` (ms), `retry_when`,
    `throws`, `on_retry_exhausted`; and ours: `attempts`, `backoff_factor`, `jitter`. A rate limit that is exceeded, a
    worker that has to stop, and a `Snooze` do not cost an attempt.
    """

    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Decide what follows a failure."""
        if exception is None:
            return
        claim: ClaimedMessage = message
        actor = broker.get_actor(claim.actor_name)
        throws = actor.options.get("throws")
        if isinstance(exception, JobCancelled):
            claim.cancel(exception)
        elif isinstance(exception, ReportedFailure) or (throws and isinstance(exception, throws)):
            claim.give_up("error", exception)
        elif isinstance(exception, Shutdown | LeaseLost):
            claim.hand_back(exception=exception)
        elif isinstance(exception, Snooze):
            claim.snooze(exception)
        elif isinstance(exception, RateLimitExceeded):
            claim.hand_back(self._wait(claim, actor, 1), exception)
        else:
            self._retry_or_give_up(broker, claim, actor, exception)

    def _retry_or_give_up(
        self,
        broker: Broker,
        claim: ClaimedMessage,
        actor: dramatiq.Actor[Any, Any],
        exception: BaseException,
    ) -> None:
        retries = claim.claimed.attempt - 1
        allowed = claim.claimed.max_attempts
        retry_when = actor.options.get("retry_when")
        wanted = retry_when(retries, exception) if retry_when is not None else allowed is None or retries + 1 < allowed
        if wanted:
            delay = exception.delay if isinstance(exception, Retry) else None
            claim.retry(self._wait(claim, actor, retries + 1) if delay is None else int(delay), exception)
            return
        claim.give_up("exhausted", exception)
        target = claim.options.get("on_retry_exhausted") or actor.options.get("on_retry_exhausted")
        if target:
            limits = {"retries": retries, "max_retries": None if allowed is None else allowed - 1}
            broker.get_actor(target).send(claim.asdict(), limits)

    def _wait(self, claim: ClaimedMessage, actor: dramatiq.Actor[Any, Any], retry: int) -> int:
        config: Config = claim.worker.config
        policy = config.queues.get(claim.queue_name)

        def resolved(name: str, default: float) -> float:
            for value in (
                claim.options.get(name),
                actor.options.get(name),
                getattr(policy, name, None),
            ):
                if value is not None:
                    return float(value)
            return default

        return backoff_ms(
            retry,
            base=int(resolved("min_backoff", config.backoff_ms)),
            factor=resolved("backoff_factor", LIBRARY_FACTOR),
            ceiling=int(resolved("max_backoff", LIBRARY_MAX_BACKOFF_MS)),
            jitter=resolved("jitter", LIBRARY_JITTER),
        )
