"""Workflows: deciding what waits for a person, following a run step by step, and doing it again."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_understudy import step
from flask_understudy.dashboard.waterfall import NARROWEST, WIDTH, waterfall
from flask_understudy.rest.workflows import RunShape
from tests.flask_understudy.dashboard.conftest import PREFIX, Person, fields_of, signed_in
from tests.flask_understudy.dashboard.test_jobs import audited
from tests.flask_understudy.dashboard.test_pages import HOSTILE
from tests.flask_understudy.rest.conftest import Api
from tests.flask_understudy.steps.test_waiting import LeaveApproved


@pytest.fixture
def olga(api: Api) -> Person:
    """Somebody who may do everything within her organisation, at a site with workflows."""
    jobs = api.site.jobs

    @jobs.actor(queue_name="email", actor_name="leave:ask", workflow=True, api=True, max_retries=0)
    def ask(employee_id: int, prompt: str = "Three days off?", password: str = "") -> Any:
        """Ask for a leave."""
        step.run("note", lambda: {"token": "s3cret", "days": 3})
        decision = step.approve("manager", prompt=prompt, to="ann")
        return [decision.state, decision.comment]

    @jobs.actor(queue_name="email", actor_name="leave:sign", workflow=True, api=True, max_retries=0)
    def sign(employee_id: int) -> Any:
        event = step.wait_for("signed", LeaveApproved, match={"employee_id": employee_id}, timeout=timedelta(days=3))
        return event and event.by

    @jobs.actor(queue_name="email", actor_name="leave:fail", workflow=True, api=True, max_retries=0)
    def fail() -> None:
        step.run("first", lambda: 1)
        step.run("second", lambda: 1 / 0)

    return signed_in(api)


def started(olga: Person, name: str = "leave:ask", **payload: Any) -> str:
    id = str(olga.api.post(f"/workflows/{name}/runs", 202, json={"payload": payload})["id"])
    olga.site.worker.run(id)
    return id


def test_without_workflows_the_page_says_how_to_make_one(sqlite_api: Api) -> None:
    page = signed_in(sqlite_api).see("/workflows")
    assert "workflow=True" in page and "Nothing waits for a decision." in page


@pytest.mark.requirement("B14", "L01")
def test_a_run_is_shown_step_by_step_with_results_and_arguments(olga: Person) -> None:
    id = started(olga, employee_id=7, password="swordfish")
    assert f'href="{PREFIX}/runs/{id}"' in olga.see("/workflows")

    page = olga.see(f"/runs/{id}")

    assert re.findall(r'<rect class="(step-\w+)"', page) == ["step-completed", "step-waiting"]
    assert "note <small>run</small>" in page and "manager <small>approval</small>" in page
    assert "&#34;days&#34;: 3" in page and "&#34;employee_id&#34;: 7" in page
    assert "s3cret" not in page and "swordfish" not in page
    assert "manager waits for a decision" in page and "Three days off?" in page


@pytest.mark.requirement("O01")
@pytest.mark.parametrize("where", ["/workflows", "/runs/{id}"])
@pytest.mark.parametrize(("door", "state"), [("approve", "approved"), ("reject", "rejected")])
def test_what_waits_for_a_person_is_decided_with_a_comment(olga: Person, where: str, door: str, state: str) -> None:
    id = started(olga, employee_id=7)
    page = olga.see(where.format(id=id))
    assert "Three days off?" in page and "Asked of <bdi>ann</bdi>" in page

    fields = fields_of(page.partition('/do/approve"')[2].partition("</form>")[0])
    olga.send(f"/do/{door}", {**fields, "comment": "well then"})

    assert f"It is {state}; the job goes on." in olga.see("/workflows")
    assert "Three days off?" not in olga.see("/workflows")
    decided = olga.see(f"/workflows?decision={state}")
    assert "well then" in decided and "Decided by <bdi>olga</bdi>" in decided
    assert olga.site.worker.run(id).result == [state, "well then"]
    assert "well then" in olga.see(f"/runs/{id}")
    assert audited(olga.api)[-1] == (f"approval.{door}", fields["approval_id"])

    olga.send(f"/do/{door}", fields)
    assert "already, by olga" in olga.see("/workflows")


@pytest.mark.requirement("B14")
def test_runs_are_found_by_state_and_by_workflow(olga: Person) -> None:
    asked, failed = started(olga, employee_id=7), started(olga, "leave:fail")

    def listed(query: str) -> set[str]:
        found = olga.see(f"/workflows?{query}").partition("<h2>Runs</h2>")[2]
        return set(re.findall(rf'href="{PREFIX}/runs/([0-9a-f-]{{36}})"', found))

    assert listed("") == {asked, failed}
    tabs = re.findall(r">(\w+) <small>([^<]+)</small></a>", olga.see("/workflows?status=failed"))
    assert {name: n for name, n in tabs if n != "0"} == {"delayed": "1", "failed": "1"}
    tabs = re.findall(r">(\w+) <small>([^<]+)</small></a>", olga.see("/workflows?name=leave:fail"))
    assert {name: n for name, n in tabs if n != "0"} == {"failed": "1"}
    assert listed("status=failed") == {failed}
    assert listed("status=delayed") == {asked}
    assert listed("name=leave:fail") == {failed}
    assert listed("name=leave:fail&status=delayed") == set()
    assert "ZeroDivisionError: division by zero" in olga.see(f"/runs/{failed}")


@pytest.mark.requirement("B14", "O01")
def test_a_run_is_done_again_from_a_step_and_leads_to_the_new_one(olga: Person) -> None:
    id = started(olga, "leave:fail")
    page = olga.see(f"/runs/{id}")
    answer = olga.press(page, "rerun_run", from_step="second")
    new = answer.headers["Location"].rpartition("/")[2]
    assert new != id and olga.site.job(new).replay_of == id
    shown = olga.see(f"/runs/{new}")
    assert shown.count("taken over from the earlier run") == 1
    assert "This is a new run" in shown.partition("<h1>")[0]
    assert audited(olga.api)[-1] == ("workflow.rerun", id)
    assert f"{PREFIX}/runs/{id}" in shown


def test_a_run_is_started_with_arguments_and_cancelled(olga: Person) -> None:
    page = olga.see("/workflows")
    form = re.search(r"<form(?:(?!</form>).)*leave:ask.*?</form>", page, re.S)
    assert form is not None and 'value="leave:ask"' in form[0]
    answer = olga.send("/do/start_run", {**fields_of(form[0]), "payload:json": '{"employee_id": 9}'})
    id = answer.headers["Location"].rpartition("/")[2]
    assert olga.site.job(id).kwargs["employee_id"] == 9

    asked = olga.press(olga.see(f"/runs/{id}"), "cancel_run", 200)
    olga.press(asked.text, "cancel_run")
    assert olga.site.job(id).state == "cancelled"
    assert "cancel_run" not in olga.see(f"/runs/{id}")
    assert [action for action, _ in audited(olga.api)] == ["workflow.start", "workflow.cancel"]


@pytest.mark.parametrize("payload", ["{", '{"employee_id": "x"}', "[]"])
def test_wrong_arguments_start_nothing_and_are_said(olga: Person, payload: str) -> None:
    csrf = olga.csrf()
    fields = {"csrf": csrf, "type_name": "leave:ask", "payload:json": payload, "next": f"{PREFIX}/workflows"}
    answer = olga.browser.post(f"{PREFIX}/do/start_run", data=fields)
    assert answer.status_code in {303, 422}
    assert 'role="alert"' in olga.see("/workflows") or "no JSON" in answer.text
    assert olga.site.all_jobs() == []


def test_a_run_goes_on_without_its_event(olga: Person) -> None:
    id = started(olga, "leave:sign", employee_id=7)
    page = olga.see(f"/runs/{id}")
    assert "signed waits for the event leave.signed" in page and "&#34;employee_id&#34;: 7" in page
    olga.press(page, "signal_run", **{"payload:json": '{"by": "Ann"}'})
    assert olga.site.worker.run(id).result == "Ann"
    assert audited(olga.api)[-1] == ("workflow.signal", id)


@pytest.mark.requirement("P03", "P04")
def test_another_tenant_sees_and_decides_nothing(olga: Person) -> None:
    id = started(olga, employee_id=7)
    [approval] = olga.api.get("/approvals")["data"]
    eve = signed_in(olga.api, tenant="birch")
    assert "Three days off?" not in eve.see("/workflows") and id not in eve.see("/workflows")
    eve.see(f"/runs/{id}", 404)
    csrf = eve.csrf()
    eve.send("/do/approve", {"csrf": csrf, "approval_id": approval["id"]})
    eve.send("/do/rerun_run", {"csrf": csrf, "job_id": id})
    assert olga.api.get("/approvals")["data"] == [approval]
    assert len(olga.site.all_jobs()) == 1


@pytest.mark.parametrize("scopes", ["read", "read payload"])
def test_who_may_not_act_has_no_buttons_and_is_refused(olga: Person, scopes: str) -> None:
    id = started(olga, employee_id=7)
    [approval] = olga.api.get("/approvals")["data"]
    reader = signed_in(olga.api, scopes)
    for path in ("/workflows", f"/runs/{id}"):
        assert "/do/" not in reader.see(path)
    assert ("&#34;days&#34;" in reader.see(f"/runs/{id}")) == ("payload" in scopes)
    csrf = fields_of(reader.see(""))["csrf"]
    for door, fields in {
        "approve": {"approval_id": approval["id"]},
        "rerun_run": {"job_id": id},
        "signal_run": {"job_id": id},
        "start_run": {"type_name": "leave:ask"},
    }.items():
        reader.send(f"/do/{door}", {"csrf": csrf, **fields}, 403)
    assert olga.api.get("/approvals")["data"] == [approval]


def test_hostile_texts_are_shown_and_do_nothing(olga: Person) -> None:
    id = started(olga, employee_id=7, prompt=HOSTILE)
    for path in ("/workflows", f"/runs/{id}"):
        page = olga.see(path)
        assert "&lt;script&gt;" in page and "<script>alert" not in page and ">49<" not in page


def test_a_job_without_steps_says_so(olga: Person) -> None:
    assert "It has reached no step." in olga.see(f"/runs/{olga.api.send('ada@example.com')}")


def test_bars_lie_where_the_steps_were_in_the_time_of_the_run() -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)

    def at(seconds: float | None) -> datetime | None:
        return None if seconds is None else begin + timedelta(seconds=seconds)

    def reached(name: str, since: float, until: float | None) -> Any:
        known = {"name": name, "started_at": at(since), "finished_at": at(until)}
        return RunShape.model_fields["steps"].annotation.__args__[0].model_construct(**known)  # type: ignore[union-attr]

    spans = [("old", -9, -8), ("first", 0, 25), ("all", 25, 100), ("all/a", 25, 25), ("open", 100, None)]
    run = RunShape.model_construct(created_at=begin, finished_at=at(100), steps=[reached(*each) for each in spans])

    rows = waterfall(run, begin + timedelta(days=1))

    assert [(row.x, row.width) for row in rows] == [
        (0, 0),
        (0, WIDTH / 4),
        (WIDTH / 4, WIDTH * 3 / 4),
        (WIDTH / 4, NARROWEST),
        (WIDTH - NARROWEST, NARROWEST),
    ]
    assert [row.is_taken_over for row in rows] == [True, False, False, False, False]
    assert [row.depth for row in rows] == [0, 0, 0, 1, 0]
    assert rows[1].seconds == 25
