import re
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from app.extensions import db, jobs
from app.models.base import utcnow
from app.models.invitation import Invitation
from app.models.session import Session
from app.models.tenant import Tenant
from app.models.user import User
from app.services import accounts, passwords, verification
from flask_understudy.testing import TestWorker
from tests.app.conftest import AppFactory

Headers = Callable[..., dict[str, str]]
PERSON = {"email": "Nia@New.example", "name": "Nia", "password": "correct horse"}
COMPANY = PERSON | {"organization": "Nia's Nursery"}


def queued(app: Flask, actor: str) -> list[Any]:
    """The jobs of an actor, oldest first."""
    table = jobs.metadata.tables["understudy_jobs"]
    statement = sa.select(table).where(table.c.actor == actor).order_by(table.c.created_at)
    with app.app_context(), db.engine.connect() as connection:
        return list(connection.execute(statement).all())


def sign_in(client: FlaskClient, **body: str) -> Any:
    credentials = {"email": PERSON["email"], "password": PERSON["password"]}
    return client.post("/api/auth/login", json=credentials | body)


@pytest.mark.requirement("U01", "V12")
def test_sign_up_makes_an_organisation_and_queues_the_welcome_mail(app: Flask, client: FlaskClient) -> None:
    answer = client.post("/api/auth/signup", json=COMPANY)

    assert answer.status_code == 201
    assert answer.json["user"]["email"] == "nia@new.example"
    assert answer.json["user"]["role"] == "admin"
    assert len(queued(app, "email:welcome")) == 1
    with app.app_context():
        assert db.session.scalars(sa.select(Tenant.slug)).all() == ["nia-s-nursery"]
        user = db.session.scalars(sa.select(User)).one()
        assert user.password_hash is not None and user.password_hash.startswith("scrypt:")


@pytest.mark.requirement("U01")
def test_no_mail_goes_out_for_a_sign_up_that_fails_at_commit(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db.session, "commit", lambda: 1 / 0)
    app.config["PROPAGATE_EXCEPTIONS"] = False

    answer = client.post("/api/auth/signup", json=COMPANY)

    assert answer.status_code == 500
    assert queued(app, "email:welcome") == []
    with app.app_context():
        assert db.session.scalars(sa.select(User)).all() == []


def test_second_account_with_the_same_address_is_refused(app: Flask, client: FlaskClient) -> None:
    client.post("/api/auth/signup", json=COMPANY)

    answer = client.post("/api/auth/signup", json=COMPANY | {"organization": "Other"})

    assert answer.status_code == 409
    assert len(queued(app, "email:welcome")) == 1


def test_organisations_of_one_name_get_different_slugs(app: Flask, client: FlaskClient) -> None:
    client.post("/api/auth/signup", json=COMPANY)
    client.post("/api/auth/signup", json=COMPANY | {"email": "other@new.example"})

    with app.app_context():
        first, second = sorted(db.session.scalars(sa.select(Tenant.slug)).all())
    assert re.fullmatch(first + "-[0-9a-f]{8}", second)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"email": "nobody"}, "/email"),
        ({"email": "a@b.example\nBcc: x@y.example"}, "/email"),
        ({"email": "x" * 250 + "@y.example"}, "/email"),
        ({"name": ""}, "/name"),
        ({"name": "Nia\r\nBcc: x"}, "/name"),
        ({"name": "x" * 201}, "/name"),
        ({"password": "short"}, "/password"),
        ({"role": "admin"}, "/role"),
        ({"organization": None}, ""),
        ({"invitation": "x" * 30}, ""),
    ],
)
def test_wrong_sign_up_is_refused_and_stores_nothing(
    app: Flask, client: FlaskClient, change: dict[str, Any], pointer: str
) -> None:
    answer = client.post("/api/auth/signup", json=COMPANY | change)

    assert answer.status_code == 422
    assert pointer in [error["pointer"] for error in answer.json["errors"]]
    assert COMPANY["password"].encode() not in answer.data
    with app.app_context():
        assert db.session.scalars(sa.select(User)).all() == []
    assert queued(app, "email:welcome") == []


def test_signing_in_gives_a_token_that_ends_with_signing_out(client: FlaskClient) -> None:
    client.post("/api/auth/signup", json=COMPANY)

    answer = sign_in(client)
    headers = {"Authorization": f"Bearer {answer.json['token']}"}

    assert answer.status_code == 201
    assert "redisConnected" in client.get("/api/health", headers=headers).json
    assert client.post("/api/auth/logout", headers=headers).status_code == 204
    assert client.get("/api/health", headers=headers).status_code == 401


@pytest.mark.parametrize("body", [{"password": "wrong horse"}, {"email": "no@new.example"}])
def test_signing_in_does_not_say_which_part_was_wrong(client: FlaskClient, body: dict[str, str]) -> None:
    client.post("/api/auth/signup", json=COMPANY)

    answer = sign_in(client, **body)

    assert answer.status_code == 401
    assert answer.json["detail"] == "The address and the password do not fit."


def test_sign_in_is_limited(make_app: AppFactory, sqlite_url: str) -> None:
    client = make_app(sqlite_url, RATELIMIT_ENABLED=True).test_client()

    answers = [sign_in(client) for _ in range(21)]

    assert [answer.status_code for answer in answers] == [401] * 20 + [429]
    assert answers[-1].content_type == "application/problem+json"
    assert int(answers[-1].headers["Retry-After"]) > 0


@pytest.mark.requirement("A37")
def test_forgotten_password_is_replaced_with_the_code_of_the_mail(app: Flask, client: FlaskClient) -> None:
    client.post("/api/auth/signup", json=COMPANY)
    sign_in(client)
    with app.app_context():
        codes = passwords.make_codes("nia@new.example")
        (_, code), *_ = list(codes)
        db.session.commit()
    body = {"email": PERSON["email"], "code": code, "password": "battery staple"}

    answer = client.post("/api/auth/password-reset/confirm", json=body)

    assert answer.status_code == 204
    assert sign_in(client).status_code == 401
    assert sign_in(client, password="battery staple").status_code == 201
    assert client.post("/api/auth/password-reset/confirm", json=body).status_code == 422
    with app.app_context():
        assert len(db.session.scalars(sa.select(Session)).all()) == 1


@pytest.mark.requirement("A37", "C08")
def test_answer_to_a_forgotten_password_does_not_say_whether_there_is_an_account(
    app: Flask, client: FlaskClient
) -> None:
    client.post("/api/auth/signup", json=COMPANY)

    known = client.post("/api/auth/password-reset", json={"email": PERSON["email"]})
    unknown = client.post("/api/auth/password-reset", json={"email": "no@new.example"})

    assert (known.status_code, known.json) == (unknown.status_code, unknown.json)
    assert known.status_code == 202
    assert len(queued(app, "email:password-reset-request")) == 2
    assert queued(app, "email:password-reset") == []
    with app.app_context(), TestWorker(jobs) as worker:
        for job in queued(app, "email:password-reset-request"):
            worker.run(job.id, raise_errors=True)
    (mail,) = queued(app, "email:password-reset")
    assert mail.priority == 1
    assert mail.kwargs["organization"] == "Nia's Nursery"


@pytest.mark.requirement("A37", "J01")
def test_forgotten_password_is_answered_at_once_while_the_broker_is_down_and_mail_hangs(
    make_app: AppFactory, sqlite_url: str
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        app = make_app(
            sqlite_url,
            REDIS_URL="redis://127.0.0.1:1/0",
            SMTP_HOST="127.0.0.1",
            SMTP_PORT=silent.getsockname()[1],
            SMTP_TIMEOUT=3,
        )
        with app.app_context():
            tenant = Tenant(slug="aster", name="Aster")
            db.session.add(tenant)
            db.session.flush()
            db.session.add(User(tenant_id=tenant.id, email="ada@aster.example", name="Ada", role="member"))
            db.session.commit()

        began = time.monotonic()
        answer = app.test_client().post("/api/auth/password-reset", json={"email": "ada@aster.example"})

        assert answer.status_code == 202
        assert time.monotonic() - began < 2
        assert len(queued(app, "email:password-reset-request")) == 1


def test_code_dies_after_five_guesses(app: Flask, client: FlaskClient) -> None:
    client.post("/api/auth/signup", json=COMPANY)
    with app.app_context():
        ((_, code),) = list(passwords.make_codes("nia@new.example"))
        db.session.commit()
    wrong = "00000000" if code != "00000000" else "11111111"
    body = {"email": PERSON["email"], "password": "battery staple"}

    def confirm(guess: str) -> int:
        path = "/api/auth/password-reset/confirm"
        return client.post(path, json=body | {"code": guess}).status_code

    assert [confirm(wrong) for _ in range(5)] == [422] * 5
    assert confirm(code) == 422


def test_code_expires(app: Flask, client: FlaskClient) -> None:
    client.post("/api/auth/signup", json=COMPANY)
    with app.app_context():
        ((_, code),) = list(passwords.make_codes("nia@new.example"))
        db.session.commit()
    body = {"email": PERSON["email"], "code": code, "password": "battery staple"}

    with time_machine.travel(utcnow() + passwords.CODE_LASTS):
        answer = client.post("/api/auth/password-reset/confirm", json=body)

    assert answer.status_code == 422


def test_invited_person_joins_the_organisation_once(
    app: Flask, client: FlaskClient, auth_header: Headers, user_a: User
) -> None:
    headers = auth_header("admin")
    invite = {"email": "nia@new.example", "role": "viewer"}
    assert client.post("/api/auth/invitations", json=invite, headers=headers).status_code == 201
    (mail,) = queued(app, "email:invitation")
    shown = client.get(f"/api/jobs/{mail.id}", headers=auth_header("read", "payload")).json
    assert (shown["payload"]["organization"], "invitation=" in str(shown)) == ("Aster Ltd", False)
    found = re.search(r"invitation=([\w-]+)", str(mail.args) + str(mail.kwargs))
    assert found is not None
    joining = PERSON | {"invitation": found[1]}

    stranger = client.post("/api/auth/signup", json=joining | {"email": "x@new.example"})
    joined = client.post("/api/auth/signup", json=joining)
    again = client.post("/api/auth/signup", json=joining)

    assert [a.status_code for a in (stranger, joined, again)] == [422, 201, 422]
    assert joined.json["user"]["role"] == "viewer"
    with app.app_context():
        nia = db.session.scalars(sa.select(User).where(User.email == "nia@new.example")).one()
        assert nia.tenant_id == user_a.tenant_id
        invitation = db.session.scalars(sa.select(Invitation)).one()
        assert invitation.accepted_at is not None and invitation.invited_by == user_a.id
        assert invitation.digest != found[1]


def test_somebody_who_was_added_without_a_password_accepts_an_invitation(
    app: Flask, client: FlaskClient, auth_header: Headers, user_a: User
) -> None:
    with app.app_context():
        invitations = [
            accounts.invite(tenant_id=user_a.tenant_id, email=user_a.email, role=role, by="cli")[1]
            for role in ("operator", "admin")
        ]
        db.session.commit()
    joining = [PERSON | {"email": user_a.email, "invitation": secret} for secret in invitations]

    joined = client.post("/api/auth/signup", json=joining[0])
    again = client.post("/api/auth/signup", json=joining[1])

    assert (joined.status_code, joined.json["user"]["id"], joined.json["user"]["role"]) == (201, user_a.id, "operator")
    assert (again.status_code, "member already" in again.text) == (409, True)
    assert sign_in(client, email=user_a.email).status_code == 201
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(User)) == 1


def test_only_administrators_invite(client: FlaskClient, auth_header: Headers) -> None:
    body = {"email": "nia@new.example"}
    headers = auth_header("read", "enqueue", "operate")

    assert client.post("/api/auth/invitations", json=body, headers=headers).status_code == 403


@pytest.mark.requirement("A36")
def test_address_is_verified_with_the_token_of_the_mail(
    app: Flask, client: FlaskClient, auth_header: Headers, user_a: User
) -> None:
    asked = client.post("/api/auth/verification", headers=auth_header("read"))
    with app.app_context():
        user = db.session.get(User, user_a.id)
        assert user is not None
        token = verification.make_token(user)

    verified = client.post("/api/auth/verify", json={"token": token})
    forged = client.post("/api/auth/verify", json={"token": token[:-2] + "xx"})

    assert (asked.status_code, len(queued(app, "email:verification"))) == (202, 1)
    assert verified.json["user"]["emailVerified"] is True
    assert forged.status_code == 422


def test_sign_ups_that_were_refused_do_not_count(make_app: AppFactory, sqlite_url: str) -> None:
    client = make_app(sqlite_url, RATELIMIT_ENABLED=True).test_client()
    refused = [client.post("/api/auth/signup", json=COMPANY | {"password": "short"}) for _ in range(12)]
    people = [COMPANY | {"email": f"person{number}@new.example"} for number in range(11)]

    answers = [client.post("/api/auth/signup", json=person) for person in people]

    assert {answer.status_code for answer in refused} == {422}
    assert [answer.status_code for answer in answers] == [201] * 10 + [429]
    assert "Only 10 per 1 hour are accepted here from one address. Try again in " in answers[-1].json["detail"]
    assert 3_000 < int(answers[-1].headers["Retry-After"]) <= 3_600


@pytest.mark.parametrize("email", ["x" * 65 + "@new.example", "x@-new.example", "x@" + "a" * 64 + ".example"])
def test_address_that_no_mail_reaches_is_pointed_at(client: FlaskClient, email: str) -> None:
    answer = client.post("/api/auth/signup", json=COMPANY | {"email": email})

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json["errors"]] == ["/email"]


def test_signing_out_with_an_api_token_says_why_not(client: FlaskClient, auth_header: Any) -> None:
    headers = auth_header("read")

    answer = client.post("/api/auth/logout", headers=headers)

    assert answer.status_code == 409
    assert "flask tokens revoke" in answer.json["detail"]
    assert client.get("/api/health", headers=headers).status_code == 200
