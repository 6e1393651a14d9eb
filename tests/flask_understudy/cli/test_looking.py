"""Finding jobs, and everything about one."""

from __future__ import annotations

import csv
import io

import pytest

from tests.flask_understudy.cli.conftest import Typist


def ids(cli: Typist, *arguments: str) -> set[str]:
    return {job["id"] for job in cli("list", "--json", *arguments).json["data"]}


def test_every_filter_finds_its_job_alone(cli: Typist) -> None:
    mine = cli.send("ada@example.com", tenant="acme", owner="olga", tags=["vip"], correlation_id="c-1")
    other = cli.send("bob@example.com", tenant="globex", owner="otto", tags=["bulk"], correlation_id="c-2")
    failed = cli.fail("disk is full")
    fingerprint = cli.site.job(failed).fingerprint
    assert fingerprint is not None

    assert ids(cli, "--payload", "to:ada@example.com") == {mine}
    for flag, value in (("--tenant", "acme"), ("--owner", "olga"), ("--tag", "vip"), ("--correlation-id", "c-1")):
        assert ids(cli, flag, value) == {mine}, flag
    assert ids(cli, "--q", mine[:13]) == {mine}
    assert (
        ids(cli, "--state", "waiting")
        == ids(cli, "--queue", "email")
        == ids(cli, "--type", "mail:send")
        == {mine, other}
    )
    assert (
        ids(cli, "--state", "failed")
        == ids(cli, "--error", "DISK")
        == ids(cli, "--fingerprint", fingerprint)
        == {failed}
    )
    assert ids(cli, "--finished-after", "1h") == ids(cli, "--attempt-from", "1") == {failed}
    assert ids(cli, "--attempt-to", "0") == {mine, other}
    assert ids(cli, "--priority-from", "1000") == set()
    assert ids(cli, "--created-before", "1h") == set()
    assert ids(cli, "--created-after", "2020-01-01T00:00") == {mine, other, failed}


def test_list_says_that_there_is_more(sqlite_cli: Typist) -> None:
    sent = [sqlite_cli.send() for _ in range(3)]
    for n, id in enumerate(sent):  # not two within the same millisecond
        sqlite_cli.site.change(id, created_at=sqlite_cli.site.moment(n - 60))

    first = sqlite_cli("list", "--limit", "2", "--oldest-first", "--json").json
    told = sqlite_cli("list", "--limit", "2")

    assert [job["id"] for job in first["data"]] == sent[:2]
    assert first["more"] is True
    assert "2 are shown and there are more" in told.err
    assert sqlite_cli("list", "--all", "--json").json["more"] is False
    assert ids(sqlite_cli, "--all") == set(sent)


def test_list_is_a_table_for_a_spreadsheet_too(sqlite_cli: Typist) -> None:
    failed = sqlite_cli.fail("=1+1\nand \x1b[2J more")
    sqlite_cli.send(priority=-3)

    told = sqlite_cli("list", "--csv", "--all")
    found = {row["id"]: row for row in csv.DictReader(io.StringIO(told.out))}
    first = sqlite_cli("list", "--csv", "--limit", "1")

    assert found[failed]["error"] == "ValueError: =1+1\nand  [2J more"
    assert sorted(row["priority"] for row in found.values()) == ["-3", "3"]
    assert (len(first.out.splitlines()), told.err) == (2, "")
    assert "1 are shown and there are more" in first.err
    assert "not both" in sqlite_cli.fails("list", "--csv", "--json", code=2)


def test_empty_list_is_json_too(sqlite_cli: Typist) -> None:
    assert sqlite_cli("list", "--json").json == {"data": [], "more": False}
    assert "There are no jobs." in sqlite_cli("list").out


def test_what_strangers_wrote_does_not_steer_the_terminal(sqlite_cli: Typist) -> None:
    id = sqlite_cli.fail("\x1b[2J\x1b]0;owned\x07 boom")

    for arguments in (["list"], ["show", id], ["failures"], ["doctor", "--only", "failures"]):
        assert "\x1b" not in sqlite_cli(*arguments).out
        assert "boom" in sqlite_cli(*arguments).out


@pytest.mark.requirement("S02", "S08")
def test_show_tells_attempts_timeline_and_traceback(cli: Typist) -> None:
    id = cli.fail("disk is full")
    cli("retry", id)
    cli.site.worker.run(id)

    told, known = cli("show", id).out, cli("show", id, "--json").json

    assert "ValueError: disk is full" in told
    assert "Traceback of attempt 2" in told
    assert "in report" in told
    assert [attempt["outcome"] for attempt in known["attempts"]] == ["failed", "failed"]
    assert "retried" in [event["kind"] for event in known["timeline"]]
    assert known["payload"] == {"text": "disk is full"}


def test_secrets_are_withheld_until_they_are_asked_for(sqlite_cli: Typist) -> None:
    id = sqlite_cli.send("a@example.com", "Hi", "s3cret")

    hidden = sqlite_cli("show", id).out
    shown = sqlite_cli("show", id, "--payload", "--json").json

    assert "s3cret" not in hidden
    assert "a@example.com" in hidden
    assert shown["payload"] == {"to": "a@example.com", "subject": "Hi", "token": "s3cret"}
    assert sqlite_cli.audit() == [("job.payload", id)]


def test_a_job_is_shown_by_the_first_characters_of_its_id(cli: Typist) -> None:
    id = cli.send()

    assert cli("show", id[:8], "--json").json["id"] == id
    assert cli("show", id[:8], "--json").json["timeline"] == cli("show", id, "--json").json["timeline"]
    cli("show", id[:7], expect=4)
    cli("show", "f" * 8, expect=4)


def test_progress_of_a_job_is_not_shown_as_its_error(sqlite_cli: Typist) -> None:
    id = sqlite_cli.send()
    sqlite_cli.site.change(id, progress_message="'step 19'")

    assert "step 19" not in sqlite_cli("list").out
    assert "step 19" in sqlite_cli("show", id).out
