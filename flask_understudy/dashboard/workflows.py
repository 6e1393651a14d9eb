"""Workflows: what waits for a person, the runs, and one run step by step."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import request

from ..contrib.api.bodies import validated
from ..ledger import STATES, TERMINAL
from ..operations import approvals as operations
from ..rest import approvals, run_counts, workflows
from ..rest.callers import caller, state
from .pages import page
from .waterfall import WIDTH, waterfall

ROWS = 50
DECISIONS = ("pending", "approved", "rejected", "expired")


@page("/workflows", "workflows", title="Workflows", place=6)
def show_workflows() -> dict[str, Any]:
    """Show what waits for a decision, or was decided, and the runs."""
    asked = {name: request.args[name] for name in ("name", "cursor") if request.args.get(name)}
    status, decision = request.args.get("status", ""), request.args.get("decision", "")
    if status in STATES:
        asked["status"] = status
    decision = decision if decision in DECISIONS else DECISIONS[0]
    runs = workflows.list_runs(validated(workflows.WantedRuns, {**asked, "limit": ROWS}))
    wanted = validated(approvals.WantedApprovals, {"state": decision, "limit": ROWS})
    return {
        "runs": runs.data,
        "next_cursor": runs.next_cursor,
        "name": asked.get("name"),
        "status": asked.get("status"),
        "states": STATES,
        "counts": run_counts.count_runs(validated(run_counts.CountedRuns, {"name": asked.get("name")})).data,
        "workflows": workflows.list_workflows().data,
        "approvals": approvals.list_approvals(wanted).data,
        "decision": decision,
        "decisions": DECISIONS,
    }


@page("/runs/<job_id>", "run")
def show_run_page(job_id: str) -> dict[str, Any]:
    """Show a run: each step, how long it took, what it returned and what it waits for."""
    run, scope = workflows.show_run(job_id), caller().scope
    asked = (operations.find(state(), step.approval_id, scope) for step in run.steps if step.approval_id)
    return {
        "run": run,
        "rows": waterfall(run, datetime.now(UTC)),
        "width": WIDTH,
        "approvals": {one.id: approvals.ApprovalShape.of(one) for one in asked if one is not None},
        "is_ended": run.state in TERMINAL,
    }
