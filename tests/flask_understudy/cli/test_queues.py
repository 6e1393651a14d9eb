"""Queues from the command line."""

from __future__ import annotations

import pytest

from tests.flask_understudy.cli.conftest import Typist


def queue(cli: Typist, name: str) -> dict[str, object]:
    return next(entry for entry in cli("queues", "--json").json["data"] if entry["name"] == name)


def test_queue_is_paused_resumed_and_limited(cli: Typist) -> None:
    cli.send()

    cli("queues", "pause", "email")
    cli("queues", "limit", "email", "2")

    assert queue(cli, "email")["pausedAt"] is not None
    assert queue(cli, "email")["concurrency"] == 2
    assert "paused now" in cli("queues").out or "paused 1s ago" in cli("queues").out
    cli("queues", "resume", "email")
    cli("queues", "limit", "email", "none")
    assert (queue(cli, "email")["pausedAt"], queue(cli, "email")["concurrency"]) == (None, None)
    assert [a for a, _ in cli.audit()] == ["queue.limit", "queue.resume", "queue.limit", "queue.pause"]


def test_unknown_queue_is_not_found_and_the_known_ones_are_named(sqlite_cli: Typist) -> None:
    for verb in (["pause"], ["resume"], ["drain", "--yes"], ["retry-failed", "--yes"], ["limit"]):
        more = ["2"] if verb == ["limit"] else []
        assert "There are: email, reports, urgent" in sqlite_cli.fails("queues", *verb, "nope", *more, code=4)
    assert "There are: email" in sqlite_cli.fails("clean", "nope", "--yes", code=4)


@pytest.mark.requirement("O01")
def test_failed_jobs_of_a_queue_are_retried_and_counted(cli: Typist) -> None:
    failed = [cli.fail(), cli.fail()]

    assert cli("queues", "retry-failed", "reports", "--yes", "--json").json == {"queue": "reports", "retried": 2}
    assert {cli.site.job(id).state for id in failed} == {"waiting"}


def test_drain_and_clean_do_nothing_without_a_yes(cli: Typist) -> None:
    waiting, failed = cli.send(), cli.fail()

    assert "add --yes" in cli.fails("queues", "drain", "email", code=1)
    assert "add --yes" in cli.fails("clean", "reports", "--state", "failed", code=1)
    assert (cli.site.job(waiting).state, cli.site.job(failed).state) == ("waiting", "failed")

    assert cli("queues", "drain", "email", "--yes", "--json").json["cancelled"] == 1
    assert cli("clean", "reports", "--state", "failed", "--grace", "0", "--yes", "--json").json["removed"] == 1


@pytest.mark.requirement("S10")
def test_stats_count_by_state_and_in_total(cli: Typist) -> None:
    cli.send()
    cli.fail()

    assert cli("stats", "--json").json["reports"]["failed"] == 1
    assert cli("stats").out.splitlines()[-1].split() == ["all", "1", "0", "0", "0", "1", "0", "2"]
