"""Finding jobs, seeing one, and acting on it, without a line of script."""

from __future__ import annotations

import html
import re
from datetime import datetime
from typing import Any

import pytest

from flask_understudy.clock.bulks import bulks
from flask_understudy.dashboard.searching import qualifier, read
from flask_understudy.ledger import AuditLine
from flask_understudy.operations.bulk_filters import moment
from tests.flask_understudy.dashboard.conftest import PREFIX, Person, fields_of, signed_in
from tests.flask_understudy.rest.conftest import Api
from tools.waiting import wait_for


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
    assert found(f"id:{mail}") == found(f"id:{mail[:8]}") == [mail]
    assert found("status:failed") == found("attempt:1") == found("attempt:>0 priority:<=100") == [failed]
    assert found("attempt:>1") == []


def test_the_tabs_count_and_pages_lead_on(olga: Person) -> None:
    ids = [olga.api.send(str(n)) for n in range(27)]
    first = olga.see("/jobs?status=waiting")
    assert re.search(r"waiting <small>27</small>", first) and "27\n" in first.replace("27 jobs", "27\n")
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following is not None
    second = olga.see(following[1].replace("&amp;", "&").removeprefix(PREFIX))
    assert sorted(listed(first) + listed(second)) == sorted(ids)


def linked(page: str, rel: str) -> str:
    """Where a page leads to by a link of a kind, below the dashboard's prefix."""
    found = re.search(rf'rel="{rel}" href="([^"]+)"', page)
    assert found is not None, f"nothing leads to the {rel}"
    return html.unescape(found[1]).removeprefix(PREFIX)


def test_a_tag_of_a_job_leads_to_those_that_have_it(sqlite_api: Api) -> None:
    olga, tag = signed_in(sqlite_api), 'the "big" one'
    ids = {sqlite_api.send("1", tags=[tag]), sqlite_api.send("2", tags=[tag])}
    sqlite_api.send("3", tags=["the"])
    page = olga.see(f"/jobs/{min(ids)}")

    link = re.search(rf'href="{PREFIX}(/jobs\?q=tag[^"]+)"', page)

    assert link is not None
    assert set(listed(olga.see(html.unescape(link[1])))) == ids


@pytest.mark.requirement("L02")
def test_pages_are_sorted_either_way_and_lead_back(olga: Person) -> None:
    ids = [olga.api.send(str(n)) for n in range(60)]
    for n, id in enumerate(ids):
        olga.site.change(id, created_at=olga.site.moment(n - 90))

    first = olga.see("/jobs?sort=oldest&status=waiting&q=type:work")
    second = olga.see(linked(first, "next"))
    third = olga.see(linked(second, "next"))

    assert listed(first) + listed(second) + listed(third) == ids
    assert listed(olga.see("/jobs"))[0] == ids[-1]
    assert listed(olga.see(linked(third, "prev"))) == listed(second)
    assert listed(olga.see(linked(olga.see(linked(third, "prev")), "prev"))) == ids[:25]
    assert listed(olga.see(linked(third, "first"))) == ids[:25]
    assert 'rel="prev"' not in first and 'rel="first"' not in first and 'rel="next"' not in third
    csv = olga.browser.get(f"{PREFIX}/jobs.csv", query_string={"sort": "oldest"}).text
    assert csv.index(ids[0]) < csv.index(ids[1]) < csv.index(ids[-1])


def test_a_list_says_when_delayed_jobs_are_due_and_what_its_numbers_are_of(olga: Person) -> None:
    olga.api.send("1", delay=3_600_000, tags=["x"])
    page = olga.see("/jobs?q=tag:x")
    assert re.search(r"due <time [^>]*>in (59 min|1 h)", page)
    assert "The numbers of the states are of all jobs" in page
    assert "The numbers of the states are of all jobs" not in olga.see("/jobs")


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ('error:"open', "quotation mark is not closed"),
        ("created:yesterday", "takes a span such as created:&lt;2h"),
        ("state:bogus", "The search cannot be read: &#39;bogus&#39; is no state; there are delayed"),
        ("state:", "state: says nothing; one of delayed"),
        ("-state:failed", "-state:failed would leave jobs out"),
        ("foo:bar", "no qualifier is named foo; there are state, queue"),
        ('foo:"b c"', "&#34;foo:b c&#34; in quotes is searched as text"),
        ("stat:failed", "did you mean state:?"),
        ("payload:x", "did you mean payload.name:?"),
        ("payload.:x", "payload.: says nothing; a value in its arguments"),
        ("worker:x", "no qualifier is named worker"),
        ("priority:high", "priority:high takes a whole number such as priority:2"),
        ("error:a error:b", "error: can be given once"),
        ("attempt:2 attempt:>1", "attempt: can be given once"),
        ("error:" + 201 * "x", "error: may have up to 200 characters"),
        ("created:<1h created:<2h", "created: can be given once"),
        ("payload.token:x", "cannot be searched"),
    ],
)
def test_a_search_that_cannot_be_read_says_why(olga: Person, search: str, said: str) -> None:
    answer = olga.browser.get(f"{PREFIX}/jobs", query_string={"q": search})
    assert answer.status_code == 200
    assert said in answer.text


@pytest.mark.parametrize(
    ("search", "wanted"),
    [
        ("can't connect", {"q": "can't connect"}),
        (r"C:\temp\x", {"q": r"C:\temp\x"}),
        ('"foo:bar" baz', {"q": "foo:bar baz"}),
        ("email:welcome", {"q": "email:welcome"}),
        ("email:other", {"q": "email:other"}),
        ("12:30 http://there ValueError:x boom:", {"q": "12:30 http://there ValueError:x boom:"}),
        ('error:"can\'t open"', {"error": "can't open"}),
        ('error:"say ""no"" twice" "a""b"', {"error": 'say "no" twice', "q": 'a"b'}),
        ("payload.Order.Id:7", {"payload": ["Order.Id:7"]}),
        ("State:FAILED status:active", {"status": ["failed", "active"]}),
        ("attempt:>=2 attempt:<4", {"attemptFrom": 2, "attemptTo": 3}),
        ("priority:-3", {"priorityFrom": -3, "priorityTo": -3}),
        ("attempt:<=1 priority:>0", {"attemptTo": 1, "priorityFrom": 1}),
        ("id:6B52F84C id:my-own-id id:6b5", {"idStart": ["6b52f84c"], "id": ["my-own-id", "6b5"]}),
        ("tag:schedule:digest", {"tag": ["schedule:digest"]}),
    ],
)
def test_what_is_text_and_what_a_qualifier(search: str, wanted: dict[str, Any]) -> None:
    found = read(search, ["email:welcome"])
    assert (found.problem, found.wanted) == (None, wanted)


@pytest.mark.parametrize("value", ["acme", "two words", "O'Neil & Co", 'a "b" c', "x\\y", "schedule:a b", '"'])
def test_a_link_to_a_search_means_its_value(value: str) -> None:
    assert read(qualifier("tag", value) + " state:failed").wanted == {"tag": [value], "status": ["failed"]}


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
    asked = bulk_of(olga, action="retry", **{"ids[]": [first, second]})
    assert "Retry 2 jobs?" in asked

    started = olga.send("/bulk/start", fields_of(asked))
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

    asked = bulk_of(olga, action="change_queue", queue="reports", priority="3", **{"ids[]": [first, failed]})
    assert "Put 1 job into the queue reports?" in asked
    assert "1 more is meant as well, in a state that does not allow it" in asked
    started = olga.send("/bulk/start", fields_of(asked))
    asked = bulk_of(olga, action="change_priority", priority="-4", which="filter", q="o")
    assert "Give 2 jobs the priority -4?" in asked
    olga.send("/bulk/start", fields_of(asked))
    asked = bulk_of(olga, action="run_now", which="filter", q="o")
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
    asked = bulk_of(olga, action="delete", which="filter", status="waiting")
    assert "Type 101 to go on" in asked

    again = olga.send("/bulk/start", {**fields_of(asked), "typed": "11"}).headers["Location"]
    asked = olga.see(again.removeprefix(PREFIX))
    assert "11 was typed, not 101; nothing was done." in asked and "Delete 101 jobs?" in asked
    olga.send("/bulk/start", {**fields_of(asked), "typed": "101"})
    bulks(olga.site.state)
    assert olga.site.all_jobs() == []


def started(olga: Person, page: str) -> list[str]:
    """Start what a page asks for; return the states of all jobs when it is done."""
    olga.send("/bulk/start", fields_of(page))
    bulks(olga.site.state)
    return sorted(job.state for job in olga.site.all_jobs())


@pytest.mark.requirement("O01", "L06")
@pytest.mark.parametrize("which", ["filter", "ids"])
def test_jobs_that_come_after_the_question_are_not_touched(olga: Person, which: str) -> None:
    ids = [olga.api.send(str(n), tags=["x"]) for n in range(2)]
    asked = bulk_of(olga, action="cancel", which=which, q="tag:x", **{"ids[]": ids})
    assert "Cancel 2 jobs?" in asked
    at = datetime.fromisoformat(fields_of(asked)["as_of"])
    wait_for(lambda: moment(olga.site.state) > at, "the database's clock to go on")
    olga.api.send("late", tags=["x"])

    assert started(olga, asked) == ["cancelled", "cancelled", "waiting"]


def test_another_number_than_was_asked_about_is_asked_about_again(olga: Person) -> None:
    ids = [olga.api.send(str(n), tags=["x"]) for n in range(4)]
    asked = bulk_of(olga, action="cancel", which="filter", q="tag:x")
    olga.site.jobs.cancel(ids[0])

    again = olga.send("/bulk/start", fields_of(asked)).headers["Location"]
    asked = olga.see(again.removeprefix(PREFIX))

    assert "By now it would touch 3 jobs and not 4 as expected; nothing was done." in asked
    assert "Cancel 3 jobs?" in asked and "All that match <code>tag:x</code>" in asked
    olga.site.jobs.cancel(ids[1])  # it goes on changing, and those left are done
    assert started(olga, asked) == ["cancelled"] * 4


@pytest.mark.requirement("L06")
def test_all_that_match_are_deleted_whether_they_ended_or_wait(olga: Person) -> None:
    olga.api.send("1", tags=["x"], delay=3_600_000), olga.api.send("2", tags=["x"])
    running = olga.api.send("3", tags=["x"])
    olga.site.claim(olga.site.process(), running)

    asked = bulk_of(olga, action="delete", which="filter", q="tag:x")

    assert "Delete 2 jobs?" in asked and "1 more is meant as well" in asked
    assert started(olga, asked) == ["active"]
    asked = bulk_of(olga, action="delete", which="filter", q="tag:x")
    assert "1 job is meant, and none of them can be treated so: jobs that run cannot be deleted." in asked
    assert "No job is like that by now." in bulk_of(olga, action="delete", which="filter", q="tag:y")


def test_jobs_that_cannot_be_treated_so_are_not_counted(olga: Person) -> None:
    ids = [olga.api.send("1"), olga.api.send("2")]
    olga.site.worker.drain()

    asked = bulk_of(olga, action="retry", **{"ids[]": ids})

    assert "2 jobs are meant, and none of them can be treated so: only failed and cancelled jobs" in asked
    assert "/bulk/start" not in asked
    assert "Retry 1 job?" in bulk_of(olga, action="retry", **{"ids[]": [*ids, olga.api.fail("boom")]})


def test_the_question_can_be_loaded_again_and_gone_back_to(olga: Person) -> None:
    olga.api.send("1", tags=["a b"])
    form = {"csrf": olga.csrf(), "action": "cancel", "which": "filter", "q": 'tag:"a b"', "status": "waiting"}
    asking = olga.send("/bulk", {**form, "next": f"{PREFIX}/jobs?q=tag%3Ax"}).headers["Location"]
    asked = olga.see(asking.removeprefix(PREFIX))
    assert "All that match <code>tag:&#34;a b&#34; state:waiting</code>" in asked
    started = olga.send("/bulk/start", fields_of(asked)).headers["Location"]

    assert f'href="{PREFIX}/jobs?q=tag%3Ax">Back to the jobs' in olga.see(started.removeprefix(PREFIX))
    assert "Cancel 1 job?" in olga.see(asking.removeprefix(PREFIX))  # the browser's way back, no form


def test_a_question_of_somebody_else_or_a_made_up_one_leads_to_the_jobs(api: Api) -> None:
    olga, bert = signed_in(api), Person(api.as_(subject="bert"))
    bert.sign_in()
    asking = olga.send(
        "/bulk", {"csrf": olga.csrf(), "action": "cancel", "which": "ids", "ids[]": api.send("1")}
    ).headers["Location"]
    for person, path in ((bert, asking.removeprefix(PREFIX)), (olga, "/bulk/ask?of=made-up"), (olga, "/bulk/ask")):
        assert person.browser.get(PREFIX + path).headers["Location"] == f"{PREFIX}/jobs"
        assert "Choose again." in person.see("/jobs")
    olga.send("/bulk/start", {"csrf": olga.csrf(), "of": "made-up", "expected": "1"})
    signed_in(api, "read").see(asking.removeprefix(PREFIX), 403)
    assert audited(api) == []


def test_more_than_an_address_holds_is_asked_about_at_once(olga: Person) -> None:
    ids = [olga.api.send(str(n)) for n in range(150)]
    asked = bulk_of(olga, action="cancel", **{"ids[]": ids})
    assert "Type 150 to go on" in asked

    answer = olga.send("/bulk/start", {**fields_of(asked), "typed": "1"}, 200)

    assert "1 was typed, not 150; nothing was done." in answer.text and "Cancel 150 jobs?" in answer.text
    olga.send("/bulk/start", {**fields_of(answer.text), "typed": "150"})


def test_a_search_and_a_tab_that_no_job_is_in_together_are_said(olga: Person) -> None:
    olga.api.send("1"), olga.api.fail("boom")
    page = olga.see("/jobs?status=completed&q=state:failed")
    assert "The search says state:failed and the tab completed; no job is both." in page
    assert len(listed(olga.see("/jobs?status=failed&q=state:failed+state:waiting"))) == 1
    assert "no job is both" in bulk_of(olga, action="retry", which="filter", q="state:failed", status="waiting")


def test_nothing_selected_is_said(olga: Person) -> None:
    olga.send("/bulk", {"csrf": olga.csrf(), "action": "retry", "which": "ids", "next": f"{PREFIX}/jobs"})
    assert "No job is selected." in olga.see("/jobs")


@pytest.mark.requirement("L09")
def test_a_job_that_waits_says_why(operator: Person) -> None:
    job = operator.api.send("ada@example.com")
    assert "No worker takes jobs of the queue email." in operator.see(f"/jobs/{job}")
    operator.site.process()
    operator.site.execute("UPDATE understudy_workers SET queues = '[\"email\"]'")
    assert "It waits for a free worker" in operator.see(f"/jobs/{job}")
    operator.site.execute(f"UPDATE understudy_workers SET drained_at = {operator.site.moment(0)}")
    assert "Every worker that takes jobs of the queue email is drained." in operator.see(f"/jobs/{job}")
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
