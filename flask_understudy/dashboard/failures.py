"""Failures, grouped by what went wrong."""

from __future__ import annotations

from typing import Any

from flask import request

from ..rest import failures
from .pages import page

VERDICTS = ("open", "ignored", "resolved", "all")


@page("/failures", "failures", title="Failures", place=4)
def show_failures() -> dict[str, Any]:
    """Show which kinds of failure there are, and what to do about each."""
    wanted = request.args.get("verdict", "open")
    verdict = wanted if wanted in VERDICTS else "open"
    query = failures.FailuresQuery.model_validate({"verdict": verdict, "limit": 200})
    return {"failures": failures.list_failures(query).data, "verdict": verdict, "verdicts": VERDICTS}
