"""The frame of all pages: who may see them, what a browser may do with them, and what goes wrong."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flask_understudy.contrib.webhooks.sending import Webhooks
from flask_understudy.dashboard.pages import POLICY, _entries
from tests.flask_understudy.dashboard.conftest import PREFIX, Person, fields_of, signed_in
from tests.flask_understudy.rest.conftest import Api

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>'\"&{{7*7}}"


@pytest.fixture
def api(api: Api) -> Api:
    """The API of a site that has something for every page."""
    Webhooks(api.site.jobs)
    return api


@pytest.fixture
def sqlite_api(sqlite_api: Api) -> Api:
    """The same on SQLite."""
    Webhooks(sqlite_api.site.jobs)
    return sqlite_api


def pages(api: Api) -> list[str]:
    """The addresses of the pages in the navigation."""
    with api.site.app.test_request_context():
        return [api.site.app.url_for(entry.endpoint).removeprefix(PREFIX) for entry in _entries]


@pytest.mark.requirement("I07", "C19", "P01")
def test_strangers_are_asked_to_sign_in_and_see_nothing(sqlite_api: Api) -> None:
    job = sqlite_api.send("ada@example.com")
    stranger = Person(sqlite_api.anonymous())
    for path in [*pages(sqlite_api), f"/jobs/{job}"]:
        page = stranger.see(path, 401)
        assert "Sign in" in page
        assert job not in page.replace(path, "")
    assert stranger.browser.post(f"{PREFIX}/do/retry_job", data={"job_id": job}).status_code == 401
    assert stranger.browser.get(f"{PREFIX}/live").status_code == 401


@pytest.mark.requirement("I07", "L01")
def test_a_token_opens_it_and_signing_out_closes_it(sqlite_api: Api) -> None:
    olga = Person(sqlite_api)
    answer = olga.sign_in(next=f"{PREFIX}/queues")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{PREFIX}/queues")
    [cookie] = answer.headers.getlist("Set-Cookie")
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and f"Path={PREFIX}" in cookie
    assert "olga" in olga.see()

    olga.send("/session/end", {"csrf": olga.csrf()})
    assert "Sign in" in olga.see("", 401)


@pytest.mark.parametrize("token", ["", "nobody", "x" * 501, "é", "acme/olga/enqueue"])
def test_a_wrong_token_is_refused_with_a_word(sqlite_api: Api, token: str) -> None:
    browser = sqlite_api.site.app.test_client()
    answer = browser.post(f"{PREFIX}/session", data={"token": token})
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "next", ["https://evil.example/", "//evil.example", "/elsewhere", f"{PREFIX}\\@evil.example", ""]
)
def test_nobody_is_led_elsewhere(sqlite_api: Api, next: str) -> None:
    assert Person(sqlite_api).sign_in(next=next).headers["Location"] == PREFIX


@pytest.mark.requirement("L01")
def test_below_a_proxy_s_prefix_people_come_back_to_where_they_were(sqlite_api: Api) -> None:
    job = sqlite_api.fail("boom")
    proxy = {"base_url": "http://localhost/pre"}
    browser = sqlite_api.site.app.test_client()

    asked = browser.get(f"{PREFIX}/jobs?q=boom", **proxy)
    [form] = re.findall(r"<form.*?</form>", asked.text, re.S)
    assert asked.status_code == 401
    led = browser.post(f"{PREFIX}/session", data={**fields_of(form), "token": sqlite_api.caller}, **proxy)
    assert led.location == f"/pre{PREFIX}/jobs?q=boom"

    page = browser.get(f"{PREFIX}/jobs/{job}", **proxy).text
    form = next(f for f in re.findall(r"<form.*?</form>", page, re.S) if "/do/retry_job" in f)
    assert browser.post(f"{PREFIX}/do/retry_job", data=fields_of(form), **proxy).location == f"/pre{PREFIX}/jobs/{job}"
    assert sqlite_api.site.job(job).state == "waiting"


def test_a_cookie_that_was_changed_opens_nothing(sqlite_api: Api) -> None:
    browser = sqlite_api.site.app.test_client()
    browser.set_cookie("understudy_dashboard", "ImFjbWUvb2xnYS9yZWFkIg.forged.forged", path=PREFIX)
    assert browser.get(PREFIX).status_code == 401


def test_the_address_holds_with_and_without_a_slash(sqlite_api: Api) -> None:
    olga = signed_in(sqlite_api)
    assert "Overview" in olga.see("") and "Overview" in olga.see("/")


def test_pages_may_load_and_send_nothing_elsewhere(sqlite_api: Api) -> None:
    olga = signed_in(sqlite_api, "read payload enqueue operate admin tenants")
    for path in [*pages(sqlite_api), "/static/dashboard.js"]:
        headers = olga.browser.get(PREFIX + path).headers
        assert headers["Content-Security-Policy"] == POLICY
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        if "static" not in path:
            assert headers["Cache-Control"] == "no-store"


def test_pages_have_no_inline_script_or_style_and_no_outside_address(sqlite_api: Api) -> None:
    olga = signed_in(sqlite_api, "read payload enqueue operate admin tenants")
    job = sqlite_api.fail("boom")
    for path in [*pages(sqlite_api), f"/jobs/{job}", "/queues/reports"]:
        page = olga.see(path)
        assert "<style" not in page and " style=" not in page and "onclick" not in page
        assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', page)


@pytest.mark.requirement("P03", "P04", "P05")
def test_what_is_another_tenant_s_is_not_there(api: Api) -> None:
    job = api.fail("a secret of acme")
    eve = signed_in(api, tenant="birch")
    for path in pages(api):
        status = eve.browser.get(PREFIX + path).status_code
        assert status in {200, 403}
        if status == 200:
            page = eve.see(path)
            assert job not in page and "a secret of acme" not in page
    eve.see(f"/jobs/{job}", 404)
    eve.send("/do/retry_job", {"csrf": eve.csrf(), "job_id": job, "next": f"{PREFIX}/jobs"})
    assert api.site.job(job).state == "failed"


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/nothing",
        "/queues/nowhere",
        "/bulk/none",
        "/schedules/nothing",
        "/runs/none",
        "/events/none",
        "/events/types/none",
        "/batches/none",
        "/webhooks/none",
        "/deliveries/none",
    ],
)
def test_what_is_not_there_is_a_page_that_says_so(sqlite_api: Api, path: str) -> None:
    assert "<h1>Not Found</h1>" in signed_in(sqlite_api).see(path, 404)


def test_what_no_database_can_be_asked_for_is_refused(api: Api) -> None:
    olga = signed_in(api)
    for path in ("/jobs/%00", "/schedules/a%00b"):
        olga.see(path, 404)
    olga.see("/jobs?q=a%00b", 400)
    olga.send("/do/retry_job", {"csrf": olga.csrf(), "job_id": "a\x00b"}, 400)


def test_hostile_texts_are_shown_and_do_nothing(api: Api) -> None:
    job = api.fail(HOSTILE, tags=[HOSTILE[:60]], dedup_key=HOSTILE)
    operator = signed_in(api, "read payload operate tenants")
    for path in ["", "/jobs", f"/jobs/{job}", "/failures", "/queues/reports", f"/jobs?q={HOSTILE[:50]}"]:
        page = operator.see(path)
        assert "<script>alert" not in page and "<img src=x" not in page and ">49<" not in page


@pytest.mark.parametrize(
    ("changed", "headers"),
    [
        ({"csrf": ""}, {}),
        ({"csrf": "forged"}, {}),
        ({}, {"Origin": "https://evil.example"}),
        ({}, {"Sec-Fetch-Site": "cross-site"}),
        ({}, {"Sec-Fetch-Site": "same-site"}),
    ],
)
def test_forms_of_others_do_nothing(sqlite_api: Api, changed: dict[str, str], headers: dict[str, str]) -> None:
    olga = signed_in(sqlite_api)
    job = sqlite_api.fail("boom")
    form: dict[str, Any] = {"csrf": olga.csrf(), "job_id": job, **changed}
    answer = olga.browser.post(f"{PREFIX}/do/retry_job", data=form, headers=headers)
    assert answer.status_code == 403
    assert sqlite_api.site.job(job).state == "failed"


def test_a_form_of_somebody_else_does_nothing(sqlite_api: Api) -> None:
    olga, igor = signed_in(sqlite_api), Person(sqlite_api.as_(subject="igor"))
    igor.sign_in()
    job = sqlite_api.fail("boom")
    igor.send("/do/retry_job", {"csrf": olga.csrf(), "job_id": job}, 403)
    assert sqlite_api.site.job(job).state == "failed"


def test_without_a_prefix_there_is_no_dashboard(make_site: Any, sqlite_ledger: str) -> None:
    from tests.flask_understudy.rest.conftest import open_api

    api = open_api(make_site(sqlite_ledger, UNDERSTUDY_DASHBOARD_PREFIX=""))
    assert api.site.app.test_client().get(PREFIX).status_code in {401, 404}
    assert not [rule for rule in api.site.app.url_map.iter_rules() if "dashboard" in rule.endpoint]
