"""Where the links in mails lead."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app.extensions import db
from app.models.user import User
from app.services import accounts, verification
from app.services import email as mails

PASSWORD = "correct horse"


@pytest.fixture
def app(sqlite_app: Flask) -> Flask:
    return sqlite_app


def path_in(app: Flask, name: str, data: dict[str, str]) -> str:
    """The path of the link in a mail."""
    with app.test_request_context():
        found = re.search(r"http://127\.0\.0\.1:8000(\S*)", mails.write(name, data).text)
    assert found is not None
    return found[1]


def hidden_in(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None
    return found[1]


@pytest.mark.requirement("A35")
def test_index_says_what_this_is_and_where_its_health_is(client: FlaskClient) -> None:
    answer = client.get("/")

    assert answer.status_code == 200
    assert client.get(answer.json["health"]).status_code == 200
    assert client.get(answer.json["exportsPage"]).mimetype == "text/html"


def test_link_of_the_welcome_mail_leads_to_a_page(app: Flask, client: FlaskClient) -> None:
    answer = client.get(path_in(app, "welcome", {"name": "Ada"}))

    assert (answer.status_code, answer.mimetype) == (200, "text/html")


@pytest.mark.requirement("A36")
def test_link_of_the_verification_mail_leads_to_a_button_that_verifies(
    app: Flask, client: FlaskClient, user_a: User
) -> None:
    with app.app_context():
        token = verification.make_token(db.session.get_one(User, user_a.id))
    path = path_in(app, "verification", {"name": "Ada", "token": token})

    def is_verified() -> bool:
        with app.app_context():
            return db.session.get_one(User, user_a.id).email_verified_at is not None

    page = client.get(path)
    assert (page.status_code, is_verified()) == (200, False)
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["X-Content-Type-Options"] == "nosniff"

    done = client.post("/verify-email", data={"token": hidden_in(page.text, "token")})
    assert (done.status_code, is_verified()) == (200, True)
    assert "is confirmed" in done.text


@pytest.mark.parametrize("token", ["", "x" * 20, "<script>alert(1)</script>", "é" * 600])
def test_wrong_token_is_told_on_the_page(client: FlaskClient, token: str) -> None:
    answer = client.post("/verify-email", data={"token": token})

    assert answer.status_code == 422
    assert "Confirm your address" in answer.text
    assert "<script" not in answer.text


def test_link_of_the_invitation_leads_to_a_form_that_joins(app: Flask, client: FlaskClient, user_a: User) -> None:
    with app.app_context():
        _, secret = accounts.invite(tenant_id=user_a.tenant_id, email="new@aster.example", role="viewer", by=user_a.id)
        db.session.commit()
    page = client.get(f"/join?invitation={secret}")
    form = {"invitation": hidden_in(page.text, "invitation"), "email": "new@aster.example", "name": "Nia"}

    short = client.post("/join", data=form | {"password": "short"})
    done = client.post("/join", data=form | {"password": PASSWORD})
    again = client.post("/join", data=form | {"password": PASSWORD})

    assert (short.status_code, done.status_code, again.status_code) == (422, 200, 422)
    assert "password: " in short.text and 'value="Nia"' in short.text
    assert PASSWORD not in again.text
    with app.app_context():
        assert db.session.scalar(sa.select(User.role).where(User.email == "new@aster.example")) == "viewer"


@pytest.mark.parametrize(
    "path", ["/verify-email", "/join", "/join?invitation=%22%3E%3Cscript%3E", "/verify-email?token=%00"]
)
def test_link_without_a_usable_secret_is_a_page_all_the_same(client: FlaskClient, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 200
    assert "<script" not in answer.text
