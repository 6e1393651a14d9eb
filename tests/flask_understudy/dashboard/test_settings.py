"""The page of settings: health, what holds and why, the doctor."""

from __future__ import annotations

from tests.flask_understudy.conftest import MakeSite
from tests.flask_understudy.dashboard.conftest import Person, signed_in
from tests.flask_understudy.dashboard.test_pages import HOSTILE
from tests.flask_understudy.rest.conftest import Api, open_api


def test_it_shows_health_and_what_is_set(operator: Person) -> None:
    page = operator.see("/settings")
    assert "All is well" in page and "UNDERSTUDY_CLOCK_SECONDS" in page and "app.config" in page
    assert "settings are as the library has them" in page and "UNDERSTUDY_ALERT_DEPTH" in page


def test_secrets_are_withheld(make_site: MakeSite, sqlite_ledger: str) -> None:
    api = open_api(make_site(sqlite_ledger, UNDERSTUDY_SIGNING_KEY="s3cret-signing"))
    page = signed_in(api, "read tenants").see("/settings")
    assert "UNDERSTUDY_SIGNING_KEY" in page and "s3cret" not in page


def test_the_doctor_looks_only_when_it_is_asked(operator: Person) -> None:
    operator.api.send("ada@example.com")
    assert "no worker is alive" not in operator.see("/settings")
    page = operator.see("/settings?examine=yes")
    assert "no worker is alive, and jobs wait" in page and "Start one: flask jobs worker" in page
    assert page.index(">error<") < page.index(">ok<")


def test_hostile_errors_are_shown_and_do_nothing(operator: Person) -> None:
    operator.api.fail(HOSTILE)
    page = operator.see("/settings?examine=yes")
    assert "&lt;script&gt;" in page and "<script>alert" not in page and "<img src=x" not in page


def test_settings_are_for_operators(api: Api) -> None:
    olga = signed_in(api)
    assert "/settings" not in olga.see()
    olga.see("/settings", 403)
