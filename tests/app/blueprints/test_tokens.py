"""API tokens over HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app.extensions import db

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


def in_the_database(app: Flask) -> str:
    """All that the database holds, as text."""
    with app.app_context():
        tables = sa.inspect(db.engine).get_table_names()
        return "".join(str(db.session.execute(sa.text(f"SELECT * FROM {table}")).all()) for table in tables)


def test_a_secret_asked_for_again_with_its_key_is_the_same_and_stands_nowhere_in_clear(
    app: Flask, client: FlaskClient, auth_header: Headers
) -> None:
    admin = auth_header(*ADMIN)
    hook = {"url": "https://example.com/hook", "events": ["*"]}
    endpoints = "/api/jobs/webhooks/endpoints"

    def twice(path: str, body: object) -> str:
        first, again = (client.post(path, json=body, headers=admin | {"Idempotency-Key": path}) for _ in range(2))
        assert first.status_code < 300 and again.text == first.text, first.text
        assert again.headers["Idempotent-Replayed"] == "true"
        return first.text

    token = json.loads(twice(URL, {"name": "ci", "scopes": ["read"]}))["secret"]
    made = json.loads(twice(endpoints, hook))
    rotated = json.loads(twice(f"{endpoints}/{made['endpoint']['id']}/rotate", {}))

    held = in_the_database(app)
    secrets = {token, made["secret"], rotated["secret"]}
    assert len(secrets) == 3 and all(secrets)
    assert [secret for secret in secrets if secret in held] == []
    assert held.count("https://example.com/hook") == 1  # of the endpoint, not of two, nor of an answer in clear
    assert len(client.get(endpoints, headers=admin).json["data"]) == 1


def test_a_secret_that_was_sealed_with_another_key_is_not_told_again(
    client: FlaskClient, auth_header: Headers, app: Flask
) -> None:
    admin = auth_header(*ADMIN) | {"Idempotency-Key": "one"}
    order = {"name": "ci", "scopes": ["read"]}
    client.post(URL, json=order, headers=admin)

    app.secret_key = "a key that was made afterwards"
    answer = client.post(URL, json=order, headers=admin)

    assert (answer.status_code, answer.json["title"]) == (409, "Conflict")
    assert "SECRET_KEY" in answer.json["detail"]


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
