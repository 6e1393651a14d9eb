"""The facts that the service states. Who cares listens, in ``app.actors``."""

from __future__ import annotations

from flask_understudy import Event


class TenantOnboarded(Event):
    """An organisation was made as ordered; it has an administrator, who is invited."""

    tenant_id: str
    slug: str
    tier: str
    administrator_id: str
