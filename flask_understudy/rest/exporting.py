"""The jobs of a search as a file: CSV for a spreadsheet."""

from __future__ import annotations

import time
from typing import Any

from flask import Response, request, url_for
from pydantic import Field

from ..contrib.api import Answer
from ..contrib.exports.links import content_disposition
from ..contrib.exports.values import csv_line, encoded
from .callers import caller, state
from .doors import door
from .finding import Sorted, search_of
from .jobs import TAG
from .paging import cursor_of, place_of
from .shapes import JobSummary

MEDIA_TYPE = "text/csv; charset=utf-8"
MOST = 10_000

#: Jobs that are read at a time, and s after which no more are.
PAGE, SECONDS = 1_000, 5.0


class ExportQuery(Sorted):
    """Which jobs, and how many."""

    limit: int = Field(MOST, ge=1, le=MOST)


def head() -> str:
    """Return the line of the columns' names: those of a list's fields."""
    return csv_line([field.alias or name for name, field in JobSummary.model_fields.items()])


def line_of(job: JobSummary) -> str:
    """Return a job as a line; a text that a spreadsheet would run has an apostrophe before it."""
    return csv_line([getattr(job, name) for name in JobSummary.model_fields])


@door(
    "/export",
    scope="read",
    tag=TAG,
    query=ExportQuery,
    answers={200: Answer(media_type="text/csv", description="A line for each job, below the names of the columns.")},
)
def export_jobs(query: ExportQuery) -> Response:
    """Download the jobs of a search as CSV.

    The columns are the fields of the list: no arguments and no results, whoever asks. Where there are more jobs than
    `limit`, or than could be looked at in a few seconds, the header `Link` has the address of what follows, with
    `rel="next"`, and the file's name says that these are the first.
    """
    search = search_of(state(), caller(), query, newest_first=query.is_newest_first)
    place, left, lines = place_of(query), query.limit, [head()]
    until = time.monotonic() + SECONDS
    while True:
        page = search.page(min(PAGE, left), place)
        lines += [line_of(JobSummary.of(job)) for job in page.jobs]
        place, left = page.after, left - len(page.jobs)
        if place is None or not left or time.monotonic() > until:
            break
    response = Response(encoded("".join(lines)), content_type=MEDIA_TYPE)
    name = "jobs.csv" if place is None else f"jobs-first-{len(lines) - 1}.csv"
    response.headers["Content-Disposition"] = content_disposition(name)
    if place is not None:
        response.headers["Link"] = f'<{_address(str(cursor_of(place, query)))}>; rel="next"'
    return response


def _address(cursor: str) -> str:
    """Return where what follows is, for the very query of this request."""
    given: dict[str, Any] = {**request.args.to_dict(flat=False), "cursor": cursor}
    return url_for(str(request.endpoint), **given)
