"""Schedules over HTTP: registering, showing, switching, running, for one's own tenant alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_understudy.clock import declare, fire
from flask_understudy.ledger import AuditLine, Schedule
from flask_understudy.operations.schedules import MOST_OF_TENANT
from tests.flask_understudy.rest.conftest import EVERY_SCOPE, Api

DIGEST: dict[str, Any] = {
    "name": "digest",
    "type": "work",
    "schedule": "0 9 * * 1-5",
    "timezone": "America/New_York",
    "payload": {"to": "ada@example.com", "token": "hush"},
    "options": {"priority": 2, "tags": ["mail"]},
    "missed": "all",
    "graceMs": 60_000,
    "overlap": "queue",
}


@pytest.fixture
def operator(api: Api) -> Api:
    return api.as_("house", "oscar", f"{EVERY_SCOPE} tenants")


def audit(api: Api) -> list[tuple[Any, ...]]:
    with api.site.db_session() as session:
        lines = session.scalars(sa.select(AuditLine).order_by(AuditLine.id))
        return [(line.subject, line.action, line.target) for line in lines]


def make_due(api: Api, name: str) -> None:
    with api.site.db_session() as session:
        row = session.scalars(sa.select(Schedule).filter_by(name=name)).one()
        row.next_run_at = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=5)
        session.commit()


@pytest.mark.requirement("K02", "F03", "F08")
def test_a_schedule_is_registered_with_everything_that_is_known_of_it(api: Api) -> None:
    made = api.post("/schedules", 201, json=DIGEST)

    assert made["description"] == "At 09:00 on Monday through Friday"
    assert made["payload"] == {"to": "ada@example.com", "token": "***"}
    assert (made["tenant"], made["owner"], made["source"], made["enabled"]) == ("acme", "olga", "runtime", True)
    assert (made["missed"], made["graceMs"], made["overlap"]) == ("all", 60_000, "queue")
    assert (made["lastRunAt"], made["lastError"]) == (None, None)
    assert datetime.fromisoformat(made["nextRunAt"]) > datetime.now(UTC)
    shown = api.get("/schedules/digest")
    assert shown.pop("slots") == []
    coming = shown.pop("nextRuns")
    assert (len(coming), coming[0]) == (5, made["nextRunAt"]) and coming == sorted(set(coming))
    assert shown == made
    assert api.get("/schedules") == {"data": [made], "nextCursor": None}
    assert audit(api) == [("olga", "schedule.register", "digest")]


@pytest.mark.requirement("F03")
def test_a_payload_is_named_in_camel_case_too(api: Api) -> None:
    @api.site.jobs.actor(actor_name="report:send", queue_name="reports", api=True)
    def send(report_id: str) -> None:
        """Takes a report's id."""

    given = {"name": "weekly", "type": "report:send", "schedule": "0 8 * * 1", "payload": {"reportId": "r1"}}
    assert api.post("/schedules", 201, json=given)["payload"] == {"report_id": "r1"}
    assert api.patch("/schedules/weekly", json={"payload": {"reportId": "r2"}})["payload"] == {"report_id": "r2"}
    job = api.post("/schedules/weekly/run", 202)["jobId"]
    assert api.site.job(job).kwargs == {"report_id": "r2"}
    twice = api.patch("/schedules/weekly", 422, json={"payload": {"reportId": "r2", "report_id": "r3"}})
    assert "there twice" in twice["detail"]


@pytest.mark.requirement("F05", "F08")
def test_it_tells_its_latest_job_and_whether_it_is_overdue(api: Api) -> None:
    made = api.post("/schedules", 201, json=DIGEST)
    assert (made["lastJobId"], made["lastJobState"], made["isOverdue"]) == (None, None, False)
    api.post("/schedules/digest/run", 202)
    latest = api.post("/schedules/digest/run", 202)["jobId"]
    api.site.worker.run(latest)
    api.site.execute(f"UPDATE understudy_schedules SET next_run_at = {api.site.moment(-301)}")

    for shown in (api.get("/schedules")["data"][0], api.get("/schedules/digest")):
        assert (shown["lastJobId"], shown["lastJobState"], shown["isOverdue"]) == (latest, "completed", True)
    api.delete(f"/{latest}")
    disabled = api.post("/schedules/digest/disable")
    assert (disabled["lastJobId"], disabled["lastJobState"], disabled["isOverdue"]) == (latest, None, False)
    assert api.get("/schedules/digest")["nextRuns"] == []


@pytest.mark.requirement("F03")
def test_registering_again_changes_what_is_otherwise_and_nothing_else(api: Api) -> None:
    made = api.post("/schedules", 201, json=DIGEST)
    assert api.post("/schedules", 200, json=DIGEST) == made
    changed = api.post("/schedules", 200, json={**DIGEST, "schedule": "@hourly"})
    assert (changed["id"], changed["schedule"]) == (made["id"], "@hourly")
    assert changed["nextRunAt"] != made["nextRunAt"]


@pytest.mark.requirement("P03", "P04", "F03")
def test_its_jobs_are_the_tenant_s(api: Api) -> None:
    api.post("/schedules", 201, json=DIGEST)
    make_due(api, "digest")

    assert fire(api.site.state) == 1

    [job] = api.get("")["data"]
    assert (job["tenant"], job["owner"], job["priority"]) == ("acme", "olga", 2)
    assert job["tags"] == ["mail", "schedule:digest"]
    assert api.as_("other").get("")["data"] == []
    [slot] = api.get("/schedules/digest")["slots"]
    assert (slot["outcome"], slot["jobId"], slot["reason"]) == ("fired", job["id"], None)


@pytest.mark.requirement("P04")
def test_two_tenants_may_take_the_same_name_and_know_nothing_of_each_other(api: Api) -> None:
    other = api.as_("other", "ann")
    mine, theirs = api.post("/schedules", 201, json=DIGEST), other.post("/schedules", 201, json=DIGEST)

    api.post("/schedules/digest/disable")
    api.delete("/schedules/digest")

    assert mine["id"] != theirs["id"]
    assert other.get("/schedules/digest")["enabled"] is True
    api.get("/schedules/digest", 404)
    api.get("/schedules/digest?tenant=other", 403)
    assert api.get("/schedules")["data"] == []


@pytest.mark.requirement("F04")
def test_a_schedule_is_disabled_enabled_and_deleted(api: Api) -> None:
    api.post("/schedules", 201, json=DIGEST)

    assert api.post("/schedules/digest/disable")["enabled"] is False
    make_due(api, "digest")
    assert fire(api.site.state) == 0
    enabled = api.post("/schedules/digest/enable")
    assert enabled["enabled"] is True
    assert datetime.fromisoformat(enabled["nextRunAt"]) > datetime.now(UTC)
    api.delete("/schedules/digest")

    api.get("/schedules/digest", 404)
    assert [action for _, action, _ in audit(api)] == [
        "schedule.register",
        "schedule.disable",
        "schedule.enable",
        "schedule.delete",
    ]


def test_a_schedule_is_run_now_though_it_is_disabled(api: Api) -> None:
    api.post("/schedules", 201, json={**DIGEST, "enabled": False})

    id = api.post("/schedules/digest/run", 202)["jobId"]

    assert api.get(f"/{id}")["state"] == "waiting"
    [slot] = api.get("/schedules/digest")["slots"]
    assert (slot["outcome"], slot["jobId"]) == ("by_hand", id)


def test_some_of_it_is_changed_and_the_rest_stays(api: Api) -> None:
    made = api.post("/schedules", 201, json=DIGEST)

    changed = api.patch("/schedules/digest", json={"payload": {"to": "bob@example.com"}, "overlap": "skip"})

    same = {**made, "payload": {"to": "bob@example.com"}, "overlap": "skip", "updatedAt": changed["updatedAt"]}
    assert changed == same
    api.patch("/schedules/digest", 422, json={"schedule": "61 * * * *"})
    api.patch("/schedules/digest", 422, json={"name": "other"})
    assert api.get("/schedules/digest")["schedule"] == "0 9 * * 1-5"


def test_what_is_withheld_stays_with_its_type_and_its_neighbours(api: Api) -> None:
    secret = {"to": "ada@example.com", "token": "s3cret-value"}
    made = api.post("/schedules", 201, json={**DIGEST, "payload": secret})
    shown = made["payload"]
    assert shown["token"] == "***"

    def stored() -> dict[str, Any]:
        with api.site.db_session() as session:
            return dict(session.scalars(sa.select(Schedule).where(Schedule.name == "digest")).one().kwargs)

    api.patch("/schedules/digest", json={"payload": shown})
    assert stored() == secret
    api.patch("/schedules/digest", 422, json={"payload": {**shown, "to": "eve@evil.example"}})
    api.patch("/schedules/digest", 422, json={"type": "broken"})
    api.patch("/schedules/digest", 422, json={"type": "broken", "payload": {"text": "***"}})
    assert stored() == secret
    assert api.patch("/schedules/digest", json={"type": "broken", "payload": {"text": "x"}})["payload"] == {"text": "x"}


class TestDeclaredByTheCode:
    """They belong to no tenant: operators switch and run them, and nobody changes them."""

    @pytest.fixture(autouse=True)
    def declared(self, api: Api) -> None:
        api.site.jobs.schedule("@daily", name="nightly")(api.actors["work"])
        declare(api.site.state)

    def test_operators_switch_and_run_them(self, operator: Api) -> None:
        assert operator.post("/schedules/nightly/disable")["enabled"] is False
        assert operator.post("/schedules/nightly/enable")["enabled"] is True
        id = operator.post("/schedules/nightly/run", 202)["jobId"]
        assert (operator.site.job(id).tenant, operator.site.job(id).owner) == ("", "")

    def test_they_are_changed_and_deleted_in_the_code_alone(self, operator: Api) -> None:
        operator.delete("/schedules/nightly", 409)
        problem = operator.patch("/schedules/nightly", 409, json={"schedule": "@hourly"})
        assert "The code declares the schedule 'nightly'" in problem["detail"]
        operator.as_("", "root", f"{EVERY_SCOPE} tenants").post("/schedules", 409, json={**DIGEST, "name": "nightly"})
        assert operator.get("/schedules/nightly")["schedule"] == "@daily"

    def test_tenants_do_not_see_them(self, api: Api) -> None:
        assert api.get("/schedules")["data"] == []
        for method, path in (("GET", ""), ("POST", "/disable"), ("POST", "/run"), ("DELETE", "")):
            assert api(method, f"/schedules/nightly{path}").status_code == 404

    def test_operators_see_every_tenant_s(self, api: Api, operator: Api) -> None:
        api.post("/schedules", 201, json={**DIGEST, "name": "nightly"})
        found = operator.get("/schedules")["data"]
        assert [(row["name"], row["tenant"]) for row in found] == [("nightly", ""), ("nightly", "acme")]
        assert operator.get("/schedules/nightly?tenant=acme")["tenant"] == "acme"
        assert operator.get("/schedules/nightly")["tenant"] == ""

    def test_the_list_of_one_tenant_is_for_those_who_may_see_it(self, api: Api, operator: Api) -> None:
        api.post("/schedules", 201, json={**DIGEST, "name": "nightly"})
        assert [row["tenant"] for row in operator.get("/schedules?tenant=acme")["data"]] == ["acme"]
        assert [row["tenant"] for row in operator.get("/schedules?tenant=")["data"]] == [""]
        assert [row["tenant"] for row in api.get("/schedules?tenant=acme")["data"]] == ["acme"]
        assert "the scope 'tenants'" in api.get("/schedules?tenant=other", 403)["detail"]


def test_the_list_comes_in_pages(api: Api) -> None:
    for name in "edcba":
        api.post("/schedules", 201, json={**DIGEST, "name": name})
    names, cursor = [], None
    for _ in range(3):
        page = api.get("/schedules", query_string={"limit": 2, **({"cursor": cursor} if cursor else {})})
        names += [row["name"] for row in page["data"]]
        cursor = page["nextCursor"]
    assert (names, cursor) == (list("abcde"), None)
    api.get("/schedules?cursor=forged", 422)


def test_payloads_need_the_scope(api: Api) -> None:
    api.post("/schedules", 201, json=DIGEST)
    assert api.as_(scopes="read").get("/schedules/digest")["payload"] is None


@pytest.mark.requirement("F07")
@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("schedule", "61 * * * *", "its minute is '61'; it takes 0 to 59"),
        ("schedule", "0 0 30 2 *", "never fires"),
        ("schedule", "9" * 300, "at most 255 characters"),
        ("timezone", "Mars/Olympus", "is no time zone"),
        ("type", "private", "cannot be sent through the API"),
        ("payload", {"nobody": 1}, "The payload does not fit work"),
        ("payload", {"n": "seven"}, "The payload does not fit work"),
        ("options", {"dedup_key": "x"}, "'dedup_key' is no option of a schedule"),
        ("options", {"priority": 5000}, "priority is 5000"),
        ("options", {"queue": "nope"}, "nope"),
        ("options", {"queue": ["email"]}, "it takes the name of a queue"),
        ("options", {"tags": "x"}, "it takes a list of texts"),
        ("options", {"tags": [5]}, "A tag is 5"),
        ("options", {"attempts": 2, "max_retries": 7}, "attempts"),
        ("options", {"time_limit": "soon"}, "time_limit"),
        ("missed", "never", "latest"),
        ("overlap", "never", "allow"),
        ("graceMs", -1, "greater than or equal to 0"),
        ("name", "a/b", "printable characters, no slash"),
        ("name", "x" * 91, "at most 90 characters"),
        ("name", "a\nb", "printable characters"),
    ],
)
def test_what_cannot_be_a_schedule_is_refused_and_nothing_written(api: Api, field: str, value: Any, said: str) -> None:
    answer = api("POST", "/schedules", json={**DIGEST, field: value})

    assert answer.status_code == 422
    assert said in answer.text
    assert (api.get("/schedules")["data"], audit(api)) == ([], [])


def test_a_tenant_has_only_so_many(api: Api) -> None:
    with api.site.db_session() as session:
        at = datetime.now(UTC)
        for n in range(MOST_OF_TENANT):
            how = {"actor": "work", "expression": "@daily", "timezone": "UTC", "args": [], "kwargs": {}}
            session.add(Schedule(id=str(n), tenant="acme", name=str(n), created_at=at, updated_at=at, **how))
        session.commit()
    assert "as many as it may have" in api.post("/schedules", 422, json=DIGEST)["detail"]
    api.as_("other").post("/schedules", 201, json=DIGEST)


def test_an_expression_is_tried_before_it_is_used(sqlite_api: Api) -> None:
    body = {"schedule": "30 2 * * *", "timezone": "America/New_York", "n": 2, "after": "2026-03-07T12:00:00Z"}

    found = sqlite_api.post("/schedules/preview", json=body)

    assert found["description"] == "At 02:30 every day"
    assert found["nextRuns"] == ["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"]
    sqlite_api.post("/schedules/preview", 422, json={"schedule": "every 0 minutes"})
    sqlite_api.post("/schedules/preview", 422, json={"schedule": "@daily", "n": 101})


class TestScheduled:
    """Jobs for a date."""

    pytestmark = pytest.mark.requirement("F01", "F02", "K01")

    def send(self, api: Api, hours: int) -> str:
        date = datetime.now(UTC) + timedelta(hours=hours)
        body = {"type": "work", "payload": {"to": str(hours)}, "scheduledFor": date.isoformat()}
        return str(api.post("", 202, json=body)["id"])

    def test_they_are_listed_the_first_one_first(self, api: Api) -> None:
        later, first, between = (self.send(api, hours) for hours in (3, 1, 2))
        api.send("at once")
        page = api.get("/scheduled?limit=2")
        assert [job["id"] for job in page["data"]] == [first, between]
        assert page["data"][0]["status"] == "scheduled"
        assert page["data"][0]["payload"] == {"to": "1"}
        rest = api.get("/scheduled", query_string={"cursor": page["nextCursor"]})
        assert ([job["id"] for job in rest["data"]], rest["nextCursor"]) == ([later], None)
        assert api.as_("other").get("/scheduled")["data"] == []

    def test_one_is_cancelled_and_never_starts(self, api: Api) -> None:
        id = self.send(api, 1)
        api.as_("other").delete(f"/scheduled/{id}", 404)
        api.delete(f"/scheduled/{id}")
        assert api.site.job(id).state == "cancelled"
        assert api.get("/scheduled")["data"] == []
        assert "is cancelled" in api.delete(f"/scheduled/{id}", 409)["detail"]

    def test_what_has_started_is_no_longer_scheduled(self, api: Api) -> None:
        id = api.fail()
        assert "has started" in api.delete(f"/scheduled/{id}", 409)["detail"]
