"""What the doors of reports and data exports take and answer alike."""

from __future__ import annotations

from typing import Annotated

from flask import Response
from pydantic import Field, StringConstraints

from app.auth import current_principal
from app.extensions import db, jobs
from app.models.export_job import ExportJob
from app.services.exports import files, lifecycle
from app.services.shapes import Queued
from flask_understudy.contrib.api import Body, Problem

#: s that a request waits for a file at the most: less than the 30 that web servers give it.
MOST_SECONDS = 25

Name = Annotated[str, StringConstraints(max_length=100)]


class FileOrder(Body):
    """What every order of a file takes."""

    notify_email: Annotated[str, StringConstraints(max_length=254)] | None = Field(
        default=None, description="Who is mailed when it is ready, or has failed for good."
    )
    priority: int | None = Field(default=None, ge=1, le=5, description="Lower goes first; default the queue's.")
    organization_id: Name | None = Field(default=None, description="The token says it; another one is a 403.")
    user_id: Name | None = Field(default=None, description="The token says it; another one is a 403.")


class WaitQuery(Body):
    """Whether to wait for the file."""

    wait: float = Field(0, ge=0, le=MOST_SECONDS, description="s to wait for the file.")


class QueuedFile(Queued):
    """A file that was ordered."""

    export_id: str = Field(description="See /api/exports/{id}.")
    status: str = Field(description="PENDING, PROCESSING, COMPLETED or FAILED.")
    file_url: str | None = Field(description="Where it is fetched, for a quarter of an hour, once it is there.")
    error: str | None = Field(description="Why there is none.")

    @classmethod
    def of_export(cls, export: ExportJob, type: str, queue: str) -> QueuedFile:
        """Return the shape of an order that a job of that type and queue carries out."""
        return cls(
            job_id=export.job_id or "",
            type=type,
            queue=queue,
            export_id=export.id,
            status=export.status,
            file_url=files.signed_url(export) if export.file_url else None,
            error=export.error,
        )


def check_identity(body: FileOrder) -> None:
    """Let pass an order for the caller's own organisation, in the caller's own name.

    Raises:
        Problem: 403, the body names another one.
    """
    caller = current_principal()
    for name, given, own in (
        ("organizationId", body.organization_id, caller.tenant),
        ("userId", body.user_id, caller.subject),
    ):
        if given is not None and given != own:
            raise Problem(403, detail=f"{name} is that of the token, and the body names another one. Leave it out.")


def waited(answer: Response, seconds: float) -> Response:
    """Return the answer to an order, or what became of the file if that shows within so many seconds.

    Args:
        answer: What `QueuedFile` says, committed.
        seconds: s to wait; 0 = not at all.
    """
    if not seconds or answer.status_code >= 300:
        return answer
    caller, order = current_principal(), answer.get_json()
    db.session.rollback()  # gives the connection back meanwhile, and looks at what is there then
    jobs.wait(order["jobId"], seconds, caller=(caller.tenant, caller.subject))
    export = lifecycle.own(caller, order["exportId"])
    if export is None or export.status in lifecycle.UNFINISHED:
        return answer
    shown = QueuedFile.of_export(export, order["type"], order["queue"])
    found = Response(shown.model_dump_json(by_alias=True), content_type="application/json")
    found.headers["Location"] = answer.headers["Location"]
    return found
