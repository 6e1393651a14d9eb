"""What a failure means: another attempt, or the end (requirements C1 to C5, D, V01)."""

from __future__ import annotations

from typing import Any

import dramatiq
from dramatiq import Broker
from dramatiq.errors import RateLimitExceeded, Retry
from dramatiq.middleware import Shutdown
from dramatiq.middleware.retries import Retries as DramatiqRetries

from ..claims import ClaimedMessage
from ..endings import ReportedFailure
from ..errors import InvalidStep, JobCancelled, LeaseLost, Snooze, StepFailed, StepsChanged


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
        elif isinstance(exception, ReportedFailure | InvalidStep) or (throws and isinstance(exception, throws)):
            claim.give_up("error", exception)
        elif isinstance(exception, StepsChanged):
            claim.give_up("steps_changed", exception)
        elif isinstance(exception, Shutdown | LeaseLost):
            claim.hand_back(exception=exception)
        elif isinstance(exception, Snooze):
            claim.snooze(exception)
        elif isinstance(exception, RateLimitExceeded):
            claim.hand_back(claim.backoff(1), exception)
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
        if not isinstance(exception, StepFailed) and claim.allows_retry(exception):  # it would fail at the same step
            delay = exception.delay if isinstance(exception, Retry) else None
            claim.retry(claim.backoff(retries + 1) if delay is None else int(delay), exception)
            return
        claim.give_up("exhausted", exception)
        target = claim.options.get("on_retry_exhausted") or actor.options.get("on_retry_exhausted")
        if target:
            limits = {"retries": retries, "max_retries": None if allowed is None else allowed - 1}
            broker.get_actor(target).send(claim.asdict(), limits)
