"""Incidents: where they happened."""

import datetime as dt
from collections.abc import Callable
from typing import Any

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


@pytest.mark.requirement("U03", "P04")
def test_incidents_are_listed_page_by_page_the_latest_first(
    app: Flask, client: FlaskClient, auth_header: Headers, auth_header_b: Headers, tenant_b: Tenant
) -> None:
    header, other = auth_header("read", "enqueue", "operate"), auth_header_b("read", "enqueue")
    for title in ("one", "two", "three"):
        made = client.post("/api/incidents", json={"title": title}, headers=header)
    client.post("/api/incidents", json={"title": "theirs"}, headers=other)
    client.patch(f"/api/incidents/{made.json['id']}", json={"status": "resolved"}, headers=header)  # type: ignore[index]

    def page(**query: Any) -> Any:
        return client.get("/api/incidents", query_string=query, headers=header).json

    first = page(limit=2)
    assert [each["title"] for each in first["data"]] == ["three", "two"]
    assert first["data"][0] == client.get(made.headers["Location"], headers=header).json
    second = page(limit=2, cursor=first["nextCursor"])
    assert ([each["title"] for each in second["data"]], second["nextCursor"]) == (["one"], None)
    assert [each["title"] for each in page(status="resolved")["data"]] == ["three"]
    assert [each["title"] for each in page(status="open")["data"]] == ["two", "one"]


@pytest.mark.parametrize(
    ("query", "said"),
    [("status=gone", "'open', 'investigating'"), ("limit=0", "limit"), ("cursor=x", "none of ours"), ("x=1", "x")],
)
def test_a_wrong_list_of_incidents_is_refused(client: FlaskClient, auth_header: Headers, query: str, said: str) -> None:
    answer = client.get(f"/api/incidents?{query}", headers=auth_header("read"))

    assert (answer.status_code, said in answer.text) == (422, True), answer.text


@pytest.mark.requirement("P01")
def test_the_list_of_incidents_needs_a_token_and_stands_in_the_document(
    client: FlaskClient, auth_header: Headers
) -> None:
    assert client.get("/api/incidents").status_code == 401
    document = client.get("/api/jobs/openapi.json", headers=auth_header("read")).json
    assert document is not None and "get" in document["paths"]["/api/incidents"]
