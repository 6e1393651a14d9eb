"""Workflows over HTTP: their runs, step by step, and what can be done to one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flask_understudy import current_job, step
from tests.flask_understudy.rest.conftest import Api
from tests.flask_understudy.steps.test_waiting import LeaveApproved


@pytest.fixture
def flows(api: Api) -> Api:
    """The API of a site with a workflow."""

    @api.site.jobs.actor(queue_name="email", actor_name="leave:ask", workflow=True, api=True, max_retries=0)
    def ask(employee_id: int, password: str = "") -> Any:
        step.run("note", lambda: {"token": "s3cret", "n": current_job.fence})
        event = step.wait_for("approval", LeaveApproved, match={"employee_id": employee_id}, timeout=timedelta(days=3))
        return event and event.by

    api.actors["ask"] = ask
    return api


def started(api: Api, **payload: Any) -> str:
    run = api.post("/workflows/leave:ask/runs", 202, json={"payload": payload})
    assert run["steps"] == []
    api.site.worker.run(run["id"])
    return str(run["id"])


@pytest.mark.requirement("B14", "L09")
def test_a_run_is_started_shown_step_by_step_and_signalled(flows: Api) -> None:
    assert [w["name"] for w in flows.get("/workflows")["data"]] == ["leave:ask"]
    id = started(flows, employee_id=7, password="hidden")

    run = flows.get(f"/workflows/runs/{id}")
    assert (run["state"], run["payload"]["password"]) == ("delayed", "***")
    note, approval = run["steps"]
    assert (note["name"], note["kind"], note["state"], note["result"]) == (
        "note", "run", "completed", {"token": "***", "n": 1},
    )  # fmt: skip
    assert (approval["name"], approval["kind"], approval["state"]) == ("approval", "wait", "waiting")
    assert approval["waitsFor"] == {"event": "leave.signed", "match": {"employee_id": 7}, "eventId": None}
    assert approval["wakeAt"] > approval["startedAt"]

    signalled = flows.post(f"/workflows/runs/{id}/signal", json={"payload": {"by": "Ann"}})

    assert signalled["state"] == "waiting"
    assert signalled["steps"][1]["result"] == {"employee_id": 7, "by": "Ann"}
    assert flows.site.worker.run(id).result == "Ann"
    again = flows.post(f"/workflows/runs/{id}/signal", 409, json={"payload": {}})
    assert "is completed and waits for no event" in again["detail"]


def test_a_run_with_arguments_of_other_types_is_not_started(flows: Api) -> None:
    said = flows.post("/workflows/leave:ask/runs", 422, json={"payload": {"employee_id": "x"}})

    assert "employee_id: Input should be a valid integer" in said["detail"]
    assert flows.site.all_jobs() == []


def test_results_need_the_permission_to_see_payloads(flows: Api) -> None:
    id = started(flows, employee_id=7)

    steps = flows.as_(scopes="read").get(f"/workflows/runs/{id}")["steps"]

    assert [s["result"] for s in steps] == [None, None]
    assert steps[1]["waitsFor"]["match"] is None


def test_runs_are_counted_by_state_at_a_glance(flows: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    @flows.site.jobs.actor(queue_name="email", actor_name="leave:fail", workflow=True, api=True, max_retries=0)
    def fail() -> None:
        raise ValueError("no")

    asked = [started(flows, employee_id=n) for n in range(3)]
    flows.site.worker.run(flows.post("/workflows/leave:fail/runs", 202, json={})["id"])
    flows.fail("no workflow"), flows.send("no workflow", delay=60_000)
    flows.post(f"/{asked[0]}/cancel")

    def counts(caller: Api = flows, query: str = "") -> dict[str, tuple[int, bool]]:
        told = caller.get(f"/workflows/runs/counts{query}")["data"]
        assert list(told) == ["delayed", "waiting", "active", "completed", "failed", "cancelled"]
        return {
            name: (one["count"], one["isExact"]) for name, one in told.items() if one != {"count": 0, "isExact": True}
        }

    assert counts() == {"delayed": (2, True), "failed": (1, True), "cancelled": (1, True)}
    assert counts(query="?name=leave:fail") == {"failed": (1, True)}
    assert counts(query="?name=work") == counts(flows.as_(tenant="other")) == {}
    monkeypatch.setattr("flask_understudy.rest.run_counts.MOST", 1)
    assert counts()["delayed"] == (1, False)
    monkeypatch.setattr("flask_understudy.rest.run_counts.SCAN", 1)  # the latest delayed job is no run
    assert counts()["delayed"] == (0, False)


@pytest.mark.requirement("P03")
def test_another_tenant_s_runs_are_not_there(flows: Api) -> None:
    id = started(flows, employee_id=7)
    other = flows.as_(tenant="other")

    assert other.get("/workflows/runs")["data"] == []
    other.get(f"/workflows/runs/{id}", 404)
    for verb in ("cancel", "rerun", "signal"):
        other.post(f"/workflows/runs/{id}/{verb}", 404, json={})
    assert flows.site.job(id).state == "delayed"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"payload": {"employee_id": 8}}, 422, "the job waits for 7"),
        ({"step": "note"}, 409, "waits for no event in step 'note'"),
        ({"payload": [1]}, 422, "see 'errors'"),
        ({"payload": {"by": "x" * 300_000}}, 413, ""),
    ],
)
def test_a_signal_that_does_not_fit_is_refused(flows: Api, body: Any, status: int, says: str) -> None:
    id = started(flows, employee_id=7)

    assert says in flows.post(f"/workflows/runs/{id}/signal", status, json=body)["detail"]
    assert flows.site.job(id).state == "delayed"


def test_a_signal_is_held_against_the_event_s_class(flows: Api) -> None:
    id = started(flows, employee_id=7)

    wrong = flows.post(f"/workflows/runs/{id}/signal", 422, json={"payload": {"by": 7}})

    assert "by: Input should be a valid string, says the event leave.signed" in wrong["detail"]


def test_a_run_is_done_again_from_a_step_on(flows: Api) -> None:
    id = started(flows, employee_id=7)
    flows.post(f"/workflows/runs/{id}/signal", json={"payload": {"by": "Ann"}})
    flows.site.worker.run(id)

    again = flows.post(f"/workflows/runs/{id}/rerun", 202, json={"fromStep": "approval"})

    assert again["replayOf"] == id
    assert [s["name"] for s in again["steps"]] == ["note"]
    assert flows.site.worker.run(again["id"]).state == "delayed"  # Ann's word was for the other run
    assert [s["name"] for s in flows.get(f"/workflows/runs/{again['id']}")["steps"]] == ["note", "approval"]
    whole = flows.post(f"/workflows/runs/{id}/rerun", 202)
    assert whole["steps"] == []
    unknown = flows.post(f"/workflows/runs/{id}/rerun", 422, json={"fromStep": "no such"})
    assert "the job's steps are note, approval" in unknown["detail"]


def test_runs_are_listed_by_name_and_state_a_page_at_a_time(flows: Api) -> None:
    ids = [started(flows, employee_id=n) for n in range(3)]
    flows.send("no workflow")
    flows.post(f"/workflows/runs/{ids[0]}/cancel", json={"reason": "not needed"})

    first = flows.get("/workflows/runs?limit=2")
    rest = flows.get(f"/workflows/runs?limit=2&cursor={first['nextCursor']}")

    assert [j["id"] for j in first["data"] + rest["data"]] == ids[::-1]
    assert rest["nextCursor"] is None
    assert [j["id"] for j in flows.get("/workflows/runs?status=cancelled")["data"]] == [ids[0]]
    assert flows.get("/workflows/runs?name=other")["data"] == []


def test_what_is_no_workflow_cannot_be_started_as_one(flows: Api) -> None:
    flows.post("/workflows/work/runs", 404, json={})
    flows.post("/workflows/leave:ask/runs", 422, json={"payload": {"nobody": 7}})


def test_approvals_are_listed_and_decided_once(flows: Api) -> None:
    @flows.site.jobs.actor(queue_name="email", actor_name="pay", max_retries=0)
    def pay() -> list[Any]:
        decision = step.approve("manager", prompt="Pay?", to="ann")
        return [decision.state, decision.by, decision.comment]

    flows.actors["pay"] = pay
    ids = [flows.send(actor="pay") for _ in range(3)]
    for id in ids:
        flows.site.worker.run(id)

    first = flows.get("/approvals?limit=2")
    rest = flows.get(f"/approvals?limit=2&cursor={first['nextCursor']}")
    found = {a["jobId"]: a for a in first["data"] + rest["data"]}
    assert sorted(found) == sorted(ids)
    assert {(a["prompt"], a["to"], a["step"], a["state"]) for a in found.values()} == {
        ("Pay?", "ann", "manager", "pending")
    }
    approval = found[ids[0]]["id"]

    flows.as_(scopes="read").post(f"/approvals/{approval}/approve", 403)
    decided = flows.post(f"/approvals/{approval}/reject", json={"comment": "too much"})
    assert (decided["state"], decided["decidedBy"]) == ("rejected", "olga")
    again = flows.post(f"/approvals/{approval}/approve", 409)
    assert "This was rejected already, by olga." in again["detail"]
    assert flows.site.worker.run(ids[0]).result == ["rejected", "olga", "too much"]
    assert len(flows.get("/approvals")["data"]) == 2
    assert [a["id"] for a in flows.get("/approvals?state=rejected")["data"]] == [approval]
    assert len(flows.get("/approvals?state=all")["data"]) == 3
    flows.get("/approvals?state=maybe", 422)
    assert flows.as_(tenant="other").get("/approvals?state=all")["data"] == []
