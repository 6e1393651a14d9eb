"""Tenants and keys: who has what, and holding one back."""

from __future__ import annotations

from typing import Any

from flask import request

from ..contrib.api.bodies import validated
from ..rest import limits, queues, tenants
from ..rest.finding import PageOfTenant
from ..rest.paging import PageOf
from .pages import page

ROWS = 50


@page("/tenants", "tenants", scope="tenants", title="Tenants", place=14)
def show_tenants() -> dict[str, Any]:
    """Show each tenant's jobs, its share of what runs, and its limit."""
    found = tenants.list_tenants(validated(PageOf, _asked()))
    return {
        "tenants": found.data,
        "next_cursor": found.next_cursor,
        "active": sum(numbers.active for numbers in queues.show_stats().root.values()),
    }


@page("/limits", "limits", title="Limits", place=14)
def show_limits() -> dict[str, Any]:
    """Show the keys that jobs are limited by, and what holds for each."""
    found = limits.list_limits(validated(PageOfTenant, _asked()))
    return {"limits": found.data, "next_cursor": found.next_cursor}


def _asked() -> dict[str, Any]:
    cursor = request.args.get("cursor")
    return {"limit": ROWS, **({"cursor": cursor} if cursor else {})}
