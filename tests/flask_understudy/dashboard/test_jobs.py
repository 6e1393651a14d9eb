"""Finding jobs, seeing one, and acting on it, without a line of script."""

from __future__ import annotations

import html
import re
from datetime import datetime
from typing import Any

import pytest

from flask_understudy.clock.bulks import bulks
from flask_understudy.dashboard.searching import read
from flask_understudy.ledger import AuditLine
from tests.flask_understudy.dashboard.conftest import PREFIX, Person, fields_of, signed_in
from tests.flask_understudy.rest.conftest import Api


def listed(page: str) -> list[str]:
    """The ids of the jobs that a page lists."""
    return re.findall(rf'href="{PREFIX}/jobs/([0-9a-f-]{{36}})"', page)


def audited(api: Api) -> list[tuple[str, str]]:
    with api.site.app.app_context():
        session = api.site.jobs.db.session
        return [(line.action, line.target) for line in session.query(AuditLine).order_by(AuditLine.id)]


@pytest.mark.requirement("L02", "L06", "S02")
def test_search_finds_what_its_words_and_qualifiers_say(olga: Person) -> None:
    api = olga.api
    mail, failed = api.send("ada@example.com", 7, tags=["vip"]), api.fail("no route to host")

    def found(search: str) -> list[str]:
        return listed(olga.browser.get(f"{PREFIX}/jobs", query_string={"q": search}).text)

    assert found("type:work") == [mail]
    assert found("state:failed") == [failed]
    assert found('error:"no route"') == [failed]
    assert found("payload.n:7 queue:email") == [mail]
    assert found("tag:vip created:<1h") == [mail]
    assert found("created:>1h") == []
    assert found(failed) == [failed]
    assert found(f"id:{mail}") == [mail]


def test_the_tabs_count_and_pages_lead_on(olga: Person) -> None:
    ids = [olga.api.send(str(n)) for n in range(27)]
    first = olga.see("/jobs?status=waiting")
    assert re.search(r"waiting <small>27</small>", first) and "27\n" in first.replace("27 jobs", "27\n")
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following is not None
    second = olga.see(following[1].replace("&amp;", "&").removeprefix(PREFIX))
    assert sorted(listed(first) + listed(second)) == sorted(ids)


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ('error:"open', "quotation mark is not closed"),
        ("created:yesterday", "takes a span such as created:&lt;2h"),
        ("state:broken", "is no state"),
        ("payload.token:x", "cannot be searched"),
    ],
)
def test_a_search_that_cannot_be_read_says_why(olga: Person, search: str, said: str) -> None:
    answer = olga.browser.get(f"{PREFIX}/jobs", query_string={"q": search})
    assert answer.status_code == 200
    assert said in answer.text


def test_qualifiers_are_read_as_the_api_s_fields() -> None:
    search = read('state:failed state:active type:email:welcome "two words" payload.order.id:42 x:y')
    assert search.wanted == {
        "status": ["failed", "active"],
        "type": ["email:welcome"],
        "payload": ["order.id:42"],
        "q": "two words x:y",
    }
    assert datetime.fromisoformat(read("finished:>2d").wanted["finishedBefore"])


@pytest.mark.requirement("O02", "L08", "S02", "L03")
def test_a_failed_job_shows_why_and_is_tried_again(olga: Person) -> None:
    job = olga.api.fail("boom")
    page = olga.see(f"/jobs/{job}")
    assert "ValueError: boom" in page and "Traceback (most recent call last)" in page

    answer = olga.press(page, "retry_job")

    assert answer.headers["Location"] == f"{PREFIX}/jobs/{job}"
    assert olga.site.job(job).state == "waiting"
    assert "It is tried again." in olga.see(f"/jobs/{job}")
    assert "It is tried again." not in olga.see(f"/jobs/{job}")  # said once
    assert audited(olga.api) == [("job.retry", job)]


@pytest.mark.requirement("O03", "O04")
def test_what_destroys_is_asked_once_more(olga: Person) -> None:
    job = olga.api.send("ada@example.com")
    asked = olga.press(olga.see(f"/jobs/{job}"), "cancel_job", 200)
    assert "Are you sure?" in asked.text and olga.site.job(job).state == "waiting"

    olga.press(asked.text, "cancel_job")
    assert olga.site.job(job).state == "cancelled"

    olga.press(olga.see(f"/jobs/{job}"), "replay_job")
    asked = olga.press(olga.see(f"/jobs/{job}"), "delete_job", 200)
    answer = olga.press(asked.text, "delete_job")
    assert answer.headers["Location"] == f"{PREFIX}/jobs"
    assert olga.site.jobs.get(job) is None
    assert [action for action, _ in audited(olga.api)] == ["job.cancel", "job.replay", "job.delete"]


def test_what_cannot_be_done_is_said_and_changes_nothing(olga: Person) -> None:
    job = olga.api.send("ada@example.com")
    olga.send("/do/retry_job", {"csrf": olga.csrf(), "job_id": job, "next": f"{PREFIX}/jobs/{job}"})
    assert 'role="alert"' in olga.see(f"/jobs/{job}")
    olga.send("/do/nothing", {"csrf": olga.csrf()}, 404)
    olga.send("/do/show_job", {"csrf": olga.csrf(), "job_id": job}, 404)
    assert audited(olga.api) == []


@pytest.mark.parametrize("scopes", ["read", "read enqueue", "read payload"])
def test_who_may_not_act_has_no_buttons_and_is_refused(api: Api, scopes: str) -> None:
    reader, job = signed_in(api, scopes), api.fail("boom")
    assert "/do/" not in reader.see(f"/jobs/{job}")
    assert "/bulk" not in reader.see("/jobs")
    csrf = fields_of(reader.see(""))["csrf"]
    reader.send("/do/retry_job", {"csrf": csrf, "job_id": job}, 403)
    reader.send("/bulk", {"csrf": csrf, "action": "retry", "which": "ids", "ids[]": job}, 403)
    assert api.site.job(job).state == "failed"


def test_arguments_take_a_permission_and_secrets_are_withheld(api: Api) -> None:
    job = api.send("ada@example.com", 1, "s3cret-value")
    assert "ada@example.com" not in signed_in(api, "read operate").see(f"/jobs/{job}")
    page = signed_in(api).see(f"/jobs/{job}")
    assert "ada@example.com" in page and "s3cret-value" not in page


@pytest.mark.requirement("L02", "O01")
def test_selected_jobs_are_treated_together(olga: Person) -> None:
    first, second, third = (olga.api.fail(f"boom {n}") for n in range(3))
    asked = olga.send("/bulk", {"csrf": olga.csrf(), "action": "retry", "which": "ids", "ids[]": [first, second]}, 200)
    assert "Retry 2 jobs?" in asked.text

    started = olga.send("/bulk/start", fields_of(asked.text))
    progress = olga.see(started.headers["Location"].removeprefix(PREFIX))

    assert "Retry: running" in progress
    assert ("bulk.start", olga.site.job(third).id) not in audited(olga.api)


def bulk_of(olga: Person, **fields: Any) -> str:
    """Ask for a bulk on the page of jobs; return the page that follows."""
    form = {"csrf": olga.csrf(), "next": f"{PREFIX}/jobs", "which": "ids", "queue": "", "priority": "", **fields}
    answer = olga.browser.post(f"{PREFIX}/bulk", data=form, follow_redirects=True)
    assert answer.status_code == 200
    return answer.text


@pytest.mark.requirement("L06", "O01")
def test_jobs_that_wait_get_another_queue_or_priority_or_run_now(olga: Person) -> None:
    first, second, failed = olga.api.send("1"), olga.api.send("2", delay=3_600_000), olga.api.fail("boom")
    page = olga.see("/jobs")
    assert all(f'value="{action}"' in page for action in ("run_now", "change_queue", "change_priority"))
    every = '{"q": "o"}'

    asked = bulk_of(olga, action="change_queue", queue="reports", priority="3", **{"ids[]": [first, failed]})
    assert "Put 1 job into the queue reports?" in asked
    assert "1 more is meant as well, in a state that does not allow it" in asked
    started = olga.send("/bulk/start", fields_of(asked))
    asked = bulk_of(olga, action="change_priority", priority="-4", which="filter", filter=every)
    assert "Give 2 jobs the priority -4?" in asked
    olga.send("/bulk/start", fields_of(asked))
    asked = bulk_of(olga, action="run_now", which="filter", filter=every)
    assert "Run 1 job now?" in asked
    olga.send("/bulk/start", fields_of(asked))
    bulks(olga.site.state)

    progress = olga.see(started.headers["Location"].removeprefix(PREFIX))
    assert "Change queue: completed" in progress and "1 done, 1 skipped" in progress
    jobs = [olga.site.job(id) for id in (first, second)]
    assert [(job.queue, job.priority, job.state) for job in jobs] == [
        ("reports", -4, "waiting"),
        ("email", -4, "waiting"),
    ]
    assert olga.site.job(failed).priority != -4
    assert [action for action, _ in audited(olga.api)].count("bulk.start") == 6  # a dry run is told as well


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"action": "change_queue"}, "takes the new queue, and none was given"),
        ({"action": "change_queue", "queue": "nowhere"}, "No queue is named"),
        ({"action": "change_priority", "priority": "1001"}, "less than or equal to 1000"),
        ({"action": "change_priority", "priority": "high"}, "valid integer"),
        ({"action": "explode"}, "action: Input should be"),
    ],
)
def test_a_bulk_that_cannot_be_is_said_on_the_page_of_jobs(sqlite_api: Api, fields: dict[str, str], said: str) -> None:
    page = bulk_of(signed_in(sqlite_api), **fields, **{"ids[]": sqlite_api.send("1")})

    assert "<h1>Jobs</h1>" in page
    assert said in html.unescape(page)
    assert [job.queue for job in sqlite_api.site.all_jobs()] == ["email"]


def test_many_jobs_take_their_number_typed(olga: Person) -> None:
    for n in range(101):
        olga.api.send(str(n))
    order = {"csrf": olga.csrf(), "action": "delete", "which": "filter", "filter": '{"status": ["waiting"]}'}
    asked = olga.send("/bulk", order, 200)
    assert "Type 101 to go on" in asked.text

    assert "nothing was done" in olga.send("/bulk/start", fields_of(asked.text), 422).text
    olga.send("/bulk/start", {**fields_of(asked.text), "typed": "101"})
    assert [action for action, _ in audited(olga.api)][-1] == "bulk.start"


def test_nothing_selected_is_said(olga: Person) -> None:
    olga.send("/bulk", {"csrf": olga.csrf(), "action": "retry", "which": "ids", "next": f"{PREFIX}/jobs"})
    assert "No job is selected." in olga.see("/jobs")


@pytest.mark.requirement("L09")
def test_a_job_that_waits_says_why(operator: Person) -> None:
    job = operator.api.send("ada@example.com")
    assert "No worker takes jobs of the queue email." in operator.see(f"/jobs/{job}")
    operator.site.jobs.pause("email")
    assert "The queue email is paused." in operator.see(f"/jobs/{job}")
    later = operator.api.send("ada@example.com", delay=3_600_000)
    assert "It is due at" in operator.see(f"/jobs/{later}")


@pytest.mark.requirement("L02")
def test_a_search_is_downloaded_for_a_spreadsheet(api: Api) -> None:
    reader = signed_in(api, "read")
    mail, failed = api.send("ada@example.com"), api.fail("=1+1 does not add up")
    page = reader.browser.get(f"{PREFIX}/jobs", query_string={"q": 'error:"add up"', "status": "failed"}).text
    link = re.search(rf'<a href="({PREFIX}/jobs\.csv[^"]+)">As CSV', page)
    assert link is not None

    answer = reader.browser.get(html.unescape(link[1]))

    assert answer.content_type.startswith("text/csv")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert failed in answer.text and mail not in answer.text
    everything = reader.see("/jobs.csv")
    assert mail in everything and "ada@example.com" not in everything
    assert len(signed_in(api, tenant="birch").see("/jobs.csv").splitlines()) == 1


def test_a_download_is_refused_as_a_page_that_says_why(sqlite_api: Api) -> None:
    assert "is not closed" in signed_in(sqlite_api).see('/jobs.csv?q=error:"open', 422)
    assert "scope" in signed_in(sqlite_api, "read").see("/jobs.csv?q=payload.n:1", 403)
    assert "Sign in" in Person(sqlite_api.anonymous()).see("/jobs.csv", 401)
    assert sqlite_api.as_(scopes="operate")("GET", "/dashboard/jobs.csv").status_code == 403


def test_more_than_a_download_holds_is_said(sqlite_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_understudy.rest.exporting.MOST", 2)
    olga = signed_in(sqlite_api)
    for n in range(3):
        sqlite_api.send(str(n))

    assert "The first 2 as CSV" in olga.see("/jobs")
