"""Pages that an application adds to the dashboard."""

from __future__ import annotations

import pytest
from flask import render_template_string, request

from flask_understudy.context import Principal
from flask_understudy.contrib.api import Problem
from flask_understudy.errors import ConfigError
from flask_understudy.rest.callers import caller
from tests.flask_understudy.conftest import Site
from tests.flask_understudy.dashboard.conftest import PREFIX, Person, fields_of, signed_in
from tests.flask_understudy.dashboard.test_pages import HOSTILE
from tests.flask_understudy.rest.conftest import Api

TEXT = """{% extends "understudy/dashboard/frame.html" %}{% block title %}Greetings{% endblock %}
{% block main %}<h1>{{ text }}</h1><form method="post"><input type="hidden" name="csrf" value="{{ csrf() }}">
<button>Greet</button></form>{% endblock %}"""


@pytest.fixture
def greeted(api: Api) -> list[Principal]:
    """Who sent the form of the page."""
    found: list[Principal] = []
    api.site.jobs.dashboard_page("others", title="Others", scope="operate")(lambda: "")

    @api.site.jobs.dashboard_page("greetings", title="Greetings", scope="operate")
    def greet() -> str:
        if request.args.get("wrong"):
            raise Problem(422, detail=request.args["wrong"])
        if request.method == "POST":
            found.append(caller().principal)
        return render_template_string(TEXT, text=request.values.get("text", "Hello"))

    return found


def test_it_stands_in_the_navigation_and_on_the_page_of_settings(operator: Person, greeted: list[Principal]) -> None:
    address = f'href="{PREFIX}/app/greetings"'
    assert address in operator.see()
    settings = operator.see("/settings")
    assert settings.count(address) == 2 and "Of this application" in settings
    page = operator.see("/app/greetings")
    assert "<h1>Hello</h1>" in page and f'{address} aria-current="page"' in page and "More: Greetings" in page
    assert page.count("aria-current") == 1


def test_without_additions_nothing_is_said_of_them(operator: Person) -> None:
    assert "Of this application" not in operator.see("/settings")
    operator.see("/app/greetings", 404)


def test_it_takes_our_own_forms_alone(operator: Person, greeted: list[Principal]) -> None:
    form = fields_of(operator.see("/app/greetings"))
    for fields in ({}, {"csrf": signed_in(operator.api, tenant="other").csrf()}):
        operator.send("/app/greetings", fields, 403)
    foreign = {"Origin": "https://evil.example"}
    assert operator.browser.post(f"{PREFIX}/app/greetings", data=form, headers=foreign).status_code == 403
    assert greeted == []

    assert "<h1>Hi</h1>" in operator.send("/app/greetings", {**form, "text": "Hi"}, 200).text

    assert [who.subject for who in greeted] == ["olga"]


def test_it_is_for_who_has_the_scope(api: Api, greeted: list[Principal]) -> None:
    rita = signed_in(api, "read")
    assert "greetings" not in rita.see()
    rita.see("/app/greetings", 403)
    rita.send("/app/greetings", {"csrf": rita.csrf()}, 403)
    stranger = Person(api.anonymous())
    assert "Sign in" in stranger.see("/app/greetings", 401) and greeted == []


def test_what_goes_wrong_is_shown_in_the_frame_and_hostile_texts_do_nothing(
    operator: Person, greeted: list[Principal]
) -> None:
    answer = operator.browser.get(f"{PREFIX}/app/greetings", query_string={"wrong": HOSTILE})
    assert answer.status_code == 422 and "<script>alert" not in answer.text and "Understudy</a>" in answer.text
    answer = operator.browser.get(f"{PREFIX}/app/greetings", query_string={"text": HOSTILE})
    assert "&lt;script&gt;" in answer.text and "<script>alert" not in answer.text
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert operator.browser.get(f"{PREFIX}/app/greetings?text=%00").status_code == 400


@pytest.mark.parametrize(
    ("name", "scope", "said"),
    [
        ("Greetings", "read", "no name of a page"),
        ("a/b", "read", "no name"),
        ("", "read", "no name"),
        ("greetings", "rule", "'rule' is no scope; there are read"),
        ("taken", "read", "declared already"),
    ],
)
def test_what_is_no_page_is_refused(sqlite_site: Site, name: str, scope: str, said: str) -> None:
    sqlite_site.jobs.dashboard_page("taken", title="Taken", scope="read")(lambda: "")
    with pytest.raises(ConfigError, match=said):
        sqlite_site.jobs.dashboard_page(name, title="Greetings", scope=scope)
