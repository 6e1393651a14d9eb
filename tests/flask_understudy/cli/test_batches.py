"""Batches and limits by key from the command line."""

from __future__ import annotations

from tests.flask_understudy.cli.conftest import Typist


def test_batch_is_listed_shown_retried_and_cancelled(cli: Typist) -> None:
    with cli.site.app.app_context():
        batch = cli.site.jobs.batch([cli.mail.message("a@example.com"), cli.report.message()], name="Letters")
    cli.site.worker.drain()

    [listed] = cli("batches", "--json").json["data"]
    shown = cli("batches", "show", batch.id, "--json").json
    assert (listed["name"], listed["state"], listed["failed"]) == ("Letters", "failed", 1)
    assert [failure["type"] for failure in shown["failures"]] == ["report:make"]
    assert "Letters" in cli("batches").out
    assert "Letters" in cli("batches", "list").out
    assert "report:make" in cli("batches", "show", batch.id).out
    assert "1 job " in cli("batches", "retry", batch.id).out
    assert cli("batches", "cancel", batch.id, "--json").json["cancelled"] == 1
    assert [action for action, _ in cli.audit()] == ["batch.cancel", "batch.retry"]


def test_a_batch_that_is_not_there_or_over_says_so(sqlite_cli: Typist) -> None:
    assert "There is no batch" in sqlite_cli.fails("batches", "show", "nothing", code=4)
    assert "There is no batch" in sqlite_cli.fails("batches", "cancel", "nothing", code=4)
    assert sqlite_cli("batches").out.strip() == "There are no batches."
    with sqlite_cli.site.app.app_context():
        batch = sqlite_cli.site.jobs.batch([])
    assert "has ended" in sqlite_cli.fails("batches", "cancel", batch.id, code=1)


def test_limit_by_key_is_set_listed_and_reset(cli: Typist) -> None:
    cli("limits", "set", "disk", "--concurrency", "5", "--rate", "100/minute", "--tenant", "acme")

    [key] = cli("limits", "--json").json["data"]
    assert (key["tenant"], key["key"], key["concurrency"], key["rate"]) == ("acme", "disk", 5, "100/minute")
    cli("limits", "set", "disk", "--concurrency", "4", "--tenant", "acme")
    assert "100/minute" in cli("limits", "list").out
    cli("limits", "reset", "disk", "--tenant", "acme")
    assert cli("limits").out.strip() == "No jobs are limited by a key."
    assert [action for action, _ in cli.audit()] == ["limit.reset", "limit.set", "limit.set"]


def test_limit_by_key_that_cannot_be_is_refused(sqlite_cli: Typist) -> None:
    assert "Say what shall hold" in sqlite_cli.fails("limits", "set", "disk", code=2)
    assert "no whole number" in sqlite_cli.fails("limits", "set", "disk", "--concurrency", "many", code=2)
    assert "rate is 'fast'" in sqlite_cli.fails("limits", "set", "disk", "--rate", "fast", code=2)
    assert "There is no limit" in sqlite_cli.fails("limits", "reset", "disk", code=4)
