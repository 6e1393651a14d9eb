"""Schedules from the command line."""

from __future__ import annotations

import json

import pytest

from flask_understudy.clock import declare
from tests.flask_understudy.cli.conftest import Typist

pytestmark = pytest.mark.requirement("F04", "F05")

DIGEST = ("schedules", "register", "digest", "mail:send", "0 9 * * 1-5", "--payload", '{"to": "ada@example.com"}')


def shown(cli: Typist, name: str, *more: str) -> dict[str, object]:
    return cli("schedules", "show", name, *more, "--json").json  # type: ignore[no-any-return]


@pytest.mark.requirement("F03", "K02")
def test_a_schedule_is_registered_and_shown(cli: Typist) -> None:
    said = cli(*DIGEST, "--timezone", "America/New_York", "--overlap", "skip").out
    assert said.startswith("Schedule digest is registered; it fires next in ")
    assert cli(*DIGEST).out.startswith("Schedule digest is as given now")

    found = shown(cli, "digest")

    assert (found["schedule"], found["timezone"], found["overlap"]) == ("0 9 * * 1-5", "UTC", "allow")
    assert (found["description"], found["enabled"], found["slots"]) == ("At 09:00 on Monday through Friday", True, [])
    assert "digest" in cli("schedules").out
    assert [row["name"] for row in cli("schedules", "list", "--json").json["data"]] == ["digest"]
    assert "No slot has come yet." in cli("schedules", "show", "digest").out


def test_it_is_disabled_enabled_and_deleted(cli: Typist) -> None:
    cli(*DIGEST)
    assert cli("schedules", "disable", "digest").out == "Schedule digest is disabled.\n"
    assert shown(cli, "digest")["enabled"] is False
    assert "disabled" in cli("schedules").out
    assert "it fires next in" in cli("schedules", "enable", "digest").out
    assert cli("schedules", "delete", "digest", "--json").json == {"name": "digest", "tenant": ""}
    assert cli("schedules").out.strip() == "There are no schedules."
    assert [action for action, _ in cli.audit()] == [
        "schedule.delete",
        "schedule.enable",
        "schedule.disable",
        "schedule.register",
    ]


def test_it_is_run_at_once(cli: Typist) -> None:
    cli(*DIGEST, "--tenant", "acme")

    id = cli("schedules", "run", "digest", "--tenant", "acme").out.strip()

    job = cli.site.job(id)
    assert (job.actor, job.kwargs, job.tenant, job.tags) == (
        "mail:send",
        {"to": "ada@example.com"},
        "acme",
        ["schedule:digest"],
    )
    [slot] = shown(cli, "digest", "--tenant", "acme")["slots"]  # type: ignore[misc]
    assert (slot["outcome"], slot["jobId"]) == ("by_hand", id)
    assert ("schedule.run", "digest") in cli.audit()


def test_an_expression_is_previewed_in_its_zone(sqlite_cli: Typist) -> None:
    arguments = ("schedules", "preview", "30 2 * * *", "--timezone", "America/New_York", "--n", "2")
    found = sqlite_cli(*arguments, "--after", "2026-03-07T12:00:00Z", "--json").json
    assert found["nextRuns"] == ["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"]
    said = sqlite_cli(*arguments, "--after", "2026-03-07T12:00:00Z").out
    assert "At 02:30 every day (America/New_York)" in said
    assert "Sun 2026-03-08 03:00:00" in said
    assert "It never fires again." in sqlite_cli("schedules", "preview", "2020-01-01T00:00").out


@pytest.mark.requirement("F07")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["preview", "61 * * * *"], "its minute is '61'; it takes 0 to 59"),
        (["preview", "@daily", "--timezone", "Mars/Olympus"], "is no time zone"),
        (["preview", "@daily", "--n", "0"], "0 is not in the range"),
        (["register", "x", "nobody", "@daily"], "No actor is named 'nobody'"),
        (["register", "x", "mail:send", "every 0 days"], "never fires"),
        (["register", "x", "mail:send", "@daily", "--payload", "[1]"], "JSON object"),
        (["register", "x", "mail:send", "@daily"], "The payload does not fit mail:send"),
        (["register", "a/b", "urgent", "@daily"], "no slash"),
        (["register", "x", "urgent", "@daily", "--overlap", "never"], "'never' is not one of"),
        (["register", "x", "urgent", "@daily", "--options", '{"prio": 1}'], "Did you mean 'priority'?"),
    ],
)
def test_nonsense_is_refused_in_one_line(sqlite_cli: Typist, arguments: list[str], said: str) -> None:
    assert said in sqlite_cli.fails("schedules", *arguments, code=2)
    assert sqlite_cli("schedules", "--json").json == {"data": []}


def test_an_unknown_schedule_is_not_found(sqlite_cli: Typist) -> None:
    for verb in ("show", "run", "enable", "disable", "delete"):
        assert "There is no schedule 'nope'." in sqlite_cli.fails("schedules", verb, "nope", code=4)


def test_what_the_code_declares_is_not_deleted(sqlite_cli: Typist) -> None:
    sqlite_cli.site.jobs.schedule("@daily", name="nightly", args=("a@example.com",))(sqlite_cli.mail)
    declare(sqlite_cli.site.state)
    assert "disable it, or drop it from the code" in sqlite_cli.fails("schedules", "delete", "nightly", code=1)
    sqlite_cli("schedules", "disable", "nightly")
    assert shown(sqlite_cli, "nightly")["enabled"] is False


@pytest.mark.requirement("S06")
def test_lint_and_doctor_name_the_schedules_that_cannot_fire(cli: Typist) -> None:
    cli(*DIGEST)
    assert cli("schedules", "lint").out.strip() == "1 schedule can fire."
    kwargs = json.dumps({"nobody": 1})
    cli.site.execute(f"UPDATE understudy_schedules SET kwargs = '{kwargs}'")
    said = cli("schedules", "lint", expect=1)
    assert "1 schedule of 1 cannot fire." in said.err
    assert "The payload does not fit mail:send" in said.out
    doctor = cli("doctor", "--only", "schedules valid", "--json", expect=1).json
    assert "the schedule digest cannot fire" in json.dumps(doctor)


@pytest.mark.requirement("S06")
def test_doctor_names_the_schedules_that_are_late(cli: Typist) -> None:
    cli(*DIGEST)
    cli.site.execute(f"UPDATE understudy_schedules SET next_run_at = {cli.site.moment(-3600)}")
    said = json.dumps(cli("doctor", "--only", "schedules late", "--json").json)
    assert "should have fired" not in said, "SCHEDULER_ENABLED is off, of which another check tells"
    object.__setattr__(cli.site.state.config, "scheduler_enabled", True)
    said = json.dumps(cli("doctor", "--only", "schedules late", "--json").json)
    assert "the schedule digest should have fired 1h ago" in said
