"""What waits for people to decide: a list for principals, and a page for whoever holds the link."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import Response, render_template, request
from itsdangerous import BadSignature
from pydantic import Field, StringConstraints

from ..contrib.api import Body
from ..errors import JobConflict
from ..ledger import Approval
from ..operations import approvals as operations
from ..steps.approving import signer
from .callers import caller, state
from .doors import bp, door, note
from .paging import PageOf, cursor_of, place_of
from .shapes import Instant, Shape

TAG = "Approvals"

MOST_COMMENT = 1_000
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
}

Comment = Annotated[str, StringConstraints(max_length=MOST_COMMENT)]


class ApprovalShape(Shape):
    """Something that a job waits for a person to decide."""

    id: str
    job_id: str
    step: str
    tenant: str
    prompt: str
    to: str = Field(description="Who is asked.")
    state: str = Field(description="pending, approved, rejected or expired.")
    asked_at: Instant
    deadline: Instant
    decided_by: str | None
    comment: str | None
    decided_at: Instant | None

    @classmethod
    def of(cls, approval: Approval) -> ApprovalShape:
        """Return an approval's shape."""
        return cls(
            id=approval.id,
            job_id=approval.job_id,
            step=approval.name,
            tenant=approval.tenant,
            prompt=approval.prompt,
            to=approval.asked,
            state=approval.state,
            asked_at=approval.asked_at,
            deadline=approval.deadline,
            decided_by=approval.decided_by,
            comment=approval.comment,
            decided_at=approval.decided_at,
        )


class ApprovalPage(Shape):
    """A page of approvals, the latest first."""

    data: list[ApprovalShape]
    next_cursor: str | None


class WantedApprovals(PageOf):
    """Which approvals."""

    state: Literal["pending", "approved", "rejected", "expired", "all"] = "pending"


class Answer(Body):
    """What whoever decides has to say."""

    comment: Comment = ""


@door("/approvals", scope="read", tag=TAG, query=WantedApprovals, answers={200: ApprovalPage})
def list_approvals(query: WantedApprovals) -> ApprovalPage:
    """List what waits for a decision, or was decided."""
    only = None if query.state == "all" else query.state
    found = operations.listing(state(), caller().scope, only=only, after=place_of(query), n=query.limit + 1)
    shown = found[: query.limit]
    more = len(found) > query.limit
    return ApprovalPage(
        data=[ApprovalShape.of(approval) for approval in shown],
        next_cursor=cursor_of((shown[-1].asked_at, shown[-1].id), query) if more else None,
    )


@door(
    "/approvals/<approval_id>/approve",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="approval.approve",
    body=Answer,
    body_is_optional=True,
    answers={200: ApprovalShape},
    errors=(409,),
)
def approve(approval_id: str, body: Answer) -> ApprovalShape:
    """Say yes, once; the job goes on."""
    return _decide(approval_id, body, approved=True)


@door(
    "/approvals/<approval_id>/reject",
    method="POST",
    scope="operate",
    tag=TAG,
    audit_as="approval.reject",
    body=Answer,
    body_is_optional=True,
    answers={200: ApprovalShape},
    errors=(409,),
)
def reject(approval_id: str, body: Answer) -> ApprovalShape:
    """Say no, once; the job goes on."""
    return _decide(approval_id, body, approved=False)


def _decide(id: str, body: Answer, *, approved: bool) -> ApprovalShape:
    who = caller()
    note(comment=body.comment)
    decided = operations.decide(
        state(), id, approved=approved, by=who.principal.subject, comment=body.comment, scope=who.scope
    )
    return ApprovalShape.of(decided)


def show_approval(token: str) -> Response:
    """Show what is to be decided; whoever merely looks, such as a mail scanner, decides nothing."""
    approval = _signed(token)
    return _page(approval, 404 if approval is None else 200)


def decide_approval(token: str) -> Response:
    """Decide what the link is about, once. The token in the link is what a forger of requests does not have."""
    approval = _signed(token)
    if approval is None:
        return _page(None, 404)
    answer = request.form.get("decision", "")
    if answer not in {"approve", "reject"}:
        return _page(approval, 422, "Choose one of the two buttons.")
    comment = request.form.get("comment", "")
    if len(comment) > MOST_COMMENT or "\x00" in comment:
        return _page(approval, 422, f"The comment takes {MOST_COMMENT} characters at the most.")
    try:
        decided = operations.decide(
            state(),
            approval.id,
            approved=answer == "approve",
            by=f"link:{approval.asked}" if approval.asked else "link",
            comment=comment,
        )
    except JobConflict as problem:
        return _page(operations.find(state(), approval.id), 409, str(problem))
    return _page(decided, 200)


def _signed(token: str) -> Approval | None:
    try:
        id = signer().loads(token)
    except BadSignature:
        return None
    return operations.find(state(), id) if isinstance(id, str) else None


def _page(approval: Approval | None, status: int, problem: str = "") -> Response:
    page = render_template("understudy/approval.html", approval=approval, problem=problem)
    response = Response(page, status, content_type="text/html; charset=utf-8")
    response.headers.update(HEADERS)
    return response


def _by_link(view: Any, method: str) -> None:
    view.__guard__ = "link"
    bp.add_url_rule("/decide/<token>", view_func=view, methods=[method])


_by_link(show_approval, "GET")
_by_link(decide_approval, "POST")
