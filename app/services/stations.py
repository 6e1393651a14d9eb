"""The stations of an organisation."""

from __future__ import annotations

import sqlalchemy as sa

from app.extensions import db
from app.models.station import Station
from flask_understudy.contrib.api import Problem


def find(tenant_id: str, station_id: str) -> Station | None:
    """Return a station of an organisation; None for anybody else's, and for none."""
    return db.session.scalar(sa.select(Station).filter_by(id=station_id, tenant_id=tenant_id))


def unknown(pointer: str, station_id: str) -> Problem:
    """Return the 422 for a station that the organisation does not have."""
    detail = f"{station_id[:80]!r} is no station of this organisation."
    return Problem(422, detail=detail, errors=[{"pointer": pointer, "detail": detail}])
