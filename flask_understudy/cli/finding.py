"""Options that say which jobs are meant: the same filters as the REST API has."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from ..ledger import STATES, Job
from ..ledger.filter import Filter
from ..ledger.scope import Scope
from ..ledger.search import Search
from ..operations.bulk import known
from ..rest.finding import MOST_NUMBER, path_and_value
from .group import state

PAGE = 1000
_AGO = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class When(click.ParamType):  # type: ignore[type-arg]  # generic in newer releases alone
    """A point in time: RFC 3339, in UTC unless it says otherwise, or how long ago: `30m`, `2h`, `3d`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read it."""
        if isinstance(value, datetime):
            return value
        try:
            if ago := _AGO.fullmatch(value.strip()):
                return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            moment = datetime.fromisoformat(value.strip())
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except OverflowError:
            self.fail(f"{value!r} is before the year 1 or after the year 9999 in UTC.", param, ctx)
        except ValueError:
            self.fail(
                f"{value!r} is no time such as 2026-11-24T10:00:00Z, nor an age such as 30m, 2h or 3d.", param, ctx
            )


class PathAndValue(click.ParamType):  # type: ignore[type-arg]
    """A path into a job's arguments and the value there: `order.id:42`."""

    name = "path:value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[tuple[str, ...], str]:
        """Read it."""
        if isinstance(value, tuple):
            return value
        try:
            return path_and_value(value)
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs the options mean.

    Attributes:
        filter: As the ledger takes it.
        scope: Whose jobs.
        given: What was asked for, by option; empty = every job.
    """

    filter: Filter
    scope: Scope
    given: dict[str, Any]


NUMBER = click.IntRange(-MOST_NUMBER, MOST_NUMBER)

_OPTIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("--state", "states", {"multiple": True, "type": click.Choice(STATES), "help": "State."}),
    ("--queue", "queues", {"multiple": True, "help": "Queue."}),
    ("--type", "actors", {"multiple": True, "help": "Name of the actor."}),
    ("--tag", "tags", {"multiple": True, "help": "Tag."}),
    ("--tenant", "tenant", {"help": "Tenant."}),
    ("--owner", "owner", {"help": "Who asked for it."}),
    ("--q", "text", {"help": "Part of the id, type, deduplication key or error."}),
    ("--error", "error", {"help": "Part of the error."}),
    ("--fingerprint", "fingerprint", {"help": "Of the error; see: flask jobs failures."}),
    ("--correlation-id", "correlation_id", {"help": "Shared by the jobs of one request."}),
    ("--batch", "batch_id", {"help": "The batch that they are part of."}),
    ("--attempt-from", "attempt_from", {"type": NUMBER, "help": "This many attempts made, or more."}),
    ("--attempt-to", "attempt_to", {"type": NUMBER, "help": "This many attempts made at the most."}),
    ("--priority-from", "priority_from", {"type": NUMBER, "help": "This priority or a higher number."}),
    ("--priority-to", "priority_to", {"type": NUMBER, "help": "This priority or a lower number."}),
    ("--payload", "payload", {"multiple": True, "type": PathAndValue(), "help": "Argument, such as order.id:42."}),
    ("--created-after", "created_after", {"type": When(), "help": "Time, or age such as 2h."}),
    ("--created-before", "created_before", {"type": When(), "help": "Likewise."}),
    ("--finished-after", "finished_after", {"type": When(), "help": "Likewise."}),
    ("--finished-before", "finished_before", {"type": When(), "help": "Likewise."}),
)


def filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a search, handed over as `wanted`. Repeated options are alternatives."""
    names = [name for _, name, _ in _OPTIONS]

    @functools.wraps(command)
    def read(**options: Any) -> Any:
        given = {name: value for name in names if (value := options.pop(name)) not in (None, "", ())}
        tenant = given.get("tenant")
        wanted = Filter(**{name: value for name, value in given.items() if name != "tenant"})
        return command(wanted=Wanted(wanted, Scope(tenant), given), **options)

    for flag, name, settings in reversed(_OPTIONS):
        read = click.option(flag, name, **settings)(read)
    return read


def found(wanted: Wanted, most: int | None, *, newest_first: bool = True) -> Iterator[Job]:
    """Yield up to `most` jobs, without their payload.

    Args:
        wanted: Which jobs.
        most: How many at the most; None = all.
        newest_first: The order.
    """
    search = Search(state().database, wanted.scope, wanted.filter, known(state()), newest_first=newest_first)
    after, left = None, most
    while left is None or left > 0:
        page = search.page(PAGE if left is None else min(PAGE, left), after)
        yield from page.jobs
        after = page.after
        left = None if left is None else left - len(page.jobs)
        if after is None:
            return
