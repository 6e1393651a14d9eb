"""How the system is (requirements I06, L04; C27)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from ..ledger import episodes, queries
from ..state import State

UNATTENDED_MS = 60_000


def health(state: State, tenant: str | None = None) -> dict[str, Any]:
    """Return the seeds' health answer.

    Args:
        state: The application's side of the library.
        tenant: Count this tenant's jobs alone, and leave out the alerts, which are about everybody's; None = all.

    Returns:
        `overallStatus`: `unhealthy` when the database is down, or jobs have waited for more than 60 s and no worker
        lives that is not drained; `degraded` when the broker is down or an alert is open; else `healthy`. `reasons`:
        why it is not healthy. `redisConnected`: whether Redis answers; False without Redis. `transport`, `queues`
        (seven counts each), `timestamp` in UTC.
    """
    reasons: list[str] = []
    transport = state.transport
    is_up = transport.check()
    answer: dict[str, Any] = {
        "overallStatus": "healthy",
        "reasons": reasons,
        "redisConnected": transport.name == "redis" and is_up,
        "transport": transport.name,
        "queues": [],
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if not is_up:
        answer["overallStatus"] = "degraded"
        reasons.append(f"the broker ({transport.name}) does not answer")
    try:
        queues = sorted(state.broker.get_declared_queues() | set(state.config.queues))
        counts = queries.stats(state.database, queues, tenant)
        answer["queues"] = [{"name": name, **numbers} for name, numbers in counts.items()]
        alerts = episodes.open_by_rule(state.database) if tenant is None else {}
        alerts.pop(episodes.BROKER, None)  # the broker itself was just asked
        if alerts:
            answer["overallStatus"] = "degraded"
            reasons += [f"alert {rule} is open" for rule in sorted(alerts)]
        if queries.oldest_waiting_ms(state.database) > UNATTENDED_MS and not queries.workers_alive(state.database):
            answer["overallStatus"] = "unhealthy"
            drained = queries.workers_drained(state.database)
            why = "all workers that live are drained" if drained else "no worker lives"
            reasons.append(f"jobs have waited for more than a minute: {why}")
    except SQLAlchemyError as problem:
        answer["overallStatus"] = "unhealthy"
        answer["database"] = type(problem).__name__
        reasons.append(f"the database does not answer ({type(problem).__name__})")
    return answer
