"""API tokens over HTTP."""

from __future__ import annotations

import re
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


def test_the_description_of_the_api_has_the_tokens_and_says_where_it_is(client: FlaskClient) -> None:
    described = client.get("/api/jobs/openapi.json").json

    assert set(described["paths"][URL]) == {"get", "post"}
    assert set(described["paths"][f"{URL}/{{token_id}}"]) == {"delete"}
    assert described["servers"] == [{"url": "http://localhost"}]


def test_types_are_described_in_plain_words(client: FlaskClient, auth_header: Headers) -> None:
    types = client.get("/api/jobs/types", headers=auth_header("read")).json["data"]

    texts = [each["description"] for each in types]
    assert all(texts)
    assert [text for text in texts if "`" in text or re.search(r"\([A-Z]\d\d", text)] == []
