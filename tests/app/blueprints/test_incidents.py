"""Incidents: where they happened."""

import datetime as dt
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app.extensions import db
from app.models.incident import Incident
from app.models.station import Station
from app.models.tenant import Tenant

Headers = Callable[..., dict[str, str]]


def station(app: Flask, tenant: Tenant) -> str:
    with app.app_context():
        row = Station(tenant_id=tenant.id, name="Quarry", region="West", opened_on=dt.date(2020, 1, 1))
        db.session.add(row)
        db.session.commit()
        return row.id


@pytest.mark.requirement("U03")
def test_an_incident_says_where_it_happened(
    app: Flask, client: FlaskClient, auth_header: Headers, tenant_a: Tenant
) -> None:
    here = station(app, tenant_a)

    answer = client.post("/api/incidents", json={"title": "Fire", "stationId": here}, headers=auth_header("enqueue"))

    assert (answer.status_code, answer.json and answer.json["stationId"]) == (201, here)


@pytest.mark.requirement("P04")
def test_an_incident_at_another_organisations_station_is_refused(
    app: Flask, client: FlaskClient, auth_header: Headers, tenant_b: Tenant
) -> None:
    there = station(app, tenant_b)

    answer = client.post("/api/incidents", json={"title": "Fire", "stationId": there}, headers=auth_header("enqueue"))

    assert (answer.status_code, "no station of this organisation" in answer.text) == (422, True)
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Incident)) == 0
