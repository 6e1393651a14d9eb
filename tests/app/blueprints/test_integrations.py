"""Integrations over HTTP: connected, renewed and let go by their organisation, their tokens never shown."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

Headers = Callable[..., dict[str, str]]

PATH = "/api/integrations"
GRANT = {
    "provider": "zoom",
    "account": "ada@example.com",
    "accessToken": "access-0",
    "refreshToken": "refresh-0",
    "expiresAt": "2030-01-01T00:00:00Z",
}


@pytest.mark.requirement("A13", "A16", "P04")
def test_an_account_is_connected_renewed_and_let_go(
    client: FlaskClient, auth_header: Headers, auth_header_b: Headers
) -> None:
    admin, stranger = auth_header("read", "operate", "admin"), auth_header_b("read", "operate", "admin")
    made = client.post(PATH, json=GRANT, headers=admin)
    assert made.status_code == 201
    assert not any(secret in made.text for secret in ("access-0", "refresh-0"))
    path = f"{PATH}/{made.json['id']}"  # type: ignore[index]

    again = client.post(PATH, json=GRANT | {"accessToken": "access-1"}, headers=admin)
    assert again.json["id"] == made.json["id"]  # type: ignore[index]
    assert client.get(PATH, headers=admin).json == {"data": [made.json]}
    assert client.get(PATH, headers=stranger).json == {"data": []}
    for method, target in (("post", f"{path}/refresh"), ("delete", path)):
        assert getattr(client, method)(target, headers=stranger).status_code == 404
    queued = client.post(f"{path}/refresh", headers=admin)
    assert (queued.status_code, queued.json["type"]) == (202, "integrations:refresh-tokens")  # type: ignore[index]
    assert client.delete(path, headers=admin).status_code == 204
    assert client.post(f"{path}/refresh", headers=admin).status_code == 404


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"provider": "github"}, "there are google-calendar, zoom"),
        ({"expiresAt": "2030-01-01T00:00:00"}, "expiresAt"),
        ({"refreshToken": ""}, "refreshToken"),
        ({"tenant": "x"}, "tenant"),
    ],
)
def test_a_wrong_grant_is_refused(client: FlaskClient, auth_header: Headers, change: dict[str, Any], said: str) -> None:
    answer = client.post(PATH, json=GRANT | change, headers=auth_header("read", "admin"))

    assert (answer.status_code, said in answer.text) == (422, True)
    assert client.get(PATH, headers=auth_header("read")).json == {"data": []}


def test_readers_change_nothing(client: FlaskClient, auth_header: Headers) -> None:
    assert client.post(PATH, json=GRANT, headers=auth_header("read", "operate")).status_code == 403
    assert client.post(f"{PATH}/x/refresh", headers=auth_header("read")).status_code == 403


@pytest.mark.requirement("A13")
def test_a_renewal_that_is_asked_for_twice_is_one_job(client: FlaskClient, auth_header: Headers) -> None:
    header = auth_header("read", "operate", "admin")
    made = client.post(PATH, json=GRANT, headers=header)
    once = header | {"Idempotency-Key": "renew-1"}

    first, again = (client.post(f"{PATH}/{made.json['id']}/refresh", headers=once) for _ in range(2))  # type: ignore[index]

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json == again.json
