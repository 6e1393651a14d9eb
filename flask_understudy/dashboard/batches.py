"""Batches: how far each is, what failed in it, and acting on all of it."""

from __future__ import annotations

from typing import Any

from flask import request

from ..contrib.api.bodies import validated
from ..rest import batches
from ..rest.paging import PageOf
from .pages import page

ROWS = 50

#: What its jobs can be, in the order of their lives.
STATES = ("delayed", "waiting", "active", "completed", "failed", "cancelled")
OPEN = ("running", "cancelling")


@page("/batches", "batches", title="Batches", place=10)
def show_batches() -> dict[str, Any]:
    """Show all batches, the newest first."""
    cursor = request.args.get("cursor")
    found = batches.list_batches(validated(PageOf, {"limit": ROWS, **({"cursor": cursor} if cursor else {})}))
    return {"batches": found.data, "next_cursor": found.next_cursor}


@page("/batches/<batch_id>", "batch")
def show_batch_page(batch_id: str) -> dict[str, Any]:
    """Show one batch: its jobs by state, and which of them failed."""
    batch = batches.show_batch(batch_id)
    failed = batches.list_batch_failures(batch_id).data if batch.failed else []
    return {"batch": batch, "failures": failed, "states": STATES, "is_open": batch.state in OPEN}
