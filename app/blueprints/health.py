"""Is it up? For people, load balancers and orchestrators."""

from __future__ import annotations

import logging
from typing import Any

from flask import Blueprint

from app.auth import optional_principal, public
from app.models.base import utcnow
from app.services import asking, schema
from app.services.queues import get_all_queue_status
from flask_understudy import Principal
from flask_understudy.contrib.api import instant

log = logging.getLogger("app.health")

bp = Blueprint("health", __name__, url_prefix="/api/health")


@bp.get("")
@public
def health() -> tuple[dict[str, Any], int]:
    """Say how the whole is doing; details are for callers with a token (requirement I06, C16)."""
    try:
        caller, status = asking.within(asking.SECONDS, _status)
    except asking.NoAnswer as problem:
        log.error("unhealthy: the database: %s", problem)
        return {"overallStatus": "unhealthy", "timestamp": instant(utcnow())}, 503
    code = 503 if status["overallStatus"] == "unhealthy" else 200
    if caller is None:
        return {name: status[name] for name in ("overallStatus", "timestamp")}, code
    return status, code


def _status() -> tuple[Principal | None, dict[str, Any]]:
    caller = optional_principal()
    return caller, get_all_queue_status(caller.tenant if caller else None)


@bp.get("/live")
@public
def live() -> dict[str, str]:
    """Say that the process answers; asks neither the database nor Redis."""
    return {"status": "ok"}


@bp.get("/ready")
@public
def ready() -> tuple[dict[str, str], int]:
    """Say whether requests can be served: the database answers and is migrated.

    Redis is not asked: without it the service goes on. What is wrong is said in the log only.
    """
    try:
        problem = asking.within(asking.SECONDS, schema.problem)
    except asking.NoAnswer as hanging:
        problem = f"the database: {hanging}"
    if problem:
        log.error("not ready: %s", problem)
        return {"status": "unavailable"}, 503
    return {"status": "ready"}, 200
