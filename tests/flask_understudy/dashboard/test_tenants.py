"""Tenants and keys: seeing who has what, and holding one back."""

from __future__ import annotations

from tests.flask_understudy.dashboard.conftest import Person, signed_in
from tests.flask_understudy.dashboard.test_pages import HOSTILE
from tests.flask_understudy.dashboard.test_workers import audited
from tests.flask_understudy.rest.conftest import Api


def test_a_tenant_is_paused_resumed_and_limited(operator: Person) -> None:
    operator.api.send("ada@example.com", tenant="birch")
    page = operator.see("/tenants")
    assert "birch" in page

    operator.press(page, "pause_tenant")
    assert "paused <time" in operator.see("/tenants")
    operator.press(operator.see("/tenants"), "resume_tenant")
    operator.press(operator.see("/tenants"), "limit_tenant", concurrency="3")
    assert 'value="3"' in operator.see("/tenants")
    lifting = operator.see("/tenants").split("No limit")[0].rsplit("<form", 1)[1]
    operator.press(f"<form{lifting}</form>", "limit_tenant")

    page = operator.see("/tenants")
    assert "paused <time" not in page and 'value="3"' not in page
    assert audited(operator) == [(f"tenant.{verb}", "birch") for verb in ("pause", "resume", "limit", "limit")]


def test_it_shows_the_share_of_what_runs(operator: Person) -> None:
    process = operator.site.process()
    for tenant in ("acme", "birch", "birch", "birch"):
        operator.site.claim(process, operator.api.send("ada@example.com", tenant=tenant))
    page = operator.see("/tenants")
    assert "25.0 %" in page and "75.0 %" in page


def test_a_limit_that_cannot_be_is_refused_with_the_field(operator: Person) -> None:
    operator.press(operator.see("/tenants"), "limit_tenant", tenant="birch", concurrency="0")
    assert "concurrency: " in operator.see("/tenants") and "birch" not in operator.see("/tenants")


def test_a_tenant_of_any_name_is_shown_and_does_nothing(operator: Person) -> None:
    operator.api.send("ada@example.com", tenant=HOSTILE)
    page = operator.see("/tenants")
    assert "<script>alert" not in page and "<img src=x" not in page and ">49<" not in page
    operator.press(page, "pause_tenant")
    assert "paused <time" in operator.see("/tenants")


def test_tenants_are_for_operators(api: Api) -> None:
    api.send("ada@example.com", tenant="birch")
    olga = signed_in(api)
    assert "/tenants" not in olga.see()
    olga.see("/tenants", 403)
    olga.send("/do/pause_tenant", {"csrf": olga.csrf(), "tenant": "birch"}, 403)


def test_a_key_is_limited_and_left_to_the_code_again(olga: Person) -> None:
    page = olga.see("/limits")
    assert "No job is limited by a key." in page

    olga.press(page, "limit_key", key="smtp", concurrency="2", rate="5/minute")
    page = olga.see("/limits")
    assert "<strong>smtp</strong>" in page and "5/minute" in page and "an operator" in page

    lifting = page.split("Any time")[0].rsplit("<form", 1)[1]
    olga.press(f"<form{lifting}</form>", "limit_key")
    assert "5/minute" not in olga.see("/limits").replace("100/minute", "")
    olga.press(olga.see("/limits"), "reset_limit")
    assert "an operator" not in olga.see("/limits")
    assert audited(olga) == [("limit.set", "smtp"), ("limit.set", "smtp"), ("limit.reset", "smtp")]


def test_an_operator_limits_another_tenant_s_key(operator: Person) -> None:
    operator.press(operator.see("/limits"), "limit_key", key="smtp", concurrency="2", **{"tenant:query": "birch"})
    eve, olga = signed_in(operator.api, tenant="birch"), signed_in(operator.api)
    assert "smtp" in eve.see("/limits") and "smtp" not in olga.see("/limits")
    operator.press(operator.see("/limits"), "reset_limit")
    assert "an operator" not in eve.see("/limits")


def test_nobody_limits_a_key_of_another_tenant(olga: Person) -> None:
    olga.press(olga.see("/limits"), "limit_key", key="smtp", concurrency="2", **{"tenant:query": "birch"})
    assert "Other tenants" in olga.see("/limits")
    assert "smtp" not in signed_in(olga.api, tenant="birch").see("/limits")
    reader = signed_in(olga.api, "read")
    assert "limit_key" not in reader.see("/limits")
    reader.send("/do/limit_key", {"csrf": olga.csrf(), "key": "smtp", "concurrency": "2"}, 403)
