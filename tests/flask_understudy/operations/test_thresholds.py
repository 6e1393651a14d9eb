"""What the rules of alerts allow, over what the settings say."""

from __future__ import annotations

from typing import Any

import pytest

from flask_understudy.clock import Alerts
from flask_understudy.errors import InvalidJob
from flask_understudy.ledger import episodes
from flask_understudy.operations import thresholds
from tests.flask_understudy.clock.test_alerts import FAILED, RETRIED, Time, empty, end, evaluate, fill, rules
from tests.flask_understudy.conftest import MakeSite, Site

pytestmark = pytest.mark.requirement("M08")


@pytest.fixture
def site(make_site: MakeSite, ledger_url: str) -> Site:
    return make_site(ledger_url, UNDERSTUDY_ALERT_DEPTH=4, UNDERSTUDY_LEASE_SECONDS=30)


@pytest.fixture
def work(site: Site) -> Any:
    @site.jobs.actor(queue_name="email", max_retries=1)
    def work(n: int = 0) -> None: ...

    return work


def test_every_clock_heeds_it_with_its_next_evaluation(site: Site, work: Any) -> None:
    one, other = Alerts(site.state), Alerts(site.state)
    fill(site, work, 3)
    evaluate(one)
    evaluate(other)
    assert rules(site) == []

    thresholds.change(site.state, "depth", 2, "olga")
    evaluate(other)

    [episode] = episodes.opened(site.state.database)
    assert (episode.rule, episode.value, episode.threshold) == ("depth", 3, 2)
    thresholds.reset(site.state, "depth")
    evaluate(one, 2)
    assert rules(site) == []


def test_an_open_alert_tells_what_is_allowed_now(site: Site, work: Any) -> None:
    fill(site, work, 5)
    evaluate(Alerts(site.state))
    thresholds.change(site.state, "depth", 3, "olga")
    evaluate(Alerts(site.state))
    [episode] = episodes.opened(site.state.database)
    assert (episode.value, episode.threshold) == (5, 3)


def test_who_set_it_and_when_is_kept(site: Site) -> None:
    assert {one.set_by for one in thresholds.listing(site.state)} == {None}
    thresholds.change(site.state, "stalled", 90, "olga")
    thresholds.change(site.state, "stalled", 120, "otto")

    stalled = thresholds.find(site.state, "stalled")

    assert stalled is not None and stalled.set_at is not None
    known = (stalled.threshold, stalled.default, stalled.setting, stalled.set_by)
    assert known == (120, 30, "UNDERSTUDY_ALERT_STALLED_SECONDS", "otto")
    assert thresholds.find(site.state, "colour") is None


def test_growth_follows_the_depth_until_it_is_set_itself(site: Site) -> None:
    assert thresholds.allowed(site.state)["growing"] == 2
    thresholds.change(site.state, "depth", 100, "olga")
    assert thresholds.allowed(site.state)["growing"] == 50
    thresholds.change(site.state, "growing", 7, "olga")
    assert thresholds.allowed(site.state)["growing"] == 7


@pytest.mark.requirement("M09")
def test_the_share_of_failures(site: Site, work: Any) -> None:
    thresholds.change(site.state, "failure-rate", 0.5, "olga")
    end(site, work, 5, **RETRIED)
    end(site, work, 5)
    evaluate(Alerts(site.state))
    assert ("failure-rate", "email") not in rules(site)
    thresholds.change(site.state, "failure-rate", 0.4, "olga")
    evaluate(Alerts(site.state))
    assert ("failure-rate", "email") in rules(site)


@pytest.mark.requirement("M10")
def test_silence(site: Site, work: Any) -> None:
    process = site.process()
    site.claim(process, work.send())
    site.execute(f"UPDATE understudy_workers SET lease_until = {site.moment(-9)} WHERE id = '{process.id}'")
    thresholds.change(site.state, "stalled", 300, "olga")
    alerts = Alerts(site.state)
    alerts.rules.note_silent("another", 1)  # its lease of 30 s had run out
    evaluate(alerts)
    assert rules(site) == []

    thresholds.change(site.state, "stalled", 20, "olga")
    alerts.rules.note_silent("another", 1)
    evaluate(alerts)

    assert sorted(rules(site)) == sorted([("stalled", process.id), ("stalled", "another")])


@pytest.mark.requirement("M12")
def test_growth_and_failures_alike(site: Site, work: Any) -> None:
    thresholds.change(site.state, "repeated-failures", 2, "olga")
    thresholds.change(site.state, "depth", 1000, "olga")
    end(site, work, 2, **FAILED)
    evaluate(Alerts(site.state))
    assert ("repeated-failures", "f00d") not in rules(site)
    end(site, work, 1, **FAILED)
    evaluate(Alerts(site.state))
    [alike] = [one for one in episodes.opened(site.state.database) if one.rule == "repeated-failures"]
    assert (alike.value, alike.threshold) == (3, 2)

    empty(site)
    thresholds.change(site.state, "growing", 5, "olga")
    time = Time()
    alerts = Alerts(site.state, time)
    for minute in range(6):
        time.seconds = minute * 60.0
        evaluate(alerts)
        fill(site, work, 1)
    assert ("growing", "email") not in rules(site)  # 5 are allowed
    time.seconds = 360.0
    evaluate(alerts)
    assert ("growing", "email") in rules(site)


@pytest.mark.parametrize(
    ("rule", "threshold", "said"),
    [
        ("depth", 0, "whole number"),
        ("depth", 2.5, "whole number"),
        ("depth", -1, "whole number"),
        ("growing", 10**9 + 1, "whole number"),
        ("repeated-failures", 0.5, "whole number"),
        ("failure-rate", 0, "a share"),
        ("failure-rate", 1.1, "a share"),
        ("failure-rate", float("nan"), "a share"),
        ("stalled", 0, "above 0"),
        ("stalled", float("inf"), "above 0"),
        ("broker", 1, "no threshold"),
        ("colour", 1, "those with a threshold are depth"),
    ],
)
def test_what_a_rule_cannot_allow_is_refused(sqlite_site: Site, rule: str, threshold: float, said: str) -> None:
    with pytest.raises(InvalidJob, match=said):
        thresholds.change(sqlite_site.state, rule, threshold, "olga")
    assert {one.set_by for one in thresholds.listing(sqlite_site.state)} == {None}
