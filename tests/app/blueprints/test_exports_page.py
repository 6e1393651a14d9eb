"""The page for exports, in a real browser (U04)."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser, expect
from werkzeug.security import generate_password_hash
from werkzeug.serving import make_server

from app.extensions import db
from app.models.tenant import Tenant
from app.models.user import User
from flask_understudy.testing import TestWorker

PASSWORD = "correct horse battery"


@pytest.fixture
def url(sqlite_app: Flask) -> Iterator[str]:
    """Where the service is served, with somebody who can sign in."""
    with sqlite_app.app_context():
        tenant = Tenant(slug="cedar", name="Cedar")
        db.session.add(tenant)
        db.session.flush()
        digest = generate_password_hash(PASSWORD, "scrypt")
        db.session.add(
            User(tenant_id=tenant.id, email="cy@cedar.example", name="Cy", role="member", password_hash=digest)
        )
        db.session.commit()
    server = make_server("127.0.0.1", 0, sqlite_app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/exports"
    server.shutdown()
    thread.join()


def test_page_loads_and_sends_nothing_elsewhere(client: FlaskClient) -> None:
    answer = client.get("/exports")
    assert answer.status_code == 200
    assert "default-src 'none'; script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "<script>" not in answer.text and " style=" not in answer.text


@pytest.mark.timeout(120)
@pytest.mark.requirement("U04")
def test_export_is_asked_for_watched_and_fetched(browser: Browser, url: str, sqlite_app: Flask) -> None:
    page = browser.new_page(accept_downloads=True)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    page.get_by_label("E-mail address").fill("cy@cedar.example")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("status")).to_have_text("The address and the password do not fit.")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()

    page.get_by_label("What").select_option("MEMBERS")
    page.get_by_role("button", name="Export").click()
    expect(page.locator("#exports")).to_contain_text("pending")
    with TestWorker(sqlite_app.extensions["understudy"]) as worker:
        worker.drain("exports")
    expect(page.locator("#exports")).to_contain_text("completed", timeout=15_000)
    with page.expect_download() as fetched:
        page.get_by_role("button", name="Download").click()

    assert "cy@cedar.example" in fetched.value.path().read_text()
    assert fetched.value.suggested_filename.startswith("members-")
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("#empty")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("E-mail address")).to_be_visible()
    assert complaints == []
    page.close()
