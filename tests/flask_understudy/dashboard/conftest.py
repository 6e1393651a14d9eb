"""A site with the dashboard, and people who look at it."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.flask_understudy.conftest import MakeSite, Site
from tests.flask_understudy.rest.conftest import EVERY_SCOPE, Api, open_api

PREFIX = "/api/jobs/dashboard"


@dataclass
class Person:
    """Somebody with a browser, without scripts.

    Attributes:
        api: The same caller's API.
        browser: Keeps cookies.
    """

    api: Api
    browser: FlaskClient = field(init=False)

    def __post_init__(self) -> None:
        self.browser = self.api.site.app.test_client()

    @property
    def site(self) -> Site:
        return self.api.site

    def sign_in(self, next: str = "") -> TestResponse:
        """Sign in with the caller's token."""
        return self.browser.post(f"{PREFIX}/session", data={"token": self.api.caller, "next": next})

    def see(self, path: str = "", expected: int = 200) -> str:
        """Return a page as text."""
        answer = self.browser.get(PREFIX + path)
        assert answer.status_code == expected, f"{answer.status}: {answer.text[:2000]}"
        return answer.text

    def press(self, page: str, door: str, expected: int = 303, **changed: str) -> TestResponse:
        """Send the form of a page that opens a door, with some fields changed."""
        form = next(f for f in re.findall(r"<form.*?</form>", page, re.S) if f"/do/{door}" in f)
        return self.send(f"/do/{door}", {**fields_of(form), **changed}, expected)

    def send(self, path: str, fields: dict[str, Any], expected: int = 303) -> TestResponse:
        """Send a form."""
        answer = self.browser.post(PREFIX + path, data=fields)
        assert answer.status_code == expected, f"{answer.status}: {answer.text[:2000]}"
        return answer

    def csrf(self, path: str = "/jobs") -> str:
        """Return the proof that a form is ours."""
        return fields_of(self.see(path))["csrf"]


def fields_of(form: str) -> dict[str, str]:
    """Return the hidden fields of a form."""
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form)
    return {html.unescape(name): html.unescape(value) for name, value in found}


def signed_in(api: Api, scopes: str = EVERY_SCOPE, tenant: str = "acme") -> Person:
    """Return somebody who signed in."""
    person = Person(api.as_(tenant=tenant, scopes=scopes))
    assert person.sign_in().status_code == 303
    return person


@pytest.fixture
def api(site: Site) -> Api:
    """The API of a site on each database."""
    return open_api(site)


@pytest.fixture
def olga(api: Api) -> Person:
    """Somebody who may do everything within her organisation."""
    return signed_in(api)


@pytest.fixture
def operator(api: Api) -> Person:
    """Somebody who may do everything."""
    return signed_in(api, f"{EVERY_SCOPE} tenants")


@pytest.fixture
def sqlite_api(make_site: MakeSite, sqlite_ledger: str) -> Api:
    """The API of a site on SQLite, where the database makes no difference."""
    return open_api(make_site(sqlite_ledger))
