"""Acting on jobs, one at a time and by a filter."""

from __future__ import annotations

from typing import Any

import pytest

from flask_understudy.operations import bulk
from flask_understudy.operations.bulk_filters import moment
from tests.flask_understudy.cli.conftest import Typist
from tools.waiting import wait_for


@pytest.mark.requirement("O02", "S02")
def test_retried_job_waits_again_and_the_audit_knows_who_did_it(cli: Typist) -> None:
    id = cli.fail()

    said = cli("retry", id)

    assert cli.site.job(id).state == "waiting"
    assert said.out == f"Job {id}: retried.\n"
    [line] = cli("audit", "--json").json["data"]
    assert (line["action"], line["target"]) == ("job.retry", id)
    assert line["subject"].startswith("cli:")


def test_several_ids_are_each_tried_and_the_worst_code_counts(cli: Typist) -> None:
    failed, waiting = cli.fail(), cli.send()

    said = cli("retry", failed, waiting, "nope", "--json", expect=4)

    assert (said.json["done"], said.json["skipped"]) == (1, 2)
    assert cli.site.job(failed).state == "waiting"
    assert "only failed and cancelled jobs can be retried" in said.err
    assert cli.audit() == [("job.retry", failed)]


def test_wrong_state_is_a_failure_and_leaves_no_line_in_the_audit(sqlite_cli: Typist) -> None:
    id = sqlite_cli.send()

    assert "can be retried" in sqlite_cli.fails("retry", id, code=1)
    assert sqlite_cli.audit() == []


@pytest.mark.requirement("O04")
def test_cancelled_job_does_not_run(cli: Typist) -> None:
    id = cli.send()

    assert cli("cancel", id).out == f"Job {id}: cancelled.\n"
    assert cli.site.job(id).state == "cancelled"


@pytest.mark.requirement("O03")
def test_replay_sends_a_new_job_with_other_arguments(cli: Typist) -> None:
    id = cli.fail("disk is full")

    new = cli("replay", id, "--payload", '{"text": "again"}', "--json").json["id"]

    assert cli.site.job(new).kwargs == {"text": "again"}
    assert cli.site.job(new).replay_of == id
    assert cli.site.job(id).state == "failed"
    [line] = cli("audit", "--json").json["data"]
    assert (line["action"], line["target"]) == ("job.replay", id)
    assert line["detail"] == {"replayed_as": new, "arguments": ["text"]}


def test_what_is_withheld_is_not_kept_beside_a_change(sqlite_cli: Typist) -> None:
    id = sqlite_cli.send("a@example.com", 1, "s3cret")

    said = sqlite_cli.fails("replay", id, "--payload", '{"to": "b@example.com", "n": 1, "token": "***"}', code=2)

    assert "give the value anew" in said
    assert len(sqlite_cli.site.all_jobs()) == 1


def test_delete_run_now_and_amend_do_what_they_say(cli: Typist) -> None:
    gone, soon = cli.send(), cli.send(delay=60_000)

    cli("delete", gone)
    cli("amend", soon, "--priority", "-5", "--payload", '{"to": "b@example.com"}')
    cli("run-now", soon)

    assert gone not in {job.id for job in cli.site.all_jobs()}
    job = cli.site.job(soon)
    assert (job.state, job.priority, job.kwargs) == ("waiting", -5, {"to": "b@example.com"})
    lines = cli("audit", "--json").json["data"]
    assert [line["action"] for line in lines] == ["job.run_now", "job.amend", "job.delete"]
    assert lines[1]["detail"] == {"changes": ["payload", "priority"], "arguments": ["to"]}


def test_filters_alone_say_what_matches_and_do_nothing(cli: Typist) -> None:
    failed = [cli.fail() for _ in range(7)]

    said = cli("retry", "--queue", "reports")
    dry = cli("retry", "--queue", "reports", "--json").json

    assert "7 jobs match." in said.out
    assert sum(id in said.out for id in failed) == 5
    assert "Nothing was done; add --yes" in said.err
    assert (dry["dryRun"], dry["matched"]) == (True, 7)
    assert {cli.site.job(id).state for id in failed} == {"failed"}
    assert cli.audit() == []


@pytest.mark.requirement("O02", "S11")
def test_failures_of_one_kind_alone_are_retried(cli: Typist) -> None:
    disk = [cli.fail("disk is full") for _ in range(3)]
    key = [cli.fail("x", "key") for _ in range(2)]
    groups = cli("failures", "--json").json["data"]
    assert [(group["count"], group["type"]) for group in groups] == [(3, "report:make"), (2, "report:make")]
    assert groups[0]["latest"]["id"] in disk

    said = cli("retry", "--fingerprint", groups[0]["fingerprint"], "--yes")

    assert "3 jobs retried, 0 skipped." in said.out
    assert {cli.site.job(id).state for id in disk} == {"waiting"}
    assert {cli.site.job(id).state for id in key} == {"failed"}
    [(ended, _), (action, target)] = cli.audit()
    assert (ended, action) == ("bulk.end", "job.retry")
    assert target.startswith("bulk:")


@pytest.mark.requirement("S02")
def test_audit_of_a_tenant_tells_what_was_typed_about_its_jobs(cli: Typist) -> None:
    id, other = cli.fail("disk", tenant="acme"), cli.send(tenant="acme")

    cli("cancel", other)
    cli("retry", "--state", "failed", "--yes")
    cli("enqueue", "mail:send", "--payload", '{"to": "a"}', "--tenant", "acme")
    cli("show", id, "--payload")

    lines = cli("audit", "--json").json["data"]
    told = {line["action"] for line in lines if line["tenant"] == "acme"}
    assert told == {"job.cancel", "bulk.start", "job.enqueue", "job.payload"}
    assert all(line["subject"].startswith("cli:") for line in lines)


@pytest.mark.requirement("O01")
def test_jobs_that_come_while_one_is_asked_are_not_meant(cli: Typist, monkeypatch: pytest.MonkeyPatch) -> None:
    first, late, tried = cli.fail(), [], bulk.trial

    def trying(*arguments: Any) -> bulk.Trial:
        trial = tried(*arguments)
        wait_for(lambda: moment(cli.site.state) > trial.as_of, "the database's clock to go on")
        late.append(cli.fail())
        return trial

    monkeypatch.setattr(bulk, "trial", trying)
    said = cli("retry", "--state", "failed", "--yes")

    assert "1 job retried, 0 skipped." in said.out
    assert [cli.site.job(id).state for id in (first, *late)] == ["waiting", "failed"]


def test_dry_run_says_what_would_be_touched(sqlite_cli: Typist) -> None:
    failed = {sqlite_cli.fail() for _ in range(4)}

    said = sqlite_cli("retry", "--queue", "reports", "--most", "2")
    dry = sqlite_cli("retry", "--queue", "reports", "--most", "2", "--json").json
    done = sqlite_cli("retry", "--queue", "reports", "--most", "2", "--yes", "--json").json

    assert "4 jobs match; 2 of them will be touched." in said.out
    assert (dry["matched"], dry["touched"], dry["matchedIsExact"]) == (4, 2, True)
    assert {job["state"] for job in dry["sample"]} == {"failed"}
    assert {job["id"] for job in dry["sample"]} < failed
    assert (done["expected"], done["done"]) == (2, 2)


def test_jobs_that_wait_are_changed_by_id_or_filter(cli: Typist) -> None:
    first, second, failed = cli.send(), cli.send(delay=3_600_000), cli.fail()

    one = cli("change-queue", "--to", "reports", first)
    dry = cli("change-priority", "--to", "7", "--queue", "reports", "--queue", "email")
    many = cli("change-priority", "--to", "7", "--queue", "reports", "--queue", "email", "--yes", "--json").json
    due = cli("run-now", "--type", "mail:send", "--yes")

    assert one.out == f"Job {first}: changed.\n"
    assert "2 jobs match. 1 other will be left as it is." in dry.out
    assert (many["done"], many["skipped"]) == (2, 0)
    assert "1 job made due, 0 skipped." in due.out
    jobs = [cli.site.job(id) for id in (first, second)]
    assert [(job.queue, job.priority, job.state) for job in jobs] == [
        ("reports", 7, "waiting"),
        ("email", 7, "waiting"),
    ]
    assert cli.site.job(failed).priority != 7
    details = {line["action"]: line["detail"] for line in cli("audit", "--json").json["data"]}
    assert details["job.change_queue"] == {"outcome": "changed", "queue": "reports"}
    assert (details["job.change_priority"]["priority"], details["job.change_priority"]["expected"]) == (7, 2)


def test_a_queue_that_nobody_declared_changes_nothing(sqlite_cli: Typist) -> None:
    id = sqlite_cli.send()

    assert "No queue is named 'nowhere'" in sqlite_cli.fails("change-queue", "--to", "nowhere", id, code=2)
    sqlite_cli("change-priority", "--to", "1001", id, expect=2)
    assert "only a job that waits" in sqlite_cli.fails("change-priority", "--to", "1", sqlite_cli.fail(), code=1)
    assert (sqlite_cli.site.job(id).queue, sqlite_cli.audit()) == ("email", [])


def test_delete_by_filter_means_ended_jobs(cli: Typist) -> None:
    failed, waiting = cli.fail(tenant="acme"), cli.send(tenant="acme")

    said = cli("delete", "--tenant", "acme", "--yes", "--json").json

    assert said["done"] == 1
    assert [job.id for job in cli.site.all_jobs()] == [waiting]
    assert failed != waiting


def test_cancel_by_filter_reaches_more_jobs_than_one_step_does(cli: Typist) -> None:
    messages = [cli.mail.message(f"{i}@example.com") for i in range(1203)]
    with cli.site.app.app_context():
        cli.site.jobs.send_many(messages)

    said = cli("cancel", "--type", "mail:send", "--yes")

    assert "1,203 jobs cancelled" in said.out
    assert cli("list", "--state", "waiting", "--json").json["data"] == []


def test_arguments_that_were_searched_for_are_not_kept_in_the_audit(sqlite_cli: Typist) -> None:
    sqlite_cli.send("lovelace@example.com")

    sqlite_cli("cancel", "--payload", "to:lovelace@example.com", "--yes")

    lines = sqlite_cli("audit", "--json").json["data"]
    assert "lovelace" not in str(lines)
    assert lines[-1]["detail"]["filter"]["payload"] == ["to"]
