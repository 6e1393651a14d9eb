"""Schedules: seeing when they fire and what became of it, switching them, and making one by a form."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_understudy.clock import declare
from tests.flask_understudy.dashboard.conftest import PREFIX, Person, fields_of, signed_in
from tests.flask_understudy.dashboard.test_jobs import audited
from tests.flask_understudy.dashboard.test_pages import HOSTILE
from tests.flask_understudy.rest.conftest import Api

DIGEST: dict[str, Any] = {"name": "digest", "type": "work", "schedule": "0 9 * * 1-5", "timezone": "America/New_York"}


def register(api: Api, **changed: Any) -> None:
    api.post("/schedules", 201, json={**DIGEST, **changed})


def filled(person: Person, page: str, **fields: str) -> dict[str, str]:
    """The form of a page, filled in."""
    return {**fields_of(page.partition('class="stack"')[2]), **fields}


def test_without_schedules_the_page_says_how_to_make_one(olga: Person) -> None:
    assert "@jobs.schedule" in olga.see("/schedules")
    assert "No job waits for its date." in olga.see("/scheduled")


@pytest.mark.requirement("F05", "F08", "L01")
def test_a_schedule_is_shown_in_words_with_its_next_runs_and_its_last_result(olga: Person) -> None:
    register(olga.api, payload={"to": "ada@example.com"})
    job = olga.api.post("/schedules/digest/run", 202)["jobId"]
    olga.site.worker.run(job)

    listed, shown = olga.see("/schedules"), olga.see("/schedules/digest")

    for page in (listed, shown):
        assert "At 09:00 on Monday through Friday" in page and "America/New_York" in page
        assert "runtime" in page and f'{PREFIX}/jobs/{job}"' in page and "state-completed" in page
    assert "then 4 more" in listed
    coming = olga.api.get("/schedules/digest")["nextRuns"]
    assert len(coming) == 5
    for at in coming:
        assert f'datetime="{at.replace("Z", "+00:00")}"' in shown
    assert "run by hand" in shown and "ada@example.com" in shown


def test_what_is_late_or_could_not_fire_is_marked(olga: Person) -> None:
    register(olga.api)
    assert "overdue" not in olga.see("/schedules") and "could not fire" not in olga.see("/schedules")
    past = olga.site.moment(-600)
    olga.site.execute(f"UPDATE understudy_schedules SET next_run_at = {past}, last_error = 'no actor'")
    assert "overdue" in olga.see("/schedules") and "could not fire" in olga.see("/schedules")
    assert "no actor" in olga.see("/schedules/digest")
    assert "<strong>1</strong> schedules overdue" in olga.see()


@pytest.mark.requirement("F04", "O01")
def test_a_schedule_is_run_switched_and_deleted(olga: Person) -> None:
    register(olga.api)
    olga.press(olga.see("/schedules"), "run_schedule")
    assert [job.tags for job in olga.site.all_jobs()] == [["schedule:digest"]]
    olga.press(olga.see("/schedules"), "disable_schedule")
    assert "disabled" in olga.see("/schedules") and "It is disabled." in olga.see("/schedules/digest")
    olga.press(olga.see("/schedules/digest"), "enable_schedule")
    assert olga.api.get("/schedules/digest")["enabled"] is True

    asked = olga.press(olga.see("/schedules/digest"), "delete_schedule", 200)
    answer = olga.press(asked.text, "delete_schedule")

    assert answer.headers["Location"] == f"{PREFIX}/schedules"
    olga.api.get("/schedules/digest", 404)
    assert audited(olga.api) == [
        ("schedule.register", "digest"),
        ("schedule.run", "digest"),
        ("schedule.disable", "digest"),
        ("schedule.enable", "digest"),
        ("schedule.delete", "digest"),
    ]


@pytest.mark.requirement("F03", "O01")
def test_a_schedule_is_tried_made_and_changed_by_a_form(olga: Person) -> None:
    wanted = {**DIGEST, "payload": '{"to": "ada@example.com", "token": "hush"}', "options": '{"priority": 3}'}
    tried = olga.send("/schedule/save", filled(olga, olga.see("/schedule/new"), **wanted, preview="yes"), 200)
    assert "At 09:00 on Monday through Friday" in tried.text and 'value="0 9 * * 1-5"' in tried.text
    assert olga.api.get("/schedules")["data"] == []

    answer = olga.send("/schedule/save", filled(olga, tried.text, **wanted))
    assert answer.headers["Location"] == f"{PREFIX}/schedules/digest"
    page = olga.see("/schedules/digest/edit")
    assert "hush" not in page and "***" not in page
    changed = {**DIGEST, "schedule": "@hourly", "payload": "", "options": ""}
    olga.send("/schedule/save", filled(olga, page, **changed))

    made = olga.api.get("/schedules/digest")
    assert (made["schedule"], made["options"]) == ("@hourly", {})
    assert made["payload"] == {"to": "ada@example.com", "token": "***"}
    olga.press(olga.see("/schedules"), "run_schedule")
    assert olga.site.all_jobs()[0].kwargs == {"to": "ada@example.com", "token": "hush"}
    assert [action for action, _ in audited(olga.api)] == [
        "schedule.preview",
        "schedule.register",
        "schedule.amend",
        "schedule.run",
    ]


@pytest.mark.requirement("F07")
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"schedule": "every now and then"}, "every now and then"),
        ({"schedule": ""}, "schedule: Field required"),
        ({"timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"payload": "{"}, "payload: that is no JSON."),
        ({"payload": '{"n": "x"}'}, "n: Input should be a valid integer"),
        ({"name": "a/b"}, "a/b"),
        ({"type": "private"}, "cannot be sent through the API"),
        ({"grace_ms": "-1"}, "grace_ms: Input should be greater"),
        ({"name": "taken"}, "There is a schedule &#39;taken&#39; already"),
    ],
)
def test_what_cannot_be_is_said_beside_what_was_typed(sqlite_api: Api, changed: dict[str, str], said: str) -> None:
    olga = signed_in(sqlite_api)
    register(olga.api, name="taken", schedule="@daily")
    form = filled(
        olga, olga.see("/schedule/new"), **{**DIGEST, "name": "mine", "options": '{"priority": 3}', **changed}
    )
    page = olga.send("/schedule/save", form, 422).text
    assert 'role="alert"' in page and said in page
    assert "{&#34;priority&#34;: 3}" in page
    assert [(one["name"], one["schedule"]) for one in olga.api.get("/schedules")["data"]] == [("taken", "@daily")]


@pytest.mark.requirement("F01", "F02")
def test_jobs_for_a_date_are_listed_run_now_and_cancelled(olga: Person) -> None:
    date = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    sent = [olga.api.post("", 202, json={"type": "work", "scheduledFor": date})["id"] for _ in range(2)]
    page = olga.see("/scheduled")
    assert all(f'{PREFIX}/jobs/{id}"' in page for id in sent)

    olga.press(page, "run_job_now", job_id=sent[0])
    asked = olga.press(olga.see("/scheduled"), "cancel_scheduled", 200)
    olga.press(asked.text, "cancel_scheduled")

    assert [olga.site.job(id).state for id in sent] == ["waiting", "cancelled"]
    assert audited(olga.api)[-2:] == [("job.run_now", sent[0]), ("scheduled.cancel", sent[1])]


@pytest.mark.requirement("P03", "P04")
def test_another_tenant_sees_and_changes_nothing(api: Api) -> None:
    register(api)
    eve = signed_in(api, tenant="birch")
    assert "digest" not in eve.see("/schedules")
    eve.see("/schedules/digest", 404)
    eve.see("/schedules/digest?tenant=acme", 403)
    csrf = eve.csrf()
    eve.send("/do/disable_schedule", {"csrf": csrf, "schedule_name": "digest", "tenant:query": "acme"})
    eve.send("/schedule/save?tenant=acme", {"csrf": csrf, "known": "digest", "schedule": "@daily"}, 403)
    shown = api.get("/schedules/digest")
    assert (shown["enabled"], shown["schedule"]) == (True, DIGEST["schedule"])


@pytest.mark.requirement("P05")
def test_an_operator_means_the_tenant_s_schedule_and_not_the_own_one(operator: Person) -> None:
    register(operator.api.as_("birch"))
    register(operator.api)
    page = operator.see("/schedules")
    assert f"{PREFIX}/schedules/digest?tenant=birch" in page
    operator.press(operator.see("/schedules/digest?tenant=birch"), "disable_schedule")
    form = filled(operator, operator.see("/schedules/digest/edit?tenant=birch"), **{**DIGEST, "schedule": "@daily"})
    answer = operator.send("/schedule/save?tenant=birch", form)
    assert answer.headers["Location"] == f"{PREFIX}/schedules/digest?tenant=birch"
    theirs, mine = (operator.api.get(f"/schedules/digest?tenant={tenant}") for tenant in ("birch", "acme"))
    assert (theirs["enabled"], theirs["schedule"]) == (False, "@daily")
    assert (mine["enabled"], mine["schedule"]) == (True, DIGEST["schedule"])


@pytest.mark.parametrize("scopes", ["read", "read payload", "read tenants"])
def test_who_may_not_act_has_no_buttons_and_is_refused(api: Api, scopes: str) -> None:
    register(api)
    reader = signed_in(api, scopes)
    for path in ("/schedules", "/schedules/digest", "/scheduled"):
        page = reader.see(path)
        assert "/do/" not in page and "/schedule/new" not in page and "/edit" not in page
    reader.see("/schedule/new", 403)
    reader.see("/schedules/digest/edit", 403)
    csrf = fields_of(reader.see(""))["csrf"]
    reader.send("/do/disable_schedule", {"csrf": csrf, "schedule_name": "digest"}, 403)
    reader.send("/schedule/save", {"csrf": csrf, **DIGEST, "name": "other"}, 403)
    reader.send("/schedule/save", {"csrf": csrf, "known": "digest", "schedule": "@daily"}, 403)
    assert [one["name"] for one in api.get("/schedules")["data"]] == ["digest"]


def test_what_the_code_declares_cannot_be_changed_here(operator: Person) -> None:
    jobs = operator.site.jobs

    @jobs.schedule("0 9 * * *", name="declared")
    @jobs.actor(queue_name="email")
    def nightly() -> None: ...

    declare(operator.site.state)
    page = operator.see("/schedules/declared?tenant=")
    assert "the code, which alone can change it" in page
    assert "/edit" not in page and "delete_schedule" not in page and "disable_schedule" in page


def test_hostile_texts_are_shown_and_do_nothing(olga: Person) -> None:
    name = HOSTILE.replace("/", "|")[:80]
    register(olga.api, name=name, payload={"to": HOSTILE})
    for path in ("/schedules", f"/schedules/{name}", f"/schedules/{name}/edit"):
        page = olga.browser.get(PREFIX + path.replace("%", "%25")).text
        assert "&lt;script&gt;" in page and "<script>alert" not in page and ">49<" not in page


def test_forms_of_others_make_no_schedule(olga: Person) -> None:
    olga.send("/schedule/save", {"csrf": "forged", **DIGEST}, 403)
    assert olga.api.get("/schedules")["data"] == []
