"""Bulks: one verb for all jobs of a filter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from ..contrib.api import Answer, Body, invalid, not_found
from ..errors import InvalidJob
from ..ledger import Bulk
from ..ledger.filter import Filter
from ..operations import bulk as operations
from ..operations.bulk_acts import CHANGED, check
from .callers import caller, state
from .doors import door, note
from .finding import Wanted, Word, filter_of, scope_of
from .shapes import Instant, JobSummary, Shape

TAG = "Bulks"

#: Ids that the audit keeps of those that were named.
MOST_TOLD = 100


class BulkOrder(Body):
    """What shall be done to which jobs."""

    action: Literal["retry", "replay", "run_now", "change_queue", "change_priority", "cancel", "delete"]
    queue: Word | None = Field(default=None, description="The new queue, for `change_queue`.")
    priority: int | None = Field(
        default=None, ge=-1000, le=1000, description="The new priority, for `change_priority`; lower runs first."
    )
    filter: Wanted | None = Field(default=None, description="Which jobs; the parameters of a search.")
    ids: list[Annotated[str, StringConstraints(max_length=64)]] | None = Field(
        default=None, min_length=1, max_length=10_000
    )
    dry_run: bool = Field(default=False, description="Only say how many jobs there are, and show some.")
    limit: int = Field(default=operations.MOST, ge=1, le=operations.MOST, description="Touch no more jobs than that.")
    as_of: Instant | None = Field(
        default=None, description="Touch no jobs that came later, such as `asOf` of a dry run; default: now."
    )
    expected: int | None = Field(
        default=None,
        ge=0,
        description="How many jobs it shall touch, such as `touched` of a dry run. If it would be another number by "
        "now nothing is done: 409.",
    )


class DryRun(Shape):
    """What a bulk would find."""

    matched: int = Field(description="Jobs that it can be done to.")
    touched: int = Field(description="Of them those that it would touch, as `limit` says.")
    matched_is_exact: bool = Field(description="False = there are at least that many.")
    left: int | None = Field(
        description="Jobs that are meant as well and stay as they are, as their state does not allow it; null = too "
        "many to count."
    )
    sample: list[JobSummary]
    as_of: Instant = Field(
        description="When that was so. Whoever starts it with the same `asOf` touches no later jobs."
    )


class BulkShape(Shape):
    """A bulk."""

    id: str
    action: str
    queue: str | None = Field(description="The new queue of `change_queue`.")
    priority: int | None = Field(description="The new priority of `change_priority`.")
    state: str = Field(description="running, completed or aborted.")
    expected: int | None = Field(description="Jobs there were when it was asked for; null = too many to count.")
    matched: int = Field(description="Jobs looked at so far.")
    done: int
    skipped: int = Field(description="Jobs whose state did not allow it, or that were like that already.")
    limit: int
    created_by: str
    created_at: Instant
    finished_at: Instant | None

    @classmethod
    def of(cls, bulk: Bulk) -> BulkShape:
        """Return a bulk as it is shown."""
        return cls(
            id=bulk.id,
            action=bulk.action,
            queue=(bulk.changes or {}).get("queue"),
            priority=(bulk.changes or {}).get("priority"),
            state=bulk.state,
            expected=bulk.expected,
            matched=bulk.matched,
            done=bulk.done,
            skipped=bulk.skipped,
            limit=bulk.most,
            created_by=bulk.subject,
            created_at=bulk.created_at,
            finished_at=bulk.finished_at,
        )


@door(
    "/bulk",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="bulk.start",
    body=BulkOrder,
    answers={202: BulkShape, 200: Answer(DryRun, "It was a dry run.")},
    errors=(409,),
)
def start_bulk(body: BulkOrder) -> Any:
    """Do one thing to all jobs of a filter, or to those named. The clock does it in steps."""
    here, who = state(), caller()
    scope = scope_of(who, body.filter or Wanted())
    wanted, changes = _wanted(body), _changes(body)
    note(action=body.action, dry_run=body.dry_run, **changes, **_told(body))
    if body.dry_run:
        trial = operations.trial(here, scope, body.action, wanted, body.as_of)
        return DryRun(
            matched=trial.matched,
            touched=min(trial.matched, body.limit),
            matched_is_exact=trial.is_exact,
            left=trial.left,
            sample=[JobSummary.of(job) for job in trial.sample[: body.limit]],
            as_of=trial.as_of,
        )
    bulk = operations.start(
        here, who.principal, scope, body.action, wanted, body.limit, changes, body.as_of, body.expected
    )
    note(target=bulk.id, tenant=bulk.tenant)
    return BulkShape.of(bulk), 202


@door("/bulk/<bulk_id>", scope="read", tag=TAG, answers={200: BulkShape})
def show_bulk(bulk_id: str) -> BulkShape:
    """Say how far a bulk is."""
    bulk = operations.find(state(), bulk_id, caller().scope)
    if bulk is None:
        raise not_found()
    return BulkShape.of(bulk)


@door(
    "/bulk/<bulk_id>/abort",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="bulk.abort",
    answers={200: BulkShape},
    errors=(409,),
)
def abort_bulk(bulk_id: str) -> BulkShape:
    """Do no more of a bulk; what is done stays done."""
    return BulkShape.of(operations.abort(state(), bulk_id, caller().scope))


def _told(body: BulkOrder) -> dict[str, Any]:
    """Return which jobs are meant, for the audit; values of arguments may be anybody's data and are not kept."""
    if body.filter is None:
        return {"ids": body.ids[:MOST_TOLD] if body.ids else [], "n_ids": len(body.ids or ())}
    told = body.filter.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if body.filter.payload:
        told["payload"] = [text.partition(":")[0] for text in body.filter.payload]
    return {"filter": told}


def _changes(body: BulkOrder) -> dict[str, Any]:
    """Return what the action changes and to what.

    Raises:
        Problem: 422, it lacks that, takes none, or there is no such queue.
    """
    given = {name: value for name in ("queue", "priority") if (value := getattr(body, name)) is not None}
    try:
        check(state(), body.action, given)
    except InvalidJob as problem:
        raise invalid(_field_of(body.action, given), str(problem)) from None
    return given


def _field_of(action: str, given: Mapping[str, Any]) -> str:
    """Return the field to blame: one that the action does not take, else its own."""
    own = CHANGED.get(action)
    return next((name for name in given if name != own), str(own))


def _wanted(body: BulkOrder) -> Filter:
    if (body.filter is None) == (body.ids is None):
        raise invalid("filter", "Give either filter or ids.")
    if body.ids is not None:
        return Filter(ids=tuple(body.ids))
    assert body.filter is not None
    if not body.filter.model_fields_set:
        raise invalid("filter", "An empty filter would mean every job there is; say which ones.")
    return filter_of(state(), caller(), body.filter)
