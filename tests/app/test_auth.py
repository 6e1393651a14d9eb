import datetime as dt
import re
from collections.abc import Callable

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from app.auth import digest_of, public, requires, who
from app.extensions import db
from app.models.api_token import ApiToken
from app.models.base import utcnow
from app.models.tenant import Tenant
from app.models.user import User
from app.services import sessions, tokens

MakeToken = Callable[..., str]


@pytest.fixture
def app(app: Flask) -> Flask:
    @app.get("/secret")
    @requires("operate")
    def secret() -> str:
        return "seen"

    return app


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@pytest.mark.requirement("P01")
def test_every_route_of_the_service_is_guarded_or_marked_public(app: Flask) -> None:
    unguarded = [
        rule.rule
        for rule in app.url_map.iter_rules()
        if app.view_functions[rule.endpoint].__module__.startswith("app.")
        and not hasattr(app.view_functions[rule.endpoint], "__guard__")
    ]

    assert unguarded == []


@pytest.mark.requirement("P01")
def test_guarded_routes_refuse_strangers(app: Flask, client: FlaskClient) -> None:
    for rule in app.url_map.iter_rules():
        guard = getattr(app.view_functions[rule.endpoint], "__guard__", "public")
        for method in (rule.methods or set()) & {"GET", "POST", "PUT", "PATCH", "DELETE"}:
            path = re.sub(r"<(?:\w+:)?\w+>", "1", rule.rule)
            if guard != "public":
                expected = {"signed": {404, 503}, "link": {404}}.get(guard, {401})  # without a key nobody can sign
                assert client.open(path, method=method).status_code in expected, (method, rule.rule)


def test_right_token_opens(client: FlaskClient, token_a: MakeToken) -> None:
    assert client.get("/secret", headers=bearer(token_a("operate"))).data == b"seen"


def test_token_without_the_scope_is_a_403_that_names_it(client: FlaskClient, token_a: MakeToken) -> None:
    answer = client.get("/secret", headers=bearer(token_a("read", "enqueue")))

    assert answer.status_code == 403
    assert "'operate'" in answer.json["detail"]


@pytest.mark.parametrize(
    "header",
    [
        "Bearer us_unknown",
        "Bearer uss_unknown",
        "Bearer ",
        "Bearer",
        "Basic dXM6cGFzcw==",
        "us_no-kind",
        "Bearer " + "us_" + "x" * 10_000,
    ],
)
def test_wrong_credentials_are_a_401(client: FlaskClient, header: str) -> None:
    answer = client.get("/secret", headers={"Authorization": header})

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_token_in_the_query_string_is_no_token(client: FlaskClient, token_a: MakeToken) -> None:
    assert client.get(f"/secret?token={token_a('operate')}").status_code == 401


def test_revoked_token_is_refused_on_the_next_call(app: Flask, client: FlaskClient, token_a: MakeToken) -> None:
    secret = token_a("operate")
    before = client.get("/secret", headers=bearer(secret)).status_code
    with app.app_context():
        tokens.revoke(db.session.scalars(sa.select(ApiToken)).one())
        db.session.commit()

    after = client.get("/secret", headers=bearer(secret)).status_code

    assert (before, after) == (200, 401)


def test_expired_token_is_refused(client: FlaskClient, token_a: MakeToken) -> None:
    secret = token_a("operate", expires_at=utcnow() + dt.timedelta(hours=1))

    assert client.get("/secret", headers=bearer(secret)).status_code == 200
    with time_machine.travel(utcnow() + dt.timedelta(hours=2)):
        assert client.get("/secret", headers=bearer(secret)).status_code == 401


def test_database_has_no_usable_token(app: Flask, token_a: MakeToken) -> None:
    secret = token_a("read")

    with app.app_context():
        row = db.session.scalars(sa.select(ApiToken)).one()
        stored = [str(getattr(row, column.key)) for column in sa.inspect(ApiToken).columns]

    assert secret not in stored
    assert row.digest == digest_of(secret)
    assert secret.startswith(row.prefix) and len(row.prefix) == 10


def test_last_use_is_recorded_at_most_once_a_minute(app: Flask, client: FlaskClient, token_a: MakeToken) -> None:
    def last_used() -> dt.datetime | None:
        with app.app_context():
            return db.session.scalars(sa.select(ApiToken.last_used_at)).one()

    secret = token_a("operate")
    start = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    seen = [last_used()]
    for seconds in (0, 30, 90):
        with time_machine.travel(start + dt.timedelta(seconds=seconds), tick=False):
            client.get("/secret", headers=bearer(secret))
            seen.append(last_used())

    assert seen == [None, start, start, start + dt.timedelta(seconds=90)]


@pytest.mark.requirement("P02")
def test_principal_comes_from_the_token_alone(app: Flask, token_a: MakeToken, user_a: User, tenant_b: Tenant) -> None:
    headers = bearer(token_a("read")) | {"X-Tenant-ID": tenant_b.id}
    with app.test_request_context(f"/?tenant={tenant_b.id}", headers=headers) as context:
        principal = who(context.request)

    assert principal is not None
    assert (principal.subject, principal.tenant) == (user_a.id, user_a.tenant_id)
    assert principal.scopes == {"read"}


def test_machine_token_acts_for_itself(app: Flask, make_token: MakeToken, tenant_a: Tenant) -> None:
    headers = bearer(make_token(tenant_a, "enqueue"))
    with app.test_request_context("/", headers=headers) as context:
        principal = who(context.request)

    assert principal is not None
    assert principal.subject.startswith("token:")
    assert principal.tenant == tenant_a.id


def test_session_gives_the_scopes_of_the_role(app: Flask, client: FlaskClient, user_a: User) -> None:
    with app.app_context():
        user = db.session.get(User, user_a.id)
        assert user is not None
        _, secret = sessions.start(user)
        db.session.commit()

        as_member = client.get("/secret", headers=bearer(secret)).status_code
        user.role = "operator"
        db.session.commit()
        as_operator = client.get("/secret", headers=bearer(secret)).status_code

    assert (as_member, as_operator) == (403, 200)


def test_session_ends_by_itself(app: Flask, client: FlaskClient, user_a: User) -> None:
    with app.app_context():
        user = db.session.get(User, user_a.id)
        assert user is not None
        user.role = "operator"
        _, secret = sessions.start(user)
        db.session.commit()

    with time_machine.travel(utcnow() + sessions.SESSION_LASTS):
        assert client.get("/secret", headers=bearer(secret)).status_code == 401


def test_public_route_still_refuses_a_wrong_token(client: FlaskClient) -> None:
    assert client.get("/api/health", headers=bearer("us_wrong")).status_code == 401


def test_public_marks_a_view() -> None:
    assert public(lambda: "x").__guard__ == "public"  # type: ignore[attr-defined]
