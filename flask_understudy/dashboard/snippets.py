"""A job once more, as text to be copied: what is withheld leaves a gap, and nothing with a gap runs by mistake."""

from __future__ import annotations

import keyword
import shlex
from typing import Any

from flask import url_for

from ..redaction import WITHHELD
from ..rest.shapes import JobDetail

NOTE = "# `...` stands for what is withheld here; write it anew, no job takes it as it is.\n"


class _Gap:
    """Stands for what is not shown."""

    def __repr__(self) -> str:
        return "..."


def as_curl(job: JobDetail) -> str:
    """Return the request that replays a job; the arguments are those of the ledger."""
    url = url_for("understudy.replay_job", job_id=job.id, _external=True)
    return f'curl -X POST -H "Authorization: Bearer $TOKEN" {shlex.quote(url)}'


def as_python(job: JobDetail) -> str | None:
    """Return the send that asks for the same; None when the arguments are not shown."""
    if job.payload is None:
        return None
    given = _with_gaps(job.payload)
    if all(name.isidentifier() and not keyword.iskeyword(name) for name in given):
        arguments = ", ".join(f"{name}={value!r}" for name, value in given.items())
    else:
        arguments = f"**{given!r}"
    sent = f"jobs.broker.get_actor({job.type!r}).send({arguments})"
    return sent if given == job.payload else NOTE + sent


def _with_gaps(value: Any) -> Any:
    """Return a JSON value with a gap for each text that something is withheld of."""
    if isinstance(value, dict):
        return {name: _with_gaps(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_with_gaps(each) for each in value]
    return _Gap() if isinstance(value, str) and WITHHELD in value else value
