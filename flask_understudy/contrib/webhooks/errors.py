"""What can be wrong with a webhook, by name."""

from __future__ import annotations

from dramatiq.errors import Retry

from ...errors import InvalidJob, JobConflict, UnderstudyError


class WebhookError(UnderstudyError):
    """Base of the errors of `contrib.webhooks`."""


class InvalidWebhook(WebhookError, InvalidJob):
    """A URL, secret, event or payload cannot be accepted; nothing was stored.

    Args:
        field: Which of them: `url`, `secret`, `events`, `event`, `payload`.
        problem: What it is and what would do.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field = field


class WebhookConflict(WebhookError, JobConflict):
    """The state of the endpoint or delivery does not allow it, or the tenant has as many endpoints as it may."""


class DestinationNotAllowed(WebhookError):
    """The host has an address that nothing is sent to, or none at all: to a sender these are the same."""

    def __init__(self) -> None:
        super().__init__("destination_not_allowed")


class SecretUnreadable(WebhookError):
    """A secret was sealed with another key, or for another row."""


class DeliveryFailed(WebhookError, Retry):
    """An attempt failed; another one may succeed. No fault of ours, so Dramatiq writes no traceback of it."""


class DeliveryGivenUp(WebhookError):
    """A delivery failed for good."""
