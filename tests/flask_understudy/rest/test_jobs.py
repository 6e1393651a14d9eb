"""Jobs over HTTP: finding, showing and acting on them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_understudy.clock.bulks import bulks
from flask_understudy.operations import bulk
from tests.flask_understudy.rest.conftest import Api


def ids(answer: Any) -> list[str]:
    return [job["id"] for job in answer["data"]]


# -- finding -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("O01")
def test_jobs_are_listed_newest_first_page_by_page(api: Api) -> None:
    for n in range(5):
        api.send("a@b.c", n)
    newest = [job.id for job in sorted(api.site.all_jobs(), key=lambda job: (job.created_at, job.id), reverse=True)]

    first = api.get("?limit=2")
    second = api.get(f"?limit=2&cursor={first['nextCursor']}")
    third = api.get(f"?limit=2&cursor={second['nextCursor']}")

    assert ids(first) + ids(second) + ids(third) == newest
    assert third["nextCursor"] is None
    assert ids(api.get("?sort=created_at&limit=3")) == newest[:1:-1]


def test_a_cursor_leads_on_in_its_own_query_alone(api: Api) -> None:
    for n in range(3):
        api.send("a@b.c", n)
    cursor = api.get("?limit=2&status=waiting")["nextCursor"]

    assert len(api.get(f"?limit=1&status=waiting&count=true&cursor={cursor}")["data"]) == 1
    for query in ("limit=2", "status=waiting&sort=created_at", "status=waiting&queue=email", "status=completed"):
        assert api.get(f"?{query}&cursor={cursor}", 422)["errors"][0]["pointer"] == "/cursor"
    api.get(f"/email/jobs?status=waiting&cursor={cursor}", 422)


def test_routes_without_parameters_refuse_them(sqlite_api: Api) -> None:
    id = sqlite_api.send("a@b.c")

    for path in ("/stats", "/queues", f"/{id}/logs", f"/{id}/attempts"):
        sqlite_api.get(f"{path}?limit=-1", 422)


def test_filters_are_alternatives_within_and_conditions_between(api: Api) -> None:
    waiting = api.send("a@b.c", tags=["red", "blue"])
    delayed = api.send("x@y.z", delay=60_000, tags=["green"])
    failed = api.fail("the disk is full 7")

    assert ids(api.get("?status=waiting")) == [waiting]
    assert set(ids(api.get("?status=waiting&status=delayed"))) == {waiting, delayed}
    assert ids(api.get("?status=failed")) == [failed]
    assert set(ids(api.get("?status=failed&status=waiting"))) == {failed, waiting}
    assert ids(api.get("?queue=reports")) == [failed]
    assert ids(api.get("?queue=email&status=failed")) == []
    assert ids(api.get("?type=broken")) == [failed]
    assert ids(api.get("?tag=blue&tag=none")) == [waiting]
    assert ids(api.get("?error=DISK IS")) == [failed]
    assert ids(api.get("?q=full 7")) == [failed]
    assert ids(api.get(f"?id={waiting}&id=unknown")) == [waiting]
    assert ids(api.get("?error=100%25")) == []  # a percent sign is a percent sign
    assert ids(api.get("?payload=to:x@y.z")) == [delayed]
    assert ids(api.get("?payload=0:x@y.z")) == [delayed]
    assert ids(api.get("?payload=to:nobody")) == []
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat().replace("+00:00", "Z")
    assert ids(api.get(f"?createdAfter={tomorrow}")) == []
    assert len(ids(api.get(f"?created_before={tomorrow}"))) == 3
    assert ids(api.get(f"?status=failed&finishedBefore={tomorrow}")) == [failed]


@pytest.mark.requirement("L02")
def test_numbers_of_attempts_and_priorities_are_found(api: Api) -> None:
    low, zero, high = (api.send(str(n), priority=n) for n in (-2, 0, 7))
    api.site.worker.run(low)

    assert set(ids(api.get("?priorityFrom=0"))) == {zero, high}
    assert ids(api.get("?priorityFrom=0&priorityTo=0")) == [zero]
    assert ids(api.get("?priorityTo=-1")) == ids(api.get("?attemptFrom=1")) == [low]
    assert set(ids(api.get("?attemptTo=0"))) == {zero, high}
    assert ids(api.get("?attemptFrom=2")) == []

    api.post("/bulk", 202, json={"action": "cancel", "filter": {"priorityTo": 0}})  # what it keeps has the nought
    bulks(api.site.state)
    assert [api.site.job(id).state for id in (low, zero, high)] == ["completed", "cancelled", "waiting"]


@pytest.mark.requirement("L02")
def test_a_job_is_found_by_how_its_id_begins(api: Api) -> None:
    mine, other, theirs = api.send("1"), api.send("2"), api.send("3", tenant="other")

    for n in (8, 9, 11, 14, 36):
        assert ids(api.get(f"?idStart={mine[:n]}")) == [mine]
    assert set(ids(api.get(f"?idStart={mine[:12]}&id={other}"))) == {mine, other}
    assert ids(api.get(f"?idStart={mine[:12]}&status=failed")) == ids(api.get(f"?idStart={theirs[:12]}")) == []
    assert (
        api.post("/bulk", json={"action": "cancel", "filter": {"idStart": mine[:12]}, "dryRun": True})["touched"] == 1
    )


def test_values_in_keyword_arguments_are_found_by_path(api: Api) -> None:
    with api.site.app.app_context():
        message = api.actors["work"].send_with_options(kwargs={"to": {"user": {"id": 42, "ok": True}}}, tenant="acme")

    assert ids(api.get("?payload=to.user.id:42")) == [message.message_id]
    assert ids(api.get("?payload=to.user.ok:true")) == [message.message_id]
    assert ids(api.get("?payload=to.user.id:4")) == []


def test_ended_jobs_are_listed_by_their_end(api: Api) -> None:
    first, second = api.send("1"), api.send("2")
    api.site.worker.run(second)
    api.site.worker.run(first)

    page = api.get("?status=completed&limit=1")

    assert ids(page) == [first]
    assert ids(api.get(f"?status=completed&limit=1&cursor={page['nextCursor']}")) == [second]


def test_jobs_are_counted_on_demand(api: Api) -> None:
    for n in range(3):
        api.send("a@b.c", n)
    api.fail()

    assert api.get("")["total"] is None
    assert api.get("?count=true&limit=1")["total"] == 4
    assert api.get("?count=true&status=waiting")["total"] == 3
    assert api.get("?count=true&q=boom")["totalIsExact"] is True


@pytest.mark.requirement("P04")
def test_secrets_cannot_be_searched(api: Api) -> None:
    api.get("?payload=token:x", 403)
    api.as_(scopes="read").get("?payload=to:x", 403)


@pytest.mark.requirement("P04")
def test_what_an_actor_withholds_cannot_be_searched(api: Api) -> None:
    jobs = api.site.jobs

    @jobs.actor(queue_name="email", actor_name="pin", sensitive=("code",))
    def pin(to: str, code: str) -> None:
        """Has one argument withheld."""

    @jobs.actor(queue_name="email", actor_name="sealed", sensitive=True)
    def sealed(to: str) -> None:
        """Has all of them withheld."""

    api.actors |= {"pin": pin, "sealed": sealed}
    by_place, by_name = api.send("ada", "1234", actor="pin"), api.send("ada", actor="pin", kwargs={"code": "1234"})
    hidden = api.send("ada", actor="sealed")
    other = api.send("1234", 1234)

    for path in ("code:1234", "code.deeper:1", "to.code.card:1", "to.kwargs.code:1234", "to:4111 1111 1111 1111"):
        assert "withheld" in api.get(f"?payload={path}", 403)["detail"]
        wanted = {"action": "cancel", "filter": {"payload": [path]}, "dryRun": True}
        api.post("/bulk", 403, json=wanted)
    assert ids(api.get("?payload=1:1234")) == [other]
    assert set(ids(api.get("?payload=to:ada"))) == set(ids(api.get("?payload=0:ada"))) == {by_place, by_name}
    assert api.get("?payload=to:ada&type=sealed&count=true")["total"] == 0
    wanted = {"action": "cancel", "filter": {"payload": ["to:ada"]}}
    started = api.post("/bulk", 202, json=wanted)["id"]
    while bulk.step(api.site.state, started).state == "running":
        pass
    assert api.site.job(hidden).state == "waiting"
    assert api.site.job(by_place).state == api.site.job(by_name).state == "cancelled"


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/limit"),
        ("limit=1001", "/limit"),
        ("limit=abc", "/limit"),
        ("status=gone", "/status"),
        ("colour=red", "/colour"),
        ("cursor=abc", "/cursor"),
        ("sort=id;drop", "/sort"),
        ("createdAfter=yesterday", "/createdAfter"),
        ("createdAfter=2026-01-01T00:00:00", "/createdAfter"),
        ("createdAfter=0", "/createdAfter"),
        ("createdAfter=2026-01-01T00:00:00+01:00", "/createdAfter"),
        ("createdAfter=9999-12-31T23:59:59-14:00", "/createdAfter"),
        ("createdBefore=0001-01-01T00:00:00%2B14:00", "/createdBefore"),
        ("idStart=6b5", "/idStart"),
        ("idStart=6b52%25", "/idStart"),
        ("attemptFrom=one", "/attemptFrom"),
        ("priorityTo=2147483648", "/priorityTo"),
        ("payload=to", "/payload"),
        ('payload=to":1', "/payload"),
        ("payload=..:x", "/payload"),
    ],
)
def test_a_wrong_query_is_refused_by_name(sqlite_api: Api, query: str, pointer: str) -> None:
    answer = sqlite_api.get(f"?{query}", 422)

    assert [error["pointer"] for error in answer["errors"]] == [pointer]
    assert "Value error" not in answer["errors"][0]["detail"]


# -- one job -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("I10")
def test_a_job_is_shown_with_its_arguments_by_name_and_without_secrets(api: Api) -> None:
    with api.site.app.app_context():
        message = api.actors["work"].send_with_options(args=("a@b.c",), kwargs={"token": "hunter2"}, tenant="acme")

    job = api.get(f"/{message.message_id}")

    assert job["payload"] == {"to": "a@b.c", "token": "***"}
    assert (job["type"], job["queue"], job["state"], job["attemptsMade"]) == ("work", "email", "waiting", 0)
    assert job["createdAt"].endswith("Z")


def test_payload_and_result_are_for_those_who_may_see_them(api: Api) -> None:
    id = api.send("a@b.c")
    api.site.worker.run(id)

    assert api.get(f"/{id}")["result"] == "done for a@b.c"
    shown = api.as_(scopes="read").get(f"/{id}")
    assert (shown["payload"], shown["result"]) == (None, None)


@pytest.mark.requirement("P03", "P04")
def test_somebody_elses_job_is_not_there(api: Api) -> None:
    id = api.send("a@b.c", tenant="other")

    theirs = api("GET", f"/{id}")
    unknown = api("GET", "/00000000-0000-0000-0000-000000000000")

    assert theirs.status_code == unknown.status_code == 404
    assert theirs.json["detail"] == unknown.json["detail"]
    assert ids(api.get("")) == []
    assert api.as_(scopes="read tenants").get(f"/{id}")["tenant"] == "other"
    assert ids(api.as_(scopes="read tenants").get("")) == [id]
    assert ids(api.as_(scopes="read tenants").get("?tenant=acme")) == []
    api.get("?tenant=other", 403)


def test_a_job_can_be_waited_for(api: Api) -> None:
    id = api.send("a@b.c")
    api.site.worker.run(id)

    assert api.get(f"/{id}?wait=30")["state"] == "completed"
    assert api.get(f"/{api.send('x')}?wait=0.1")["state"] == "waiting"
    api.get(f"/{id}?wait=31", 422)


def test_an_unchanged_job_is_not_sent_again(api: Api) -> None:
    id = api.send("a@b.c")
    tag = api("GET", f"/{id}").headers["ETag"]

    assert api("GET", f"/{id}", headers={"If-None-Match": tag}).status_code == 304
    api.site.worker.run(id)
    assert api("GET", f"/{id}", headers={"If-None-Match": tag}).status_code == 200


# -- acting ------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("I11", "O02")
def test_a_failed_job_is_retried(api: Api) -> None:
    id = api.fail()

    assert api.post(f"/{id}/retry")["state"] == "waiting"
    api.post(f"/{id}/retry", 409)
    assert api.site.job(id).state == "waiting"


@pytest.mark.requirement("O03")
def test_a_replay_is_a_new_job(api: Api) -> None:
    id = api.fail("first")

    new = api.post(f"/{id}/replay", 202)
    other = api.post(f"/{id}/replay", 202, json={"payload": {"text": "second"}})

    assert new["replayOf"] == other["replayOf"] == id
    assert new["id"] != id
    assert api.site.job(new["id"]).args == ["first"]
    assert api.site.job(other["id"]).kwargs == {"text": "second"}
    assert api.site.job(id).state == "failed"
    api.post(f"/{id}/replay", 422, json={"payload": {"colour": "red"}})


@pytest.mark.requirement("O04")
def test_a_job_is_cancelled(api: Api) -> None:
    id = api.send("a@b.c")

    assert api.post(f"/{id}/cancel", json={"reason": "not needed"}) == {"id": id, "outcome": "cancelled"}
    api.post(f"/{id}/cancel", 409)
    assert api.get(f"/{id}")["reason"] == "not needed"


def test_a_running_job_is_asked_to_stop(api: Api) -> None:
    id = api.send("a@b.c")
    api.site.claim(api.site.process(), id)

    assert api.post(f"/{id}/cancel", 202)["outcome"] == "requested"
    assert api.get(f"/{id}")["cancelRequestedAt"] is not None


def test_a_delayed_job_is_made_due(api: Api) -> None:
    id = api.send("a@b.c", delay=3_600_000)

    assert api.post(f"/{id}/run-now")["state"] == "waiting"
    assert api.post(f"/{id}/run-now")["state"] == "waiting"
    api.post(f"/{api.fail()}/run-now", 409)


def test_a_waiting_job_is_amended(api: Api) -> None:
    id = api.send("a@b.c", 7)
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()

    changed = api.patch(f"/{id}", json={"priority": 1, "runAt": later, "payload": {"to": "x@y.z"}})

    assert (changed["priority"], changed["state"], changed["payload"]) == (1, "delayed", {"to": "x@y.z"})
    assert api.patch(f"/{id}", json={"queue": "reports"})["queue"] == "reports"
    api.patch(f"/{id}", 422, json={"queue": "nowhere"})
    api.patch(f"/{id}", 422, json={"payload": {"colour": 1}})
    api.patch(f"/{id}", 422, json={"priority": 10**9})
    api.patch(f"/{api.fail()}", 409, json={"priority": 1})


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"priority": None},
        {"runAt": "9999-12-31T23:59:59Z"},
        {"runAt": "9999-12-31T23:59:59-14:00"},
        {"runAt": "0001-01-01T00:00:00+14:00"},
        {"runAt": "1795538191"},
        {"runAt": "0001-01-01T00:00:00Z"},
        {"runAt": "2001-05-01T00:00:00Z", "priority": 1},
    ],
)
def test_a_change_that_cannot_be_changes_nothing(sqlite_api: Api, change: dict[str, Any]) -> None:
    id = sqlite_api.send("a@b.c")

    sqlite_api.patch(f"/{id}", 422, json=change)

    assert sqlite_api.get(f"/{id}")["state"] == "waiting"
    assert [line["kind"] for line in sqlite_api.get(f"/{id}/logs")["data"]] == []


def test_a_time_that_has_just_passed_means_now(api: Api) -> None:
    id = api.send("a@b.c", delay=60_000)
    before = datetime.now(UTC)

    changed = api.patch(f"/{id}", json={"runAt": (before - timedelta(seconds=20)).isoformat()})

    assert changed["state"] == "waiting"
    assert datetime.fromisoformat(changed["runAt"]) > before - timedelta(seconds=15)


def test_a_time_that_has_long_passed_is_refused_and_says_what_to_do(sqlite_api: Api) -> None:
    id = sqlite_api.send("a@b.c", delay=60_000)

    said = sqlite_api.patch(f"/{id}", 422, json={"runAt": "2001-05-01T00:00:00Z"})["detail"]

    assert "2001-05-01T00:00:00+00:00, which has passed" in said and "run now" in said
    assert sqlite_api.get(f"/{id}")["state"] == "delayed"


OWN = {
    "to": {"password": "pw77", "lines": [{"api_key": "k1"}, "eyJhbGciOiJI.eyJzdWIiOiIx.c2ln"]},
    "n": 1,
    "token": "REAL",
}


def _ordered(caller: Api, **options: Any) -> str:
    @caller.site.jobs.actor(queue_name="email", actor_name="order", **options)
    def order(to: dict[str, Any], n: int = 0, token: str = "") -> None:
        """Takes what it gets."""

    caller.actors["order"] = order
    return caller.send(*OWN.values(), actor="order")


def test_arguments_that_come_back_as_shown_stay_as_they_are(api: Api) -> None:
    id = _ordered(api)
    seen = api.get(f"/{id}")["payload"]
    assert (seen["token"], seen["to"]["password"]) == ("***", "***")

    api.patch(f"/{id}", json={"payload": dict(reversed(seen.items())), "priority": 3})
    new = api.post(f"/{id}/replay", 202, json={"payload": seen})["id"]

    assert api.site.job(id).kwargs == api.site.job(new).kwargs == OWN
    assert [line["detail"]["arguments"] for line in api.get("/audit")["data"]] == [[], []]


@pytest.mark.parametrize(
    "change",
    [
        {"n": 2},
        {"to": {"password": "***", "lines": []}, "token": "new"},
        {"to": {"password": "new", "lines": [{"api_key": "new"}, "***"]}, "token": "new"},
        {"token": "new"},
        {"to": {}},
        {"to": None},
        {"n": True},
    ],
    ids=["shown", "nested", "text", "secret", "dropped", "none", "type"],
)
def test_what_is_withheld_is_not_kept_beside_a_change(sqlite_api: Api, change: dict[str, Any]) -> None:
    """Whoever sees no secret could have it sent to somebody else."""
    id = _ordered(sqlite_api, api=True)
    payload = {**sqlite_api.get(f"/{id}")["payload"], **change}

    for method, path in (("PATCH", f"/{id}"), ("POST", f"/{id}/replay")):
        refused = sqlite_api(method, path, json={"payload": payload})
        assert (refused.status_code, "give the value anew" in refused.json["detail"]) == (422, True), refused.text
        assert "payload." in refused.json["detail"]

    assert [job.id for job in sqlite_api.site.all_jobs()] == [id]
    assert sqlite_api.site.job(id).args == list(OWN.values())
    assert sqlite_api.get("/audit")["data"] == []


def test_arguments_are_given_anew_and_the_audit_names_them(api: Api) -> None:
    id = _ordered(api, api=True)
    anew = {"to": {"note": "*** rated"}, "token": "NEW"}

    new = api.post(f"/{id}/replay", 202, json={"payload": {**anew, "n": 1}})["id"]
    api.patch(f"/{id}", json={"payload": anew})

    assert (api.site.job(id).kwargs, api.site.job(new).kwargs) == (anew, {**anew, "n": 1})
    amended, replayed = api.get("/audit")["data"]
    assert amended["detail"] == {"changes": ["payload"], "arguments": ["n", "to", "token"]}
    assert replayed["detail"] == {"replayed_as": new, "arguments": ["to", "token"]}


def test_what_the_api_may_not_send_is_repeated_but_not_changed(api: Api) -> None:
    id = _ordered(api)

    for method, path in (("PATCH", f"/{id}"), ("POST", f"/{id}/replay")):
        refused = api(method, path, json={"payload": {"to": {}}})
        assert refused.status_code == 403
        assert "'order' cannot be sent through the API" in refused.json["detail"]

    assert api.site.job(id).args == list(OWN.values())
    new = api.post(f"/{id}/replay", 202)["id"]
    assert api.site.job(new).args == list(OWN.values())


def test_stars_that_withhold_nothing_are_a_text(sqlite_api: Api) -> None:
    id = sqlite_api.send("***")

    assert sqlite_api.patch(f"/{id}", json={"payload": {"to": "***", "n": 2}})["payload"] == {"to": "***", "n": 2}
    other = sqlite_api.send("a@b.c")
    assert "payload.to" in sqlite_api.patch(f"/{other}", 422, json={"payload": {"to": "***"}})["detail"]


@pytest.mark.requirement("I12")
def test_a_job_is_removed(api: Api) -> None:
    waiting, failed, running = api.send("a"), api.fail(), api.send("b")
    api.site.claim(api.site.process(), running)

    api.delete(f"/{waiting}")
    api.delete(f"/{failed}")
    api.delete(f"/{running}", 409)
    assert api.delete(f"/{running}?force=cancel", 202)["outcome"] == "requested"

    assert [job.id for job in api.site.all_jobs()] == [running]
    api.delete(f"/{waiting}", 404)


def test_what_was_done_stands_in_the_audit(api: Api) -> None:
    id = api.fail()
    api.post(f"/{id}/retry")
    api.post(f"/{id}/retry", 409)

    with api.site.db_session() as session:
        from flask_understudy.ledger import AuditLine

        lines = [(line.subject, line.action, line.target) for line in session.query(AuditLine)]
    assert lines == [("olga", "job.retry", id)]
