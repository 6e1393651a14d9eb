"""What the doors of webhooks take and answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from ..contrib.api import Body
from .paging import PageOf
from .shapes import Instant, Shape

Url = Annotated[str, StringConstraints(max_length=2_000)]
Secret = Annotated[str, StringConstraints(max_length=200)]
Event = Annotated[str, StringConstraints(max_length=100)]
Events = Annotated[list[Event], Field(max_length=50)]
Description = Annotated[str, StringConstraints(max_length=200)]


class NewEndpoint(Body):
    """A subscription that is wanted."""

    url: Url
    events: Events = Field(description="Names of events; `*` = all.")
    description: Description = ""
    secret: Secret | None = Field(default=None, description="What signs; without one it is made here.")


class EndpointChange(Body):
    """What is to be different; what is not given stays."""

    url: Url = ""
    events: Events = []
    description: Description = ""
    enabled: bool = True


class Rotation(Body):
    """How a secret is changed."""

    secret: Secret | None = Field(default=None, description="The new one; without one it is made here.")
    overlap_hours: int = Field(default=24, ge=0, le=168, description="For how long the old one signs as well.")


class Since(Body):
    """From when on."""

    since: Instant


class EndpointShape(Shape):
    """A subscription."""

    id: str
    tenant: str
    url: str = Field(description="Without its query for callers that may not change it.")
    description: str
    events: list[str]
    enabled: bool
    disabled_reason: str | None = Field(description="by_hand, gone (it answered 410), failing (for days).")
    old_secret_until: Instant | None = Field(description="Until when a rotation lasts.")
    created_at: Instant
    updated_at: Instant
    deliveries: int = Field(description="Made within the last 24 hours.")
    failed: int = Field(description="How many of those failed.")
    failures: int = Field(description="Attempts in a row that failed; after five it rests.")
    resting_until: Instant | None = Field(
        description="Until when nothing is sent; once that is past one delivery is the probe. null = it does not rest."
    )


class MadeEndpoint(Shape):
    """A subscription, new."""

    endpoint: EndpointShape
    secret: str | None = Field(description="Shown this once; null when the caller chose it.")


class EndpointList(Shape):
    """A page of subscriptions; a tenant's fit on one."""

    data: list[EndpointShape]
    next_cursor: str | None


class Replayed(Shape):
    """How much is delivered again."""

    replayed: int = Field(description="Up to 1,000 at a time.")


class Single(Body):
    """A webhook that is sent once, without a subscription."""

    url: Url
    payload: Any
    secret: Secret
    event_type: Event


class DeliveriesQuery(PageOf):
    """Which part of the list."""

    endpoint: Annotated[str, StringConstraints(max_length=36)] | None = None
    state: Literal["pending", "delivered", "failed"] | None = None
    limit: int = Field(50, ge=1, le=200)


class DeliveryShape(Shape):
    """What one receiver is told, and how that went."""

    id: str = Field(description="Travels as webhook-id, the same in all attempts.")
    tenant: str
    endpoint_id: str | None = Field(description="null = sent without a subscription.")
    event: str
    state: str
    job_id: str
    attempts: int
    status: int | None = Field(description="The HTTP status of the latest attempt.")
    error: str | None
    created_at: Instant
    finished_at: Instant | None


class DeliveryPage(Shape):
    """A page of deliveries, the latest first."""

    data: list[DeliveryShape]
    next_cursor: str | None


class WebhookAttemptShape(Shape):
    """One request."""

    number: int
    at: Instant
    status: int | None
    duration_ms: int | None
    response: str | None = Field(description="The beginning of the answer; null without the scope `payload`.")
    error: str | None


class DeliveryDetail(Shape):
    """A delivery with its attempts."""

    delivery: DeliveryShape
    url: str = Field(description="Where it goes; without its query for callers that may not change it.")
    body: str | None = Field(description="What is sent, as text; null without the scope `payload`.")
    tries: list[WebhookAttemptShape]
