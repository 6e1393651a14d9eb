"""Alerts: what is wrong now, what was, and who shall not be told (requirements M08 to M12)."""

from __future__ import annotations

from pydantic import Field

from ..contrib.api import Body, Problem, not_found
from ..ledger import AlertEpisode
from ..operations import alerts as operations
from .callers import caller, state
from .doors import door, note
from .metrics import sees_everything
from .paging import PageOf, cursor_of, place_of
from .shapes import Instant, Shape

TAG = "Alerts"
MOST_ID = 2**31 - 1


class AlertShape(Shape):
    """One stretch of time in which a rule was broken."""

    id: int
    rule: str = Field(description="depth, failure-rate, stalled, broker, growing or repeated-failures.")
    subject: str = Field(description="The queue, worker or fingerprint it is about; empty = the whole.")
    began_at: Instant
    ended_at: Instant | None = Field(description="null = it is open.")
    value: float = Field(description="The latest figure.")
    threshold: float = Field(description="What the rule allows.")
    message: str
    muted_until: Instant | None = Field(description="Until when nobody is told, but for the log and signals.")


class OpenAlerts(Shape):
    """What is wrong now."""

    data: list[AlertShape]
    thresholds: dict[str, float] = Field(description="What each rule allows.")


class PastAlerts(Shape):
    """A page of episodes."""

    data: list[AlertShape]
    next_cursor: str | None


class Muting(Body):
    """For how long nobody shall be told."""

    minutes: int = Field(ge=0, le=operations.MOST_MINUTES, description="Minutes from now; 0 = tell again.")


@door("/alerts", scope="read", tag=TAG, answers={200: OpenAlerts})
def list_alerts() -> OpenAlerts:
    """List what is wrong now, and what each rule allows."""
    _everything()
    return OpenAlerts(
        data=[_shape(episode) for episode in operations.opened(state())], thresholds=operations.allowed(state())
    )


@door("/alerts/history", scope="read", tag=TAG, query=PageOf, answers={200: PastAlerts})
def list_past_alerts(query: PageOf) -> PastAlerts:
    """List all alerts of the last 90 days, open ones too, the latest first."""
    _everything()
    place = place_of(query)
    before = None if place is None else _id(place[1])
    found = operations.history(state(), query.limit + 1, before)
    page = found[: query.limit]
    after = (page[-1].began_at, str(page[-1].id)) if len(found) > query.limit else None
    return PastAlerts(data=[_shape(episode) for episode in page], next_cursor=cursor_of(after, query))


@door(
    "/alerts/<int:alert_id>/mute",
    method="POST",
    scope="tenants",
    tag=TAG,
    audit_as="alert.mute",
    body=Muting,
    answers={200: AlertShape},
)
def mute_alert(alert_id: int, body: Muting) -> AlertShape:
    """Tell nobody of an open alert, and of those that follow it, for a while."""
    if alert_id > MOST_ID or not operations.mute(state(), alert_id, body.minutes):
        raise not_found()
    note(target=str(alert_id), minutes=body.minutes)
    state().db.session.flush()
    found = state().db.session.get(AlertEpisode, alert_id, populate_existing=True)
    return _shape(found)


def _everything() -> None:
    """Refuse callers whose tenant is one of several: alerts are about the jobs of all.

    Raises:
        Problem: 403.
    """
    if not sees_everything(caller()):
        raise Problem(403, detail="Alerts are about all tenants' jobs: this needs the scope 'tenants'.")


def _id(text: str) -> int:
    return int(text) if text.isdecimal() and int(text) <= MOST_ID else 0


def _shape(episode: AlertEpisode) -> AlertShape:
    return AlertShape(
        id=episode.id,
        rule=episode.rule,
        subject=episode.subject,
        began_at=episode.began_at,
        ended_at=episode.ended_at,
        value=episode.value,
        threshold=episode.threshold,
        message=episode.message,
        muted_until=episode.muted_until,
    )
