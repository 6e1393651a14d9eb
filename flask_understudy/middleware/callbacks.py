"""What follows a job: the actors named as `on_success` and `on_failure`."""

from __future__ import annotations

from typing import Any

from dramatiq import Broker
from dramatiq.middleware import Callbacks as DramatiqCallbacks

from ..claims import MAX_ERROR
from ..encoding import printable
from ..errors import reason_of
from ..redaction import redacted_text


class Callbacks(DramatiqCallbacks):
    """Dramatiq's callbacks, told of a failure what the ledger records of it.

    The message of a failure is an argument of the callback's job, to be stored and shown: it comes without SQL, its
    parameters and secrets, and no longer than an error may be (security row S27).
    """

    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Send the callback."""
        if exception is None:
            super().after_process_message(broker, message, result=result)  # type: ignore[no-untyped-call]
            return
        target = message.options.get("on_failure") or broker.get_actor(message.actor_name).options.get("on_failure")
        if target:
            told = printable(redacted_text(reason_of(exception)), MAX_ERROR)
            broker.get_actor(target).send(message.asdict(), {"type": type(exception).__name__, "message": told})
