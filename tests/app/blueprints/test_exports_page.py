"""The page for exports, in a real browser (U04)."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser, Page, expect
from werkzeug.security import generate_password_hash
from werkzeug.serving import make_server

from app.actors.exports import generate_export
from app.extensions import db
from app.models.base import utcnow
from app.models.export_job import ExportJob
from app.models.tenant import Tenant
from app.models.user import User
from app.services.exports import files, lifecycle
from flask_understudy import Principal
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
        for name in ("Cy", "Dee"):
            address = f"{name.lower()}@cedar.example"
            db.session.add(User(tenant_id=tenant.id, email=address, name=name, role="member", password_hash=digest))
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


def sign_in(page: Page, name: str) -> None:
    page.get_by_label("E-mail address").fill(f"{name}@cedar.example")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


@pytest.fixture
def told(url: str, sqlite_app: Flask) -> Iterator[tuple[ExportJob, str]]:
    """A file of Cy's that is ready, and the address of the mail about it."""
    with sqlite_app.app_context():
        person = db.session.scalars(db.select(User).filter_by(name="Cy")).one()
        export = lifecycle.order(Principal(person.id, person.tenant_id), "MEMBERS", {}, "csv")
        export.job_id = generate_export.send(export.id).message_id
        db.session.commit()
        with TestWorker(sqlite_app.extensions["understudy"]) as worker:
            worker.drain("exports", raise_errors=True)
        db.session.refresh(export)
        yield export, url.removesuffix("/exports") + files.page_of(export)


@pytest.mark.timeout(120)
@pytest.mark.requirement("U04", "A47")
def test_link_of_a_mail_asks_to_sign_in_and_fetches_the_file(browser: Browser, told: tuple[ExportJob, str]) -> None:
    page = browser.new_page(accept_downloads=True)
    page.goto(told[1])
    expect(page.locator("#why")).to_have_text("Sign in to fetch your file.")
    sign_in(page, "cy")

    wanted = page.locator("#wanted")
    expect(wanted).to_contain_text("MEMBERS (csv)")
    with page.expect_download() as fetched:
        wanted.get_by_role("button", name="Download").click()

    assert "cy@cedar.example" in fetched.value.path().read_text()
    page.close()


@pytest.mark.timeout(120)
@pytest.mark.requirement("U04", "P09")
def test_link_of_a_mail_says_whose_a_file_is_and_that_it_has_expired(
    browser: Browser, told: tuple[ExportJob, str]
) -> None:
    export, link = told
    page = browser.new_page()
    page.goto(link)
    sign_in(page, "dee")
    wanted = page.locator("#wanted")
    expect(wanted).to_contain_text("There is no such file of yours. Whoever ordered it can fetch it")
    expect(wanted.get_by_role("button")).to_have_count(0)

    export.expires_at = utcnow() - dt.timedelta(hours=1)
    db.session.commit()
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, "cy")
    expect(wanted).to_contain_text("It has expired and was deleted.")
    expect(wanted.get_by_role("button")).to_have_count(0)
    page.close()
