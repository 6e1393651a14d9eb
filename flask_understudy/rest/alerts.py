"""Alerts: what is wrong now, what was, and who shall not be told (requirements M08 to M12)."""

from __future__ import annotations

from pydantic import Field

from ..contrib.api import Answer, Body, Problem, not_found
from ..ledger import AlertEpisode
from ..operations import alerts as operations
from ..operations import thresholds
from ..operations.channels import Channels
from .callers import caller, state
from .doors import door, note, settle
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


class RuleShape(Shape):
    """What a rule allows."""

    rule: str
    threshold: float = Field(description="The figure above which it is broken: jobs, a share, seconds.")
    default: float = Field(description="What holds when no operator set it.")
    setting: str | None = Field(description="The setting that says that; null = the library does.")
    set_by: str | None = Field(description="The operator who set it; null = nobody did.")
    set_at: Instant | None

    @classmethod
    def of(cls, found: thresholds.Threshold) -> RuleShape:
        """Show a rule."""
        return cls(**{name: getattr(found, name) for name in thresholds.Threshold.__slots__})


class Rules(Shape):
    """All rules."""

    data: list[RuleShape]


class NewThreshold(Body):
    """What a rule shall allow."""

    threshold: float = Field(
        allow_inf_nan=False,
        description="depth, growing, repeated-failures: jobs, whole; failure-rate: a share up to 1; stalled: seconds.",
    )


class OutcomeShape(Shape):
    """What became of a test of one channel."""

    channel: str = Field(description="log, signal, Sentry, mail or webhook.")
    to: str = Field(description="The address of mail; empty for the others.")
    is_delivered: bool
    error: str | None = Field(description="Why not; null = it is delivered.")


class Tested(Shape):
    """What became of a test."""

    data: list[OutcomeShape]


class Muting(Body):
    """For how long nobody shall be told."""

    minutes: int = Field(ge=0, le=operations.MOST_MINUTES, description="Minutes from now; 0 = tell again.")


@door("/alerts", scope="read", tag=TAG, answers={200: OpenAlerts})
def list_alerts() -> OpenAlerts:
    """List what is wrong now, and what each rule allows."""
    _everything()
    return OpenAlerts(
        data=[_shape(episode) for episode in operations.opened(state())], thresholds=thresholds.allowed(state())
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


@door("/alerts/rules", scope="read", tag=TAG, answers={200: Rules})
def list_alert_rules() -> Rules:
    """List the rules: what each allows, what the settings say, and who set it otherwise."""
    _everything()
    return Rules(data=[RuleShape.of(found) for found in thresholds.listing(state())])


@door(
    "/alerts/rules/<rule>",
    method="PATCH",
    scope="tenants",
    tag=TAG,
    audit_as="alert.set",
    body=NewThreshold,
    answers={200: RuleShape},
)
def set_alert_threshold(rule: str, body: NewThreshold) -> RuleShape:
    """Let a rule allow something else than the settings say, from the clock's next evaluation on."""
    note(threshold=body.threshold, before=_rule(rule).threshold)
    who = caller().principal
    thresholds.change(state(), rule, body.threshold, f"{who.tenant}/{who.subject}" if who.tenant else who.subject)
    return RuleShape.of(_rule(rule))


@door(
    "/alerts/rules/<rule>",
    method="DELETE",
    scope="tenants",
    tag=TAG,
    audit_as="alert.reset",
    answers={204: Answer(description="The settings say.")},
)
def reset_alert_threshold(rule: str) -> tuple[str, int]:
    """Let a rule allow again what the settings say."""
    note(before=_rule(rule).threshold)
    thresholds.reset(state(), rule)
    return "", 204


@door("/alerts/test", method="POST", scope="tenants", tag=TAG, audit_as="alert.test", answers={200: Tested})
def test_alerts() -> Tested:
    """Send a test, which says that it is one, to everybody who is told of alerts; the answer says who could be reached.

    It takes up to 12 s. Nobody is tried again, and muting does not matter.
    """
    settle()  # the line of the audit; nothing is locked while others are waited for
    found = Channels(state()).test(caller().principal.subject)
    return Tested(
        data=[OutcomeShape(channel=o.channel, to=o.to, is_delivered=o.error is None, error=o.error) for o in found]
    )


def _rule(rule: str) -> thresholds.Threshold:
    found = thresholds.find(state(), rule)
    if found is None:
        raise not_found()
    return found


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
