"""API tokens over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask.testing import FlaskClient

Headers = Callable[..., dict[str, str]]
URL = "/api/jobs/tokens"
ADMIN = ("read", "payload", "enqueue", "operate", "admin")


@pytest.mark.requirement("P01")
def test_an_administrator_makes_lists_and_revokes_tokens(client: FlaskClient, auth_header: Headers) -> None:
    admin = auth_header(*ADMIN)
    made = client.post(URL, json={"name": "ci", "scopes": ["read"]}, headers=admin)
    secret = {"Authorization": f"Bearer {made.json['secret']}"}

    assert made.status_code == 201
    assert made.json["token"]["scopes"] == ["read"]
    assert client.get("/api/jobs/stats", headers=secret).status_code == 200
    assert client.get(URL, headers=secret).status_code == 403
    listed = client.get(URL, headers=admin)
    assert made.json["token"]["id"] in [token["id"] for token in listed.json["data"]]
    assert made.json["secret"] not in listed.text
    assert client.delete(f"{URL}/{made.json['token']['id']}", headers=admin).status_code == 204
    assert client.get("/api/jobs/stats", headers=secret).status_code == 401


@pytest.mark.requirement("P03", "P04")
def test_nobody_grants_more_than_they_have_or_touches_another_organisation_s(
    client: FlaskClient, auth_header: Headers, auth_header_b: Headers
) -> None:
    admin, stranger = auth_header(*ADMIN), auth_header_b(*ADMIN)
    made = client.post(URL, json={"name": "ci", "scopes": ["read"]}, headers=admin).json["token"]["id"]

    assert client.post(URL, json={"name": "x", "scopes": ["tenants"]}, headers=admin).status_code == 403
    assert client.delete(f"{URL}/{made}", headers=stranger).status_code == 404
    assert client.delete(f"{URL}/unknown", headers=admin).status_code == 404
    assert made not in client.get(URL, headers=stranger).text


@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "scopes": ["read"]},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["everything"]},
        {"name": "x", "scopes": ["read"], "expiresAt": (datetime.now(UTC) - timedelta(hours=1)).isoformat()},
        {"name": "x", "scopes": ["read"], "expiresAt": "2099-01-01"},
        {"name": "x", "scopes": ["read"], "userId": "other"},
    ],
)
def test_a_wrong_token_is_refused(client: FlaskClient, auth_header: Headers, body: dict[str, object]) -> None:
    assert client.post(URL, json=body, headers=auth_header(*ADMIN)).status_code == 422
