"""Which jobs are looked for, and what one has to know to find them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs are wanted. Values of one attribute are alternatives; all attributes must hold.

    Attributes:
        states: States.
        queues: Queues.
        actors: Names of actors.
        tags: Tags, one of which the job has.
        ids: Ids.
        id_starts: Beginnings of ids, of digits, `a` to `f` and hyphens; alternatives to `ids`.
        owner: Who asked for it.
        text: Part of its id, actor, deduplication key or error, whatever the case.
        error: Part of its error, whatever the case.
        fingerprint: Of its error.
        correlation_id: Shared by the jobs that one request led to.
        batch_id: The batch that they are part of.
        attempt_from: Attempts made, this many or more.
        attempt_to: Attempts made, this many at the most.
        priority_from: The priority, this or a higher number.
        priority_to: The priority, this or a lower number.
        created_after: Not before this time.
        created_before: Before this time.
        finished_after: Not before this time.
        finished_before: Before this time.
        payload: Paths into the arguments, each with the text of the value it must lead to. A path begins with the name
            or the position of a parameter.
        due_by_itself: Whether jobs are left out that await a decision or an event; see `ledger.awaiting`.
        only_shown: Whether payloads match only where they are shown: who finds a value by guessing it has learnt it.
    """

    states: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    id_starts: tuple[str, ...] = ()
    owner: str | None = None
    text: str | None = None
    error: str | None = None
    fingerprint: str | None = None
    correlation_id: str | None = None
    batch_id: str | None = None
    attempt_from: int | None = None
    attempt_to: int | None = None
    priority_from: int | None = None
    priority_to: int | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    finished_after: datetime | None = None
    finished_before: datetime | None = None
    payload: tuple[tuple[tuple[str, ...], str], ...] = ()
    due_by_itself: bool = False
    only_shown: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What the application knows and the ledger does not.

    Attributes:
        queues: Every queue there may be jobs of.
        positions: Tells for a parameter's name which actors take it, by its position; asked for payloads alone.
        showing: Tells which actors' arguments are shown, all in all (None) or at a position.
    """

    queues: Sequence[str] = ()
    positions: Callable[[str], Mapping[int, Sequence[str]]] = lambda name: {}
    showing: Callable[[int | None], Sequence[str]] = lambda position: ()
