"""Workflows and approvals from the command line."""

from __future__ import annotations

from typing import Any

import pytest

from flask_understudy import step
from tests.flask_understudy.cli.conftest import Typist
from tests.flask_understudy.steps.test_waiting import LeaveApproved


@pytest.fixture
def flow(cli: Typist) -> str:
    """A run that waits for an event."""

    @cli.site.jobs.actor(actor_name="leave:ask", workflow=True, max_retries=0)
    def ask(employee_id: int) -> Any:
        step.run("note", lambda: {"token": "s3cret"})
        event = step.wait_for("approval", LeaveApproved, match={"employee_id": employee_id})
        return event and event.by

    message = ask.send(7)
    cli.site.worker.run(message)
    return str(message.message_id)


@pytest.mark.requirement("B14")
def test_runs_are_listed_and_shown_step_by_step(cli: Typist, flow: str) -> None:
    assert [run["id"] for run in cli("workflows", "list", "--json").json["data"]] == [flow]
    assert "leave:ask" in cli("workflows", "list").out
    assert "There is no run" in cli("workflows", "list", "--name", "other").out

    note, approval = cli("workflows", "show", flow, "--json").json["steps"]
    assert (note["name"], note["state"], note["result"]) == ("note", "completed", {"token": "***"})
    assert (approval["state"], approval["waitsFor"]["event"]) == ("waiting", "leave.signed")
    assert "leave.signed, in 6d" in cli("workflows", "show", flow).out


def test_a_run_is_signalled_and_done_again(cli: Typist, flow: str) -> None:
    cli("workflows", "signal", flow, "--payload", '{"by": "Ann"}')
    assert cli.site.worker.run(flow).result == "Ann"

    again = cli("workflows", "rerun", flow, "--from", "approval", "--json").json

    assert again["replayOf"] == flow
    assert [s["name"] for s in cli("workflows", "show", again["id"], "--json").json["steps"]] == ["note"]
    assert [action for action, _ in cli.audit()] == ["workflow.rerun", "workflow.signal"]


def test_what_makes_no_sense_is_refused(cli: Typist, flow: str) -> None:
    assert "no JSON" in cli.fails("workflows", "signal", flow, "--payload", "{", code=2)
    assert "no JSON object" in cli.fails("workflows", "signal", flow, "--payload", "[]", code=2)
    assert "the job waits for 7" in cli.fails("workflows", "signal", flow, "--payload", '{"employee_id": 8}', code=2)
    assert "waits for no event" in cli.fails("workflows", "signal", flow, "--step", "note", code=1)
    assert "the job's steps are" in cli.fails("workflows", "rerun", flow, "--from", "nowhere", code=2)
    for command in (("show",), ("rerun",), ("signal",)):
        cli.fails("workflows", *command, "nobody", code=4)
    cli.fails("approvals", "approve", "nobody", code=4)
    assert cli.audit() == []


def test_approvals_are_listed_and_decided(cli: Typist) -> None:
    @cli.site.jobs.actor(max_retries=0)
    def pay() -> str:
        return step.approve("manager", prompt="Pay?", to="ann").state

    assert "Nothing waits" in cli("approvals").out
    messages = [pay.send(), pay.send()]
    for message in messages:
        cli.site.worker.run(message)
    found = {a["jobId"]: a["id"] for a in cli("approvals", "--json").json["data"]}
    assert "Pay?" in cli("approvals").out

    cli("approvals", "approve", found[messages[0].message_id])
    cli("approvals", "reject", found[messages[1].message_id], "--comment", "too much")

    assert [cli.site.worker.run(m).result for m in messages] == ["approved", "rejected"]
    assert "already" in cli.fails("approvals", "approve", found[messages[1].message_id], code=1)
