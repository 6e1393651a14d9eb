"""What the code of an application declares beside its actors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .ledger.schedule import ALLOW, GRACE_SECONDS, LATEST


@dataclass(frozen=True, slots=True)
class DeclaredSchedule:
    """A schedule as the code declares it.

    Attributes:
        name: Unique name.
        actor: The actor that is sent.
        expression: Cron or `every …`.
        timezone: IANA name; None = the configured one.
        args: Positional arguments.
        kwargs: Keyword arguments.
        options: Options of each send.
        missed: What becomes of slots that passed while no clock ran: `latest`, `skip` or `all`.
        grace_seconds: How late the latest slot may be fired.
        overlap: What becomes of a slot while a former job has not ended: `allow`, `skip` or `queue`.
        enabled: Whether it fires before an operator has said anything.
    """

    name: str
    actor: str
    expression: str
    timezone: str | None = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    missed: str = LATEST
    grace_seconds: int = GRACE_SECONDS
    overlap: str = ALLOW
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class DeclaredPage:
    """A page of the application's own on the dashboard.

    Attributes:
        name: The end of its address.
        title: What the navigation calls it.
        scope: What a caller needs to see it.
        view: Returns what Flask's views return; called for GET, and for POST once the form has proved to be ours.
    """

    name: str
    title: str
    scope: str
    view: Callable[[], Any]
