"""The record of who did what (requirement E06 archives it after a year)."""

from __future__ import annotations

from typing import Any

from flask import has_request_context, request

from app.extensions import db
from app.models.audit_log import AuditLog


def record(action: str, *, tenant_id: str, subject: str, target: str | None = None, **details: Any) -> None:
    """Add an entry to the caller's transaction.

    Args:
        action: What was done, ``noun.verb``.
        tenant_id: In whose house.
        subject: Who did it: a user's id, ``token:<id>`` or ``cli``.
        target: The id of what it was done to.
        **details: What else is worth knowing; never a secret.
    """
    address = request.remote_addr if has_request_context() else None
    db.session.add(
        AuditLog(
            tenant_id=tenant_id,
            subject=subject,
            action=action,
            target=target,
            ip=address,
            details=details,
        )
    )
