"""`flask jobs events`."""

from __future__ import annotations

from datetime import timedelta

from flask_understudy import Event, step
from tests.flask_understudy.cli.conftest import Typist


class LampBroke(Event, sensitive=["room"]):
    lamp: int
    room: str = ""


def listen(cli: Typist) -> None:
    @cli.site.jobs.on(LampBroke)
    def change(event: LampBroke) -> None: ...


def test_an_event_is_published_and_found(cli: Typist) -> None:
    listen(cli)

    sent = cli(
        "events", "send", "lamp.broke", "--payload", '{"lamp": 7, "room": "attic"}', "--tenant", "acme", "--json"
    )
    id = sent.json["id"]

    assert len(sent.json["jobs"]) == 1
    listed = cli("events", "list", "--name", "lamp.broke", "--tenant", "acme", "--json").json
    assert ([event["id"] for event in listed["data"]], listed["more"]) == ([id], False)
    assert id in cli("events", "list").out
    shown = cli("events", "show", id, "--json").json
    assert shown["payload"] == {"lamp": 7, "room": "***"}
    assert [job["type"] for job in shown["jobs"]] == ["on:lamp.broke:change"]
    assert "on:lamp.broke:change" in cli("events", "show", id).out
    assert cli("events", "show", id, "--payload", "--json").json["payload"]["room"] == "attic"
    assert cli.audit()[:2] == [("event.payload", id), ("event.publish", id)]


def test_an_event_is_replayed(cli: Typist) -> None:
    listen(cli)
    id = cli("events", "send", "lamp.broke", "--payload", '{"lamp": 7}', "--json").json["id"]

    again = cli("events", "replay", id, "--to", "on:lamp.broke:change")

    assert again.out.strip().endswith("lamp.broke: 1 job")
    assert len(cli.site.all_jobs()) == 2
    assert cli.audit()[0] == ("event.replay", id)
    assert "there are more" in cli("events", "list", "--limit", "1").err


def test_kinds_are_listed(sqlite_cli: Typist) -> None:
    listen(sqlite_cli)

    kinds = {kind["name"]: kind for kind in sqlite_cli("events", "types", "--json").json["data"]}

    assert kinds["lamp.broke"]["subscribers"] == ["on:lamp.broke:change"]
    assert "on:lamp.broke:change" in sqlite_cli("events", "types").out


def test_what_cannot_be_is_one_line_and_a_code(sqlite_cli: Typist) -> None:
    fails = sqlite_cli.fails

    assert "Did you mean 'lamp.broke'" in fails("events", "send", "lamp.brok", code=4)
    assert "lamp" in fails("events", "send", "lamp.broke", code=2)
    assert "JSON object" in fails("events", "send", "lamp.broke", "--payload", "[1]", code=2)
    assert "no event" in fails("events", "show", "x", code=4)
    assert "no event" in fails("events", "replay", "x", code=4)
    assert "no time" in fails("events", "list", "--after", "soon", code=2)
    assert sqlite_cli.site.all_jobs() == []


def test_runs_that_wait_for_an_event_are_told_of(sqlite_cli: Typist) -> None:
    @sqlite_cli.site.jobs.actor(actor_name="lamp:await", workflow=True, max_retries=0)
    def await_() -> None:
        step.wait_for("broke", LampBroke, timeout=timedelta(days=1))

    with sqlite_cli.site.app.app_context():
        run = str(await_.send().message_id)
    sqlite_cli.site.worker.run(run)

    kinds = {kind["name"]: kind for kind in sqlite_cli("events", "types", "--json").json["data"]}
    id = sqlite_cli("events", "send", "lamp.broke", "--payload", '{"lamp": 7}', "--json").json["id"]

    assert kinds["lamp.broke"]["waitingRuns"] == 1
    assert [job["id"] for job in sqlite_cli("events", "show", id, "--json").json["runs"]] == [run]
    assert "Runs that had waited for it" in sqlite_cli("events", "show", id).out
