"""Sending jobs from the command line."""

from __future__ import annotations

import threading

import pytest

from tests.flask_understudy.cli.conftest import Typist
from tests.flask_understudy.conftest import Site
from tools.waiting import wait_for


def test_enqueued_job_has_what_the_options_say(cli: Typist) -> None:
    options = [
        "--priority",
        "-2",
        "--dedup-key",
        "k",
        "--tag",
        "a",
        "--tag",
        "b",
        "--queue",
        "reports",
        "--tenant",
        "acme",
    ]

    said = cli("enqueue", "mail:send", "--payload", '{"to": "a@example.com"}', "--delay", "60000", *options)

    job = cli.site.job(said.out.strip())
    assert (job.state, job.priority, job.dedup_key, job.tags) == ("delayed", -2, "k", ["a", "b"])
    assert (job.queue, job.tenant, job.kwargs) == ("reports", "acme", {"to": "a@example.com"})
    assert cli.audit() == [("job.enqueue", job.id)]


def test_live_twin_is_named_instead(cli: Typist) -> None:
    arguments = ["enqueue", "mail:send", "--payload", '["a@example.com"]', "--dedup-key", "k", "--json"]
    first = cli(*arguments).json

    assert cli(*arguments).json == {"id": first["id"], "duplicate": True}


def test_unknown_type_or_queue_is_not_found_and_the_known_ones_are_named(sqlite_cli: Typist) -> None:
    assert "Declared are: mail:send, report:make, urgent" in sqlite_cli.fails("enqueue", "nope", code=4)
    arguments = ["enqueue", "mail:send", "--payload", '["a"]', "--queue", "nope"]
    assert "There are: email, reports, urgent" in sqlite_cli.fails(*arguments, code=4)
    assert sqlite_cli.site.all_jobs() == []


def test_wait_ends_with_the_job(carried_site: Site) -> None:
    cli = Typist(carried_site)
    carried_site.start_worker()

    good = cli("enqueue", "mail:send", "--payload", '["a@example.com"]', "--wait", "20", "--json").json
    bad = cli("enqueue", "report:make", "--wait", "20", expect=1)

    assert good["state"] == "completed"
    assert "It failed: ValueError: boom" in bad.err


def test_wait_that_is_over_says_how_the_job_is(sqlite_cli: Typist) -> None:
    said = sqlite_cli("enqueue", "mail:send", "--payload", '["a@example.com"]', "--wait", "0.1", expect=1)

    assert "the job is waiting; it goes on by itself" in said.err


@pytest.mark.requirement("S03", "S04")
def test_types_tell_what_holds_for_their_jobs(sqlite_cli: Typist) -> None:
    types = {entry["name"]: entry for entry in sqlite_cli("types", "--json").json["data"]}

    assert types["mail:send"] == {
        "name": "mail:send",
        "queue": "email",
        "priority": 3,
        "maxAttempts": 3,
        "timeoutMs": 5000,
        "canBeSent": True,
        "fallback": "hold",
        "description": "Send a mail.",
    }
    assert types["report:make"]["maxAttempts"] == 1
    assert [line.split()[0] for line in sqlite_cli("types").out.splitlines()[1:]] == sorted(types)


def test_waiting_does_not_keep_others_from_writing(sqlite_cli: Typist) -> None:
    waits = threading.Thread(
        target=sqlite_cli.site.app.test_cli_runner().invoke,
        kwargs={"args": ["jobs", "enqueue", "mail:send", "--payload", '["a"]', "--wait", "5"]},
    )
    waits.start()
    wait_for(lambda: sqlite_cli.site.all_jobs(), "the job")

    with sqlite_cli.site.app.app_context():
        sqlite_cli.site.jobs.cancel(sqlite_cli.site.all_jobs()[0].id)

    waits.join(4)
    assert not waits.is_alive()
