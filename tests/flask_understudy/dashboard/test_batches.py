"""Batches: how far they are, what failed in them, and acting on all of one; and what a job's page leads to."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flask_understudy import step
from tests.flask_understudy.dashboard.conftest import PREFIX, Person, fields_of, signed_in
from tests.flask_understudy.dashboard.test_jobs import audited, listed
from tests.flask_understudy.dashboard.test_pages import HOSTILE
from tests.flask_understudy.rest.conftest import Api
from tests.flask_understudy.rest.test_batches import order
from tests.flask_understudy.rest.test_events import listen


def sent(api: Api, n: int = 2, broken: int = 1, **more: Any) -> str:
    body = order(n, **{"name": "Letters", **more})
    body["jobs"] += [{"type": "broken"}] * broken
    return str(api.post("/batches", 202, json=body)["id"])


def failed_of(api: Api, id: str) -> list[str]:
    return [job["id"] for job in api.get(f"/batches/{id}/failures")["data"]]


def test_without_batches_the_page_says_how_to_send_one(olga: Person) -> None:
    assert "jobs.batch" in olga.see("/batches")


@pytest.mark.requirement("A12", "L01")
def test_a_batch_shows_how_far_it_is_and_what_failed(olga: Person) -> None:
    id = sent(olga.api)
    page = olga.see("/batches")
    assert "Letters" in page and "state-running" in page and 'value="0"' in page
    assert "None of its jobs has failed." in olga.see(f"/batches/{id}")

    olga.site.worker.drain()

    assert "state-failed" in olga.see("/batches") and 'value="100"' in olga.see("/batches")
    page = olga.see(f"/batches/{id}")
    assert "100 % of 3 jobs" in page
    assert "<strong>2</strong> completed" in page and "<strong>1</strong> failed" in page
    assert listed(page) == failed_of(olga.api, id) and "ValueError: boom 1" in page


def test_its_jobs_are_found_by_state(olga: Person) -> None:
    id = sent(olga.api)
    olga.api.send("another")
    olga.site.worker.drain()
    links = re.findall(r'href="([^"]*status=(\w+)[^"]*)"', olga.see(f"/batches/{id}"))
    found = {name: set(listed(olga.see(link.removeprefix(PREFIX).replace("&amp;", "&")))) for link, name in links}
    assert found.pop("failed") == set(failed_of(olga.api, id))
    assert len(found.pop("completed")) == 2
    assert set().union(*found.values()) == set()


@pytest.mark.requirement("A12", "O01")
def test_failed_jobs_are_retried_together(olga: Person) -> None:
    id = sent(olga.api, broken=2)
    olga.site.worker.drain()
    failed = failed_of(olga.api, id)
    olga.press(olga.see("/batches"), "retry_batch")
    assert "2 jobs retried." in olga.see("/batches")
    assert {olga.site.job(job).state for job in failed} == {"waiting"}
    assert audited(olga.api)[-1] == ("batch.retry", id)


@pytest.mark.requirement("O03")
def test_the_rest_is_cancelled_after_a_question(olga: Person) -> None:
    id = sent(olga.api, broken=0)
    asked = olga.press(olga.see(f"/batches/{id}"), "cancel_batch", 200)
    assert olga.api.get(f"/batches/{id}")["state"] == "running"
    olga.press(asked.text, "cancel_batch")
    page = olga.see(f"/batches/{id}")
    assert "2 jobs cancelled." in page and "state-cancelled" in page and "/do/cancel_batch" not in page
    assert audited(olga.api)[-1] == ("batch.cancel", id)


def test_batches_lead_on(sqlite_api: Api) -> None:
    olga = signed_in(sqlite_api)
    ids = [sent(sqlite_api, 0, 0) for _ in range(51)]
    first = olga.see("/batches")
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following is not None
    second = olga.see(following[1].replace("&amp;", "&").removeprefix(PREFIX))
    assert sorted(re.findall(rf'href="{PREFIX}/batches/([0-9a-f-]{{36}})"', first + second)) == sorted(ids)


@pytest.mark.requirement("P03", "P04")
def test_another_tenant_sees_and_does_nothing(api: Api) -> None:
    id = sent(api)
    eve = signed_in(api, tenant="birch")
    assert "Letters" not in eve.see("/batches")
    eve.see(f"/batches/{id}", 404)
    assert listed(eve.see(f"/jobs?q=batch:{id}")) == []
    eve.send("/do/cancel_batch", {"csrf": eve.csrf(), "batch_id": id, "confirmed": "yes"})
    assert api.get(f"/batches/{id}")["state"] == "running"


def test_who_may_not_act_has_no_buttons_and_is_refused(api: Api) -> None:
    id = sent(api)
    api.site.worker.drain()
    reader = signed_in(api, "read payload")
    for path in ("/batches", f"/batches/{id}"):
        assert "/do/" not in reader.see(path)
    csrf = fields_of(reader.see(""))["csrf"]
    reader.send("/do/retry_batch", {"csrf": csrf, "batch_id": id}, 403)
    assert len(failed_of(api, id)) == 1


def test_hostile_texts_are_shown_and_do_nothing(olga: Person) -> None:
    id = sent(olga.api, name=HOSTILE)
    for path in ("/batches", f"/batches/{id}"):
        page = olga.see(path)
        assert "&lt;script&gt;" in page and "<script>alert" not in page and ">49<" not in page


@pytest.mark.requirement("L03", "L09")
def test_a_job_leads_to_its_batch_event_schedule_and_steps(operator: Person) -> None:
    api = operator.api
    listen(api)

    @api.site.jobs.actor(queue_name="email", actor_name="stepped")
    def stepped() -> None:
        step.run("one", lambda: 1)

    api.actors["stepped"] = stepped
    batch = sent(api, 1, 0)
    event = api.post("/events", 202, json={"name": "parcel.sent", "payload": {"parcel_id": 1}})
    api.post("/schedules", 201, json={"name": "digest", "type": "work", "schedule": "@daily"})
    scheduled = api.post("/schedules/digest/run", 202)["jobId"]
    run = api.send(actor="stepped")
    operator.site.worker.run(run)
    [in_batch] = [job.id for job in operator.site.all_jobs() if job.batch_id == batch]

    for job, target in {
        in_batch: f"/batches/{batch}",
        event["jobs"][0]: f"/events/{event['id']}",
        scheduled: "/schedules/digest?tenant=acme",
        run: f"/runs/{run}",
    }.items():
        page = operator.see(f"/jobs/{job}")
        assert f'href="{PREFIX}{target}"' in page
        operator.see(target)
    plain = operator.see(f"/jobs/{api.send('x')}").partition("<h2>Facts</h2>")[2]
    assert not re.search(rf'href="{PREFIX}/(batches|events|schedules|runs)/', plain)
