"""The processes that run jobs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ..rest import workers
from ..rest.callers import state
from .pages import page


@page("/workers", "workers", scope="tenants", title="Workers", place=11)
def show_workers() -> dict[str, Any]:
    """Show each process, what it has to do, and which one's clock leads."""
    found = workers.list_workers().data
    alive = [worker for worker in found if worker.is_alive]
    running = [worker for worker in alive if worker.kind != "web"]
    return {
        "workers": sorted(found, key=lambda worker: (not worker.is_alive, worker.hostname, worker.pid)),
        "running": len(running),
        "threads": sum(worker.threads for worker in running),
        "active": sum(worker.active for worker in alive),
        "leader": next((worker for worker in alive if worker.leads_clock), None),
        "lease": timedelta(seconds=state().config.lease_seconds),
    }
