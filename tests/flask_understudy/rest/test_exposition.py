"""Metrics for Prometheus."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flask_understudy.clock import Alerts, Clock, fold
from flask_understudy.errors import ConfigError
from flask_understudy.ledger import tallies
from tests.flask_understudy.conftest import MakeSite
from tests.flask_understudy.rest.conftest import Api, open_api

LABELS = ("queue", "actor", "outcome", "state", "rule")
OPERATOR = {"Authorization": f"Bearer {'acme/olga/tenants'}"}


def scrape(api: Api, headers: dict[str, str] | None = None, expected: int = 200) -> dict[tuple[str, ...], float]:
    """The samples by name and labels' values."""
    answer = api.site.app.test_client().get("/metrics", headers=OPERATOR if headers is None else headers)
    assert answer.status_code == expected, answer.text
    if expected != 200:
        return {}
    return {
        (sample.name, *(sample.labels[name] for name in LABELS if name in sample.labels)): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@pytest.fixture
def measured(make_site: MakeSite, ledger_url: str) -> Api:
    return open_api(make_site(ledger_url, UNDERSTUDY_METRICS_PATH="/metrics", UNDERSTUDY_ALERT_DEPTH=1))


@pytest.mark.requirement("M07")
def test_the_ledger_s_figures_are_told_whichever_process_is_asked(
    measured: Api, make_site: MakeSite, ledger_url: str
) -> None:
    other = open_api(make_site(ledger_url, UNDERSTUDY_METRICS_PATH="/metrics"))
    for n in range(3):
        measured.site.worker.run(measured.send(str(n)))
    measured.fail()
    measured.send()
    oldest = measured.send()
    measured.site.change(oldest, run_at=measured.site.moment(-90))
    measured.site.process()
    Clock(measured.site.state, measured.site.process()).lease.hold()
    Alerts(measured.site.state).evaluate()

    for told in (scrape(measured), scrape(other)):
        assert told["understudy_attempts_total", "email", "work", "completed"] == 3
        assert told["understudy_attempts_total", "reports", "broken", "failed"] == 1
        assert 0 <= told["understudy_attempt_seconds_total", "email", "work", "completed"] < 5
        assert 0 <= told["understudy_wait_seconds_total", "email", "work", "completed"] < 5
        assert told["understudy_jobs", "email", "waiting"] == 2
        assert told["understudy_jobs", "email", "completed"] == 3
        assert told["understudy_jobs", "reports", "failed"] == 1
        assert 89 < told["understudy_oldest_waiting_seconds", "email"] < 95
        assert told["understudy_oldest_waiting_seconds", "reports"] == 0
        assert told["understudy_workers",] >= 2
        assert told["understudy_clock_lease_held",] == 1
        assert told["understudy_broker_up",] == 1
        assert told["understudy_alerts_open", "depth"] == 1
        assert told["understudy_alerts_open", "broker"] == 0


@pytest.mark.requirement("M07")
def test_counters_never_fall(measured: Api) -> None:
    key = ("understudy_attempts_total", "email", "work", "completed")
    ids = [measured.send() for _ in range(3)]
    for id in ids:
        measured.site.worker.run(id)
    assert scrape(measured)[key] == 3

    fold(measured.site.state)
    assert scrape(measured)[key] == 3
    measured.site.jobs.clean("email")
    with measured.site.state.database.transaction() as connection:
        connection.exec_driver_sql(
            f"UPDATE understudy_rates SET minute = {measured.site.moment(-31 * 86_400)} WHERE minute > '1980-01-01'"
        )
        tallies.prune_rates(connection)
        (left,) = connection.exec_driver_sql("SELECT count(*) FROM understudy_rates").one()

    assert left == 1
    assert scrape(measured)[key] == 3
    assert scrape(measured)["understudy_jobs", "email", "completed"] == 0


@pytest.mark.requirement("M07", "P04")
def test_no_tenant_is_named(measured: Api) -> None:
    measured.site.worker.run(measured.send(tenant="birchwood"))
    text = measured.site.app.test_client().get("/metrics", headers=OPERATOR).text
    assert "understudy_attempts_total" in text
    assert "birchwood" not in text


@pytest.mark.requirement("M07")
def test_metrics_are_for_those_who_see_all_tenants(measured: Api) -> None:
    scrape(measured, {}, 401)
    scrape(measured, {"Authorization": f"Bearer {'acme/olga/read admin'}"}, 403)
    answer: Any = measured.site.app.test_client().get("/metrics", headers=OPERATOR)
    assert answer.content_type.startswith("text/plain; version=")


@pytest.mark.requirement("M07")
def test_metrics_are_for_everybody_where_the_setting_says_so(make_site: MakeSite, sqlite_ledger: str) -> None:
    site = make_site(sqlite_ledger, UNDERSTUDY_METRICS_PATH="/metrics", UNDERSTUDY_METRICS_PUBLIC=True)
    assert ("understudy_workers",) in scrape(Api(site), {})


def test_metrics_without_an_authoriser_are_closed(make_site: MakeSite, sqlite_ledger: str) -> None:
    scrape(Api(make_site(sqlite_ledger, UNDERSTUDY_METRICS_PATH="/metrics")), {}, 401)


def test_there_are_none_by_default(sqlite_api: Api) -> None:
    scrape(sqlite_api, None, 404)


def test_openmetrics_is_spoken_when_asked_for(measured: Api) -> None:
    headers = OPERATOR | {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = measured.site.app.test_client().get("/metrics", headers=headers)
    assert answer.content_type.startswith("application/openmetrics-text")
    assert answer.text.rstrip().endswith("# EOF")


@pytest.mark.requirement("M11")
def test_a_broker_that_is_down_is_told(make_site: MakeSite, sqlite_ledger: str, redis_server: Any) -> None:
    site = make_site(
        sqlite_ledger, redis_server.url, UNDERSTUDY_METRICS_PATH="/metrics", UNDERSTUDY_METRICS_PUBLIC=True
    )
    assert scrape(Api(site), {})["understudy_broker_up",] == 1
    redis_server.kill()
    assert scrape(Api(site), {})["understudy_broker_up",] == 0


def test_a_missing_package_is_named(make_site: MakeSite, sqlite_ledger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "flask_understudy.rest.find_spec", lambda name: None if name == "prometheus_client" else found(name)
    )
    with pytest.raises(ConfigError, match=r"pip install 'flask-understudy\[prometheus\]'"):
        make_site(sqlite_ledger, UNDERSTUDY_METRICS_PATH="/metrics")
