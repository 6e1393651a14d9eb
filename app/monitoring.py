"""Sentry, when a DSN is set (requirement M06). Arguments of jobs and locals are never sent."""

from __future__ import annotations

from collections.abc import Mapping

import sentry_sdk
from sentry_sdk.integrations.dramatiq import DramatiqIntegration
from sentry_sdk.integrations.flask import FlaskIntegration
from sentry_sdk.integrations.logging import ignore_logger


def start(environ: Mapping[str, str]) -> bool:
    """Start Sentry if ``SENTRY_DSN`` is set; return whether it was started.

    Has to run before the broker is made, which is why it reads the environment and not the app's
    configuration.
    """
    dsn = environ.get("SENTRY_DSN", "").strip()
    if not dsn:
        return False
    # Their lines repeat what the integration reports, with arguments and recipients of jobs.
    for name in ("dramatiq.worker.WorkerThread", "app.jobs"):
        ignore_logger(name)
    sentry_sdk.init(
        dsn=dsn,
        environment=environ.get("SENTRY_ENVIRONMENT") or "production",
        release=environ.get("SENTRY_RELEASE") or None,
        integrations=[FlaskIntegration(), DramatiqIntegration()],
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
    )
    return True
