"""Alerts: what is wrong, what was, and telling nobody for a while."""

from __future__ import annotations

import dataclasses
import html

import pytest

from flask_understudy.dashboard.alerts import NAMES
from flask_understudy.operations.thresholds import RULES
from tests.flask_understudy.dashboard.conftest import PREFIX, Person, signed_in
from tests.flask_understudy.dashboard.test_pages import HOSTILE
from tests.flask_understudy.dashboard.test_workers import audited
from tests.flask_understudy.rest.conftest import Api


def raise_alert(person: Person, rule: str, subject: str, message: str, *, began: float, ended: float | None) -> None:
    site = person.site
    quoted = [text.replace("'", "''") for text in (rule, subject, message)]
    end = "NULL" if ended is None else site.moment(ended)
    site.execute(
        "INSERT INTO understudy_alerts (rule, subject, began_at, ended_at, value, threshold, message) "
        f"VALUES ('{quoted[0]}', '{quoted[1]}', {site.moment(began)}, {end}, 140, 100, '{quoted[2]}')"
    )


def test_every_rule_has_a_name() -> None:
    assert set(NAMES) == set(RULES)


def test_without_alerts_nothing_is_wrong(operator: Person) -> None:
    page = operator.see("/alerts")
    assert "Nothing is wrong." in page and "No alert was raised" in page
    assert "UNDERSTUDY_ALERT_DEPTH" in page and "10.0 %" in page


def test_an_open_alert_is_muted_and_told_again(operator: Person) -> None:
    raise_alert(operator, "depth", "email", "140 jobs wait in email", began=-60, ended=None)
    page = operator.see("/alerts")
    assert "many jobs wait" in page and "140 jobs wait in email" in page and "/queues/email" in page

    operator.press(page, "mute_alert", minutes="60")
    assert "nobody, until" in operator.see("/alerts")
    operator.press(operator.see("/alerts"), "mute_alert")

    assert "nobody, until" not in operator.see("/alerts")
    assert [action for action, _ in audited(operator)] == ["alert.mute", "alert.mute"]


def test_what_a_rule_allows_is_set_and_given_back(operator: Person) -> None:
    page = operator.see("/alerts")
    assert "reset_alert_threshold" not in page

    operator.press(page, "set_alert_threshold", rule="depth", threshold="250")
    operator.press(operator.see("/alerts"), "set_alert_threshold", rule="failure-rate", threshold="0.25")

    page = operator.see("/alerts")
    assert 'value="250"' in page and "25.0 %" in page and "acme/olga" in page and "the code says 100<" in page
    operator.press(page, "reset_alert_threshold")
    page = operator.see("/alerts")
    assert "the code says 100<" not in page and "the code says 10.0 %" in page
    assert audited(operator) == [("alert.set", "depth"), ("alert.set", "failure-rate"), ("alert.reset", "depth")]


@pytest.mark.parametrize(
    ("threshold", "said"), [("0", "takes a whole number"), ("x", "number"), ("", "required"), ("nan", "finite")]
)
def test_what_a_rule_cannot_allow_is_refused(operator: Person, threshold: str, said: str) -> None:
    operator.press(operator.see("/alerts"), "set_alert_threshold", rule="depth", threshold=threshold)
    page = operator.see("/alerts")
    assert said in html.unescape(page) and "the code says" not in page and audited(operator) == []


def test_a_test_tells_who_was_reached(operator: Person) -> None:
    state = operator.site.state
    state.config = dataclasses.replace(state.config, alert_emails=("ops+<b>@example.com",))
    page = operator.see("/alerts")
    assert "not delivered" not in page

    answer = operator.browser.post(f"{PREFIX}/alerts", data={"csrf": operator.csrf()})

    assert answer.status_code == 200 and answer.text.count(">delivered<") == 1
    assert "mail ops+&lt;b&gt;@example.com" in answer.text and "has no Flask-Mail" in answer.text
    assert audited(operator) == [("alert.test", "")]


def test_a_test_takes_our_own_form(operator: Person) -> None:
    operator.send("/alerts", {}, 403)
    assert audited(operator) == []


def test_what_was_is_told_page_by_page(operator: Person) -> None:
    for n in range(51):
        raise_alert(operator, "growing", "email", f"wave {n} grows", began=-9000 + n, ended=-8000)
    first = operator.see("/alerts")
    assert "wave 50 grows" in first and "wave 0 grows" not in first and "Nothing is wrong." in first
    [link] = [part.split('"')[0] for part in first.split('rel="next" href="')[1:]]
    second = operator.see("/alerts?" + link.replace("&amp;", "&").partition("?")[2])
    assert "wave 0 grows" in second and "wave 50 grows" not in second


@pytest.mark.parametrize("rule", RULES)
def test_hostile_subjects_are_shown_and_do_nothing(sqlite_api: Api, rule: str) -> None:
    operator = signed_in(sqlite_api, "read tenants")
    raise_alert(operator, rule, HOSTILE, HOSTILE, began=-60, ended=None)
    page = operator.see("/alerts")
    assert "<script>alert" not in page and "<img src=x" not in page and ">49<" not in page


def test_alerts_are_for_who_may_know_of_all_tenants(api: Api) -> None:
    olga, one = signed_in(api), signed_in(api, "read operate", tenant="")
    assert "/alerts" not in olga.see()
    olga.see("/alerts", 403)
    assert "/alerts" in one.see() and "Nothing is wrong." in one.see("/alerts")  # where there are no tenants
    raise_alert(one, "depth", "email", "140 jobs wait in email", began=-60, ended=None)
    assert "mute_alert" not in one.see("/alerts")
    one.send("/do/mute_alert", {"csrf": one.csrf(), "alert_id": "1", "minutes": "60"}, 403)
    assert "set_alert_threshold" not in (page := one.see("/alerts")) and "Send a test" not in page
    for door in ("set_alert_threshold", "reset_alert_threshold", "test_alerts"):
        one.send(f"/do/{door}", {"csrf": one.csrf(), "rule": "depth", "threshold": "1"}, 403)
    one.send("/alerts", {"csrf": one.csrf()}, 403)


def test_who_only_looks_changes_nothing(api: Api) -> None:
    rita = signed_in(api, "read tenants")
    page = rita.see("/alerts")
    assert "many jobs wait" in page and "set_alert_threshold" not in page and "Send a test" not in page
    rita.send("/alerts", {"csrf": rita.csrf()}, 403)
    rita.send("/do/set_alert_threshold", {"csrf": rita.csrf(), "rule": "depth", "threshold": "1"}, 403)
