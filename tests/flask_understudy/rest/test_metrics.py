"""How the queues do, as JSON."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_understudy.clock import fold
from tests.flask_understudy.rest.conftest import EVERY_SCOPE, Api

SEES_ALL = EVERY_SCOPE + " tenants"


@pytest.mark.requirement("M07")
@pytest.mark.parametrize("folded", [False, True])
def test_metrics_tell_how_each_queue_does(api: Api, folded: bool) -> None:
    for n in range(3):
        id = api.send(str(n))
        api.site.change(id, created_at=api.site.moment(-4), run_at=api.site.moment(-3))
        api.site.worker.run(id)
    api.fail()
    oldest = api.send()
    api.send()
    api.site.change(oldest, run_at=api.site.moment(-90))
    api.site.claim(api.site.process(), api.send())
    if folded:
        fold(api.site.state)

    answer = api.as_(scopes=SEES_ALL).get("/metrics")

    email, reports = answer["queues"]["email"], answer["queues"]["reports"]
    assert (email["waiting"], email["processing"], email["completed"], email["failed"]) == (2, 1, 3, 0)
    assert 89_000 < email["oldestWaitingMs"] < 95_000
    assert 0.4 < email["processingRate"] <= 0.6  # three in five to six minutes
    assert email["failureRate"] == 0
    assert 0 <= email["averageDurationMs"] < 2000
    assert 2900 < email["averageWaitMs"] < 6000
    assert (reports["failed"], reports["failureRate"], reports["averageDurationMs"]) == (1, 1, None)
    assert reports["oldestWaitingMs"] is None


@pytest.mark.requirement("M07")
def test_the_series_has_each_minute_of_the_last_hour_or_as_asked(api: Api) -> None:
    everything = api.as_(scopes=SEES_ALL)
    api.site.worker.run(api.send())
    api.fail()

    series = everything.get("/metrics")["series"]

    assert len(series) == 60
    begins = [datetime.fromisoformat(minute["minute"]) for minute in series]
    assert {(after - before).seconds for before, after in zip(begins, begins[1:], strict=False)} == {60}
    assert 0 <= (datetime.now(UTC) - begins[-1]).total_seconds() < 65
    assert sum(minute["completed"] for minute in series[-2:]) == 1
    assert sum(minute["failed"] for minute in series[-2:]) == 1
    assert [minute["averageDurationMs"] for minute in series[:50]] == [None] * 50

    assert len(everything.get("/metrics?minutes=1440")["series"]) == 1440
    alone = everything.get("/metrics?minutes=2&queue=reports")["series"]
    assert sum(minute["completed"] for minute in alone) == 0
    assert sum(minute["failed"] for minute in alone) == 1


@pytest.mark.requirement("M07")
def test_the_series_is_told_in_longer_steps(api: Api) -> None:
    everything = api.as_(scopes=SEES_ALL)
    api.site.worker.run(api.send())
    api.site.execute(f"UPDATE understudy_tallies SET at = {api.site.moment(-3 * 86_400)}")
    api.fail()

    series = everything.get("/metrics?minutes=10080&step=120")["series"]

    assert len(series) == 84
    begins = [datetime.fromisoformat(step["minute"]) for step in series]
    assert {after - before for before, after in zip(begins, begins[1:], strict=False)} == {timedelta(hours=2)}
    [found] = [begin for begin, step in zip(begins, series, strict=True) if step["completed"]]
    assert found <= datetime.now(UTC) - timedelta(days=3) < found + timedelta(hours=2, minutes=1)
    assert [step["failed"] for step in series][-1] == 1
    assert len(everything.get("/metrics?minutes=61&step=20")["series"]) == 4


@pytest.mark.requirement("M07")
def test_what_each_type_did_is_told_when_asked_for(api: Api) -> None:
    everything = api.as_(scopes=SEES_ALL)
    api.site.worker.run(api.send())
    api.fail()

    types = everything.get("/metrics?types=true")["types"]

    assert {name: (one["completed"], one["failed"]) for name, one in types.items()} == {
        "work": (1, 0),
        "broken": (0, 1),
    }
    assert types["work"]["averageDurationMs"] is not None
    assert set(everything.get("/metrics?types=true&queue=reports")["types"]) == {"broken"}
    assert everything.get("/metrics")["types"] is None
    assert api.get("/metrics?types=true")["types"] is None


@pytest.mark.requirement("M07", "P03", "P04")
def test_a_tenant_sees_counts_of_its_own_jobs_and_no_rates(api: Api) -> None:
    for tenant in ("acme", "birch", "birch"):
        api.site.worker.run(api.send(tenant=tenant))
        api.send(tenant=tenant)
    api.site.execute(f"UPDATE understudy_jobs SET run_at = {api.site.moment(-500)} WHERE tenant = 'birch'")

    answer = api.get("/metrics")

    email = answer["queues"]["email"]
    assert (email["waiting"], email["completed"]) == (1, 1)
    assert email["oldestWaitingMs"] < 60_000
    assert [email[name] for name in ("processingRate", "failureRate", "averageDurationMs", "averageWaitMs")] == [
        None
    ] * 4
    assert answer["series"] is None
    assert api.as_(scopes=SEES_ALL).get("/metrics")["queues"]["email"]["completed"] == 3


@pytest.mark.requirement("M07")
def test_without_tenants_in_the_application_rates_are_for_everybody_who_reads(api: Api) -> None:
    api.site.worker.run(api.send(tenant=""))
    answer = api.as_("", scopes="read").get("/metrics")
    assert answer["queues"]["email"]["processingRate"] > 0
    assert len(answer["series"]) == 60


def test_waiting_jobs_of_a_paused_queue_wait(sqlite_api: Api) -> None:
    sqlite_api.send()
    sqlite_api.site.jobs.pause("email")
    assert sqlite_api.get("/metrics")["queues"]["email"]["waiting"] == 1


@pytest.mark.parametrize(
    "query",
    [
        "minutes=0",
        "minutes=43201",
        "minutes=x",
        "minutes=1&minutes=2",
        "minutes=1441",
        "minutes=10080&step=6",
        "minutes=2881&step=90",
        "step=0",
        "step=1441",
        "queue=nowhere",
        "other=1",
    ],
)
def test_a_bad_query_is_refused(sqlite_api: Api, query: str) -> None:
    problem: Any = sqlite_api.as_(scopes=SEES_ALL).get(f"/metrics?{query}", 422)
    assert problem["status"] == 422


def test_metrics_need_a_caller_who_may_read(sqlite_api: Api) -> None:
    sqlite_api.anonymous().get("/metrics", 401)
    sqlite_api.as_(scopes="enqueue").get("/metrics", 403)
