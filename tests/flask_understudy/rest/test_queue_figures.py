"""How long the jobs of a queue wait and run, and the keys that they hold."""

from __future__ import annotations

import pytest

from flask_understudy.ledger import spans
from flask_understudy.operations.metrics import Percentiles
from tests.flask_understudy.rest.conftest import Api


def ended(api: Api, *, waited: int, ran: int, ago: int = 60, tenant: str = "acme", actor: str = "work") -> str:
    """A job that completed so many s ago, after it had waited and run for so many s."""
    id = api.send(tenant=tenant, actor=actor)
    api.site.worker.run(id)
    times = {
        "created_at": ago + waited + ran,
        "run_at": ago + waited + ran,
        "started_at": ago + ran,
        "finished_at": ago,
    }
    api.site.change(id, **{name: api.site.moment(-seconds) for name, seconds in times.items()})
    return id


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], None),
        ([7], (7, 7, 7)),
        ([3, 1, 2], (2, 3, 3)),
        (list(range(100, 0, -1)), (50, 95, 99)),
        (list(range(1, 201)), (100, 190, 198)),
    ],
    ids=["none", "one", "three", "hundred", "two-hundred"],
)
def test_a_percentile_is_one_of_the_times(times: list[int], expected: tuple[int, int, int] | None) -> None:
    found = Percentiles.of(times)

    assert (found and (found.p50, found.p95, found.p99)) == expected


@pytest.mark.requirement("L09", "M07")
def test_wait_and_run_times_are_told_of_the_latest_jobs(api: Api) -> None:
    for n in range(1, 21):
        ended(api, waited=n, ran=2 * n)
    ended(api, waited=900, ran=900, ago=4000)  # longer ago than an hour
    ended(api, waited=500, ran=500, tenant="other")
    api.fail()

    told = api.get("/queues/email/times")

    assert (told["jobs"], told["minutes"]) == (20, 60)
    assert told["waitMs"] == pytest.approx({"p50": 10_000, "p95": 19_000, "p99": 20_000}, abs=2)
    assert told["runMs"] == pytest.approx({"p50": 20_000, "p95": 38_000, "p99": 40_000}, abs=2)
    everybody = api.as_(scopes="read tenants").get("/queues/email/times")
    assert (everybody["jobs"], everybody["runMs"]["p99"]) == (21, pytest.approx(500_000, abs=2))
    assert api.get("/queues/reports/times") == {"minutes": 60, "jobs": 0, "waitMs": None, "runMs": None}
    api.get("/queues/nowhere/times", 404)


def test_no_more_jobs_are_looked_at_than_a_page_has_time_for(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in (1, 2, 3):
        ended(api, waited=n, ran=n, ago=60 + n)
    operator = api.as_(scopes="read tenants")

    monkeypatch.setattr(spans, "MOST", 2)
    assert [one.get("/queues/email/times")["jobs"] for one in (api, operator)] == [2, 2]
    assert api.get("/queues/email/times")["runMs"]["p99"] == pytest.approx(2000, abs=2)  # the latest ones
    monkeypatch.setattr(spans, "SCAN", 1)
    assert operator.get("/queues/email/times")["jobs"] == 1


@pytest.mark.requirement("L09")
def test_a_key_names_the_jobs_that_hold_it(api: Api) -> None:
    held = [api.send("a", concurrency_key="shop-1"), api.send(concurrency_key="shop-1", actor="broken")]
    api.patch("/limits/shop-1", json={"concurrency": 2})
    held_back = api.send("b", concurrency_key="shop-1")
    other, theirs = api.send("c", concurrency_key="shop-2"), api.send("d", concurrency_key="shop-1", tenant="other")
    for seconds, id in ((-30, held[0]), (-60, held[1]), (-5, other), (-5, theirs)):
        api.site.change(id, gate="NULL")
        assert api.site.claim(api.site.process(), id)
        api.site.change(id, started_at=api.site.moment(seconds))

    first, second = api.get("/queues/email/keys")["data"]

    assert (first["key"], first["tenant"], first["concurrency"]) == ("shop-1", "acme", 2)
    assert (first["active"], first["heldBack"]) == (2, 1)
    assert [(job["id"], job["type"], job["queue"]) for job in first["holders"]] == [
        (held[1], "broken", "reports"),
        (held[0], "work", "email"),
    ]
    assert (second["key"], [job["id"] for job in second["holders"]]) == ("shop-2", [other])
    assert [key["key"] for key in api.get("/queues/reports/keys")["data"]] == ["shop-1"]
    everybody = api.as_(scopes="read tenants").get("/queues/email/keys")["data"]
    assert [(key["tenant"], key["key"], len(key["holders"])) for key in everybody] == [
        ("acme", "shop-1", 2),
        ("acme", "shop-2", 1),
        ("other", "shop-1", 1),
    ]
    assert held_back not in str(everybody)


def test_a_queue_of_which_nothing_runs_under_a_key_has_none(sqlite_api: Api) -> None:
    sqlite_api.send("a", concurrency_key="shop-1")
    running = sqlite_api.send("b")
    sqlite_api.site.claim(sqlite_api.site.process(), running)

    assert sqlite_api.get("/queues/email/keys") == {"data": []}
    sqlite_api.get("/queues/nowhere/keys", 404)
