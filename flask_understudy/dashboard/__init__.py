"""The dashboard: pages for people, over the very doors that the REST API opens for programs.

A page asks the doors of `rest` for what it shows, in the name of whoever looks at it; a button opens the door of its
action. So a page can show and do nothing that the API could not, and permissions, tenants, redaction and the audit are
in one place.
"""

from flask import Flask

from . import (  # noqa: F401 - they declare the pages
    acting,
    additions,
    alerts,
    audits,
    batches,
    bulks,
    events,
    failures,
    figures,
    job,
    jobs,
    live,
    overview,
    queues,
    schedules,
    sending,
    settings,
    signing_in,
    tenants,
    webhooks,
    workers,
    workflows,
)
from .pages import bp


def mount(app: Flask, prefix: str) -> None:
    """Add the dashboard to an application.

    Args:
        app: The application; it has a `SECRET_KEY`, which signs the cookie of who signed in, and an authoriser.
        prefix: Where, such as `/api/jobs/dashboard`.
    """
    app.register_blueprint(bp, url_prefix=prefix)


__all__ = ["mount"]
