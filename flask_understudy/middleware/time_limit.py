"""How long one attempt may take."""

from __future__ import annotations

import math
from typing import Any

from dramatiq import Broker
from dramatiq.middleware import Middleware
from dramatiq.middleware import TimeLimit as DramatiqTimeLimit

from ..claims import ClaimedMessage
from ..policy import time_limit_ms


class TimeLimit(DramatiqTimeLimit):
    """Interrupts a job with `TimeLimitExceeded` after its `time_limit` (ms): call, actor, queue, else 30 s (C04, C4).

    Unlike Dramatiq's own it works in every kind of worker, and never outside of the actor's code.
    """

    def __init__(self) -> None:
        Middleware.__init__(self)

    def after_process_boot(self, broker: Broker) -> None:
        """Nothing to start: the watch begins with the first limit."""

    def before_process_message(self, broker: Broker, message: Any) -> None:
        """Set the limit of the job that is about to run."""
        claim: ClaimedMessage = message
        actor = broker.get_actor(claim.actor_name)
        policy = claim.worker.config.queues.get(claim.queue_name)
        limit = time_limit_ms(claim.options, actor.options, policy)
        if not math.isinf(limit):
            claim.worker.interrupts.limit(limit / 1000)

    # Nothing to do: the job was closed to interrupts when its actor ended.
    after_process_message = Middleware.after_process_message
    after_skip_message = Middleware.after_skip_message  # type: ignore[assignment]
