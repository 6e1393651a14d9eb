"""The service's own page on the dashboard: API tokens of one's organisation."""

from __future__ import annotations

import html
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser, expect
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from app.extensions import db
from app.models.api_token import ApiToken
from app.models.audit_log import AuditLog
from app.models.tenant import Tenant
from app.services import tokens

MakeToken = Callable[..., str]
DASHBOARD = "/api/jobs/dashboard"
PAGE = f"{DASHBOARD}/app/tokens"
ADMIN = ("read", "payload", "enqueue", "operate", "admin")
HOSTILE = "<script>alert(1)</script><img src=x>'\"&{{7*7}}"


class Person:
    """Somebody with a browser without scripts, who signs in with a token."""

    def __init__(self, app: Flask, token: str) -> None:
        self.browser: FlaskClient = app.test_client()
        assert self.browser.post(f"{DASHBOARD}/session", data={"token": token}).status_code == 303

    def see(self, expected: int = 200) -> str:
        answer = self.browser.get(PAGE)
        assert answer.status_code == expected, answer.text
        return answer.text

    def csrf(self) -> str:
        """Return what shows that a form is the page's."""
        return html.unescape(re.findall(r'name="csrf" value="([^"]*)"', self.see())[0])

    def send(self, expected: int, **fields: Any) -> TestResponse:
        """Send the page's form."""
        answer = self.browser.post(PAGE, data={"csrf": self.csrf(), **fields})
        assert answer.status_code == expected, answer.text
        return answer


@pytest.fixture
def admin(app: Flask, token_a: MakeToken) -> Person:
    return Person(app, token_a(*ADMIN))


def all_tokens(app: Flask) -> list[ApiToken]:
    with app.app_context():
        return list(db.session.scalars(db.select(ApiToken).order_by(ApiToken.created_at)))


def test_below_a_proxy_s_prefix_the_form_leads_back_to_its_page(app: Flask, token_a: MakeToken) -> None:
    admin, below = Person(app, token_a(*ADMIN)), {"base_url": "http://localhost/pre"}
    admin.browser.post(f"{DASHBOARD}/session", data={"token": token_a(*ADMIN)}, **below)
    [csrf, *_] = re.findall(r'name="csrf" value="([^"]*)"', admin.browser.get(PAGE, **below).text)
    [token, *_] = all_tokens(app)

    answer = admin.browser.post(PAGE, data={"csrf": html.unescape(csrf), "revoke": token.id}, **below)

    assert (answer.status_code, answer.headers["Location"]) == (303, f"/pre{PAGE}")


@pytest.mark.requirement("P01")
def test_an_administrator_makes_a_token_sees_its_secret_once_and_revokes_it(
    app: Flask, admin: Person, client: FlaskClient
) -> None:
    made = admin.send(201, name="ci", scopes=["read", "enqueue"], days="30")

    secret = re.findall(r">(us_[\w-]+)</pre>", made.text)[0]
    header = {"Authorization": f"Bearer {secret}"}
    assert client.get("/api/jobs/stats", headers=header).status_code == 200
    page = admin.see()
    assert secret not in page and f"<code>{secret[:10]}…</code>" in page and "ci" in page
    [token] = [one for one in all_tokens(app) if one.name == "ci"]
    assert token.scopes == ["read", "enqueue"] and token.expires_at is not None

    assert admin.send(303, revoke=token.id).headers["Location"] == PAGE

    assert client.get("/api/jobs/stats", headers=header).status_code == 401
    assert ">revoked<" in admin.see()
    with app.app_context():
        lines = db.session.scalars(db.select(AuditLog).where(AuditLog.target == token.id).order_by(AuditLog.id))
        assert sorted(line.action for line in lines) == ["token.create", "token.revoke"]


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"name": "", "scopes": ["read"]}, 422, "name"),
        ({"name": "x" * 101, "scopes": ["read"]}, 422, "name"),
        ({"name": "ci"}, 422, "scopes"),
        ({"name": "ci", "scopes": ["rule"]}, 422, "unknown scope 'rule'"),
        ({"name": "ci", "scopes": ["tenants"]}, 403, "You do not have the scope 'tenants' yourself"),
        ({"name": "ci", "scopes": ["read"], "days": "0"}, 422, "no choice of days"),
        ({"name": "c\x00i", "scopes": ["read"]}, 400, "NUL"),
    ],
    ids=["no name", "long name", "no scope", "scope", "beyond", "days", "nul"],
)
def test_what_is_wrong_is_said_and_nothing_is_made(
    app: Flask, admin: Person, fields: dict[str, Any], status: int, said: str
) -> None:
    before = len(all_tokens(app))
    answer = admin.send(status, **fields)
    assert said in html.unescape(answer.text) and len(all_tokens(app)) == before
    if status == 422 and fields["name"] == "ci":
        assert 'value="ci"' in answer.text  # it can be corrected


@pytest.mark.requirement("P03", "P04")
def test_nobody_sees_or_ends_the_tokens_of_others(
    app: Flask, admin: Person, make_token: MakeToken, tenant_b: Tenant
) -> None:
    make_token(tenant_b, "read")
    [theirs] = [one for one in all_tokens(app) if one.tenant_id == tenant_b.id]
    assert theirs.id not in admin.see() and theirs.prefix not in admin.see()
    for id in (theirs.id, "unknown"):
        admin.send(404, revoke=id)
    assert all(one.revoked_at is None for one in all_tokens(app))


@pytest.mark.requirement("P01")
def test_it_is_for_administrators_and_their_own_forms(app: Flask, token_a: MakeToken, client: FlaskClient) -> None:
    assert client.get(PAGE).status_code == client.post(PAGE).status_code == 401
    operator = Person(app, token_a("read", "operate"))
    assert "API tokens" not in operator.browser.get(DASHBOARD).text
    operator.see(403)
    admin = Person(app, token_a(*ADMIN))
    assert PAGE in admin.browser.get(DASHBOARD).text
    before = len(all_tokens(app))
    order = {"name": "ci", "scopes": ["read"], "days": ""}
    assert admin.browser.post(PAGE, data=order).status_code == 403
    assert admin.browser.post(PAGE, data=order, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert len(all_tokens(app)) == before


def test_hostile_names_are_shown_and_do_nothing(admin: Person) -> None:
    made = admin.send(201, name=HOSTILE[:100], scopes=["read"], days="")
    for text in (made.text, admin.see()):
        assert "&lt;script&gt;" in text and "<script>alert" not in text and "<img" not in text
    assert "ever</td>" in admin.see()


@pytest.fixture
def url(sqlite_app: Flask) -> Iterator[str]:
    """Where the service is served."""
    server = make_server("127.0.0.1", 0, sqlite_app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()


@pytest.mark.timeout(120)
@pytest.mark.xdist_group("browser")
@pytest.mark.requirement("L06", "V14")
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_it_can_be_used_by_everybody_on_a_telephone_and_without_scripts(
    browser: Browser, url: str, sqlite_app: Flask, colours: str
) -> None:
    with sqlite_app.app_context():
        tenant = Tenant(slug="cedar", name="Cedar")
        db.session.add(tenant)
        db.session.flush()
        _, secret = tokens.create(tenant_id=tenant.id, name="long " * 19, scopes=ADMIN)
        db.session.commit()
    complaints: list[str] = []
    for scripts in (True, False):
        context = browser.new_context(
            viewport={"width": 360, "height": 740}, color_scheme=colours, java_script_enabled=scripts
        )
        page = context.new_page()
        page.goto(url + PAGE)
        page.get_by_label("Token").fill(secret)
        page.get_by_role("button", name="Sign in").click()
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        page.get_by_label("What it is for").fill("ci")
        page.get_by_role("button", name="Make it").click()
        expect(page.get_by_role("heading", name="ci is made")).to_be_visible()
        if scripts:
            assert Axe().run(page).violations_count == 0, Axe().run(page).generate_report()
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
        row = page.locator("[data-row]").filter(has_text="ci").first
        row.locator("summary").click()
        row.get_by_role("button", name="Revoke it").click()
        expect(page.locator("[data-row]").filter(has_text="ci").first).to_contain_text("revoked")
        page.goto(url + PAGE)
        expect(page.get_by_label("What it is for")).to_have_value("")
        context.close()
    assert complaints == []
