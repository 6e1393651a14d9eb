"""What goes into the moves of jobs, and what comes out of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..limit import Numbers
from ..windows import Thinning


@dataclass(slots=True)
class NewJob:
    """A job on its way into the ledger; the columns of `Job` that the sender decides.

    Attributes:
        args: Encoded positional arguments, a JSON array.
        kwargs: Encoded keyword arguments, a JSON object.
        options: Encoded message options, a JSON object.
        tags: Encoded labels, a JSON array, or None.
        run_at: UTC text of `statements.moment`, or None = `delay_ms` from now.
        delay_ms: ms from the database's now.
        replay_of: The job that it repeats.
        event_id: The published event that it hears.
        limit_key: What it shares with the jobs that are limited together; it waits behind the gate of that name.
        batch_id: The batch that it is part of.
        debounce_key: A delayed job with the same key takes over its arguments instead.
        takes_turns: Whether it lets other tenants' jobs go between its own tenant's; see `turns`.
        numbers: What `limit_key` allows.
        thinning: How it makes way for others; see `windows`.
        twin: The job that does it instead, as `insert` found.
    """

    id: str
    tenant: str
    owner: str
    queue: str
    actor: str
    state: str
    priority: int
    args: str
    kwargs: str
    options: str
    fallback: str
    tags: str | None = None
    dedup_key: str | None = None
    correlation_id: str | None = None
    parent_id: str | None = None
    run_at: str | None = None
    delay_ms: int = 0
    expires_at: str | None = None
    max_attempts: int | None = None
    sensitive: bool = False
    replay_of: str | None = None
    event_id: str | None = None
    limit_key: str | None = None
    batch_id: str | None = None
    debounce_key: str | None = None
    takes_turns: bool = False
    numbers: Numbers | None = None
    thinning: Thinning | None = None
    twin: str | None = None

    @property
    def key(self) -> tuple[str, str] | None:
        """Whose key it shares, and which, or None."""
        return None if self.limit_key is None else (self.tenant, self.limit_key)


@dataclass(slots=True)
class Claimed:
    """A job as its claimer sees it: decoded arguments, and the fence that guards every later write."""

    id: str
    queue: str
    actor: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    created_ms: int
    tenant: str
    owner: str
    priority: int
    correlation_id: str | None
    attempt: int
    max_attempts: int | None
    fence: int
    crashes: int
    hand_backs: int
    sensitive: bool
    run_ms: int
    turn_ms: int
    sequence: int
    limit_key: str | None = None
    batch_id: str | None = None

    @property
    def key(self) -> tuple[str, str] | None:
        """Whose key it shares, and which, or None."""
        return None if self.limit_key is None else (self.tenant, self.limit_key)


@dataclass(frozen=True, slots=True)
class Due:
    """A waiting job as a transport needs it: id, queue and place in the order, which is priority and turn.

    Attributes:
        is_gated: Whether it is held back for now, so that nobody needs to hear of it.
    """

    id: str
    queue: str
    priority: int
    turn_ms: int
    is_gated: bool = False


@dataclass(frozen=True, slots=True)
class Stray:
    """A claim as the ledger has it."""

    id: str
    fence: int
    queue: str
    priority: int
    turn_ms: int


@dataclass(slots=True)
class Ending:
    """How a claim ended other than by completing (T5, T6).

    Attributes:
        state: `delayed`, `waiting`, `failed` or `cancelled`.
        delay_ms: ms to the next attempt when `delayed`.
        charged: 1, or 0 for a hand-back and for a job that a step suspends or that was put off.
        outcome: What the attempt's record says.
        crashes: 1 when the process of the job died.
        fingerprint: Shared by errors of the same kind.
    """

    id: str
    fence: int
    state: str
    outcome: str
    delay_ms: int = 0
    charged: int = 1
    error: str | None = None
    traceback: str | None = None
    reason: str | None = None
    result: str | None = None
    crashes: int = 0
    fingerprint: str | None = None
