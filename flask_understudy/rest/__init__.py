"""The REST API: JSON below a prefix, for whoever the application's authoriser knows."""

from importlib import import_module
from importlib.util import find_spec

from flask import Flask

from ..errors import ConfigError
from ..state import State
from . import (  # noqa: F401 - they declare the routes
    alerts,
    approvals,
    audit,
    batches,
    bulk,
    deliveries,
    document,
    events,
    exporting,
    failures,
    following,
    history,
    invoke,
    jobs,
    limits,
    metrics,
    queue_figures,
    queues,
    run_counts,
    scheduled,
    schedules,
    sending,
    settings,
    stream,
    tenants,
    webhooks,
    workers,
    workflows,
)
from .callers import SCOPES
from .doors import bp


def mount(app: Flask, prefix: str) -> None:
    """Add the API to an application.

    Args:
        app: The application; it has a `SECRET_KEY`, which signs cursors and the tokens of single jobs.
        prefix: Where, such as `/api/jobs`.
    """
    app.register_blueprint(bp, url_prefix=prefix)


def is_mounted(app: Flask) -> bool:
    """Whether the API was added to an application."""
    return bp.name in app.blueprints


def mount_invoke(app: Flask, prefix: str, alias: str) -> None:
    """Add the address that runs jobs to an application; see `rest.invoke`."""
    invoke.mount(app, prefix, alias)


def mount_metrics(app: Flask, state: State, path: str, *, public: bool) -> None:
    """Add the metrics for Prometheus to an application.

    Raises:
        ConfigError: The package prometheus-client is not installed.
    """
    if find_spec("prometheus_client") is None:
        raise ConfigError(
            f"UNDERSTUDY_METRICS_PATH is {path!r}, and prometheus-client is not installed: "
            "pip install 'flask-understudy[prometheus]', or leave the setting empty."
        )
    import_module(".exposition", __name__).mount(app, state, path, public=public)


__all__ = ["SCOPES", "is_mounted", "mount", "mount_invoke", "mount_metrics"]
