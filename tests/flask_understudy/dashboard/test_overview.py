"""The first page, queues and failures."""

from __future__ import annotations

import re

import pytest

from flask_understudy.clock.bulks import bulks
from tests.flask_understudy.dashboard.conftest import PREFIX, Person, fields_of, signed_in
from tests.flask_understudy.rest.conftest import Api


@pytest.mark.requirement("L01", "L02", "L06", "V14")
def test_the_first_page_says_how_it_is_and_what_failed(operator: Person) -> None:
    assert "All is well" in operator.see()
    operator.api.fail("no route to host")
    operator.api.send("ada@example.com")
    page = operator.see()
    assert "ValueError: no route to host" in page
    assert "<strong>1</strong> waiting" in page and "<strong>1</strong> failed" in page
    assert "Attempts that ended" in page and "<svg" in page
    assert "<strong>100.0 %</strong> failing in 5 min" in page and "<strong>0</strong> schedules overdue" in page


@pytest.mark.requirement("L02", "L05")
def test_a_paused_queue_in_which_jobs_wait_stands_above_all(operator: Person) -> None:
    operator.press(operator.see("/queues/email"), "pause_queue")
    assert "All is well" in operator.see()
    operator.api.send("ada@example.com")

    page = operator.see()

    banner = page[page.index('class="banner') : page.index("</section>")]
    assert "All is well" not in page and "Jobs wait in a paused queue" in banner and "banner-degraded" in banner
    assert "1 job waits in it" in banner
    operator.press(banner, "resume_queue")
    assert "All is well" in operator.see()


def test_what_is_not_counted_by_tenant_is_not_told_to_one(olga: Person) -> None:
    olga.api.fail("boom")
    assert "<svg" not in olga.see()


@pytest.mark.parametrize("span", ["1h", "6h", "24h", "7d", "nonsense"])
def test_the_charts_reach_back_as_far_as_asked(operator: Person, span: str) -> None:
    operator.api.fail("boom")
    assert "<svg" in operator.see(f"?span={span}")


def test_an_empty_ledger_says_what_to_do_next(olga: Person) -> None:
    assert "actor.send" in olga.see("/jobs")
    assert "Nothing has failed." in olga.see("/failures")


@pytest.mark.requirement("L05", "L06")
def test_a_queue_is_paused_resumed_limited_and_cleaned(operator: Person) -> None:
    done = operator.api.send("ada@example.com")
    operator.site.worker.run(done)
    page = operator.see("/queues/email")
    operator.press(page, "pause_queue")
    assert "paused" in operator.see("/queues")
    operator.press(operator.see("/queues/email"), "resume_queue")
    operator.press(operator.see("/queues/email"), "limit_queue", concurrency="3")
    assert 'value="3"' in operator.see("/queues/email")
    operator.api.send("ada@example.com")
    asked = operator.press(operator.see("/queues/email"), "drain_queue", 200)
    assert "1 job waits." in asked.text
    operator.press(asked.text, "drain_queue")
    asked = operator.press(operator.see("/queues/email"), "clean_queue", 200, status="completed", grace="0")
    operator.press(asked.text, "clean_queue")
    assert operator.site.jobs.get(done) is None
    assert "1 job removed." in operator.see("/queues/email")


def test_a_number_that_cannot_be_is_said(operator: Person) -> None:
    operator.press(operator.see("/queues/email"), "limit_queue", concurrency="0")
    assert 'role="alert"' in operator.see("/queues/email")


def test_only_who_may_sees_the_switches_of_a_queue(api: Api) -> None:
    page = signed_in(api).see("/queues/email")
    assert "pause_queue" not in page and "limit_queue" not in page and "drain_queue" in page
    page = signed_in(api, "read tenants").see("/queues/email")
    assert "pause_queue" not in page and "limit_queue" not in page and "drain_queue" not in page


@pytest.mark.requirement("L08", "O01")
def test_failures_stand_together_and_are_settled_together(olga: Person) -> None:
    for _ in range(2):
        olga.api.fail("boom 7")
    page = olga.see("/failures")
    assert "ValueError: boom 7" in page and '<td class="number">2</td>' in page

    olga.press(page, "ignore_failures")
    assert "boom 7" not in olga.see("/failures")
    assert "boom 7" in olga.see("/failures?verdict=ignored")

    asked = olga.press(olga.see("/failures?verdict=ignored"), "retry_failures", 200)
    olga.press(asked.text, "retry_failures")


@pytest.mark.requirement("L09")
def test_a_queue_shows_how_long_its_jobs_took_and_who_holds_its_keys(olga: Person) -> None:
    api = olga.api
    assert "No job completed in the last 60 minutes." in olga.see("/queues/email")
    api.site.worker.run(ended := api.send("a"))
    api.site.change(ended, **{name: api.site.moment(-90) for name in ("created_at", "run_at")})
    api.site.change(ended, started_at=api.site.moment(-80), finished_at=api.site.moment(-60))
    holder, waits = api.send("b", concurrency_key="<b>shop"), api.send("c", concurrency_key="<b>shop")
    assert api.site.claim(api.site.process(), holder)

    page = olga.see("/queues/email")

    assert re.search(r'ran</th><td class="number">20 s</td><td class="number">20 s</td>', page)
    assert re.search(r'waited</th><td class="number">10 s</td>', page)
    assert "&lt;b&gt;shop" in page and "<b>shop" not in page
    assert f'href="{PREFIX}/jobs/{holder}"' in page and waits not in page
    assert holder not in signed_in(api, tenant="birch").see("/queues/email")


@pytest.mark.requirement("L08", "O01")
def test_a_kind_of_failure_is_deleted_after_a_question(olga: Person) -> None:
    gone, kept = olga.api.fail("boom 7"), olga.api.fail("no", "key")
    page = olga.see("/failures")
    fingerprint = str(olga.site.job(gone).fingerprint)
    form = next(f for f in re.findall(r"<form.*?</form>", page, re.S) if f"fingerprint:{fingerprint}" in f)

    asked = olga.send("/bulk", {**fields_of(form), "action": "delete"})
    question = olga.browser.get(asked.location).text
    assert "Delete 1 job?" in question
    olga.send("/bulk/start", fields_of(question))
    bulks(olga.site.state)

    assert olga.site.jobs.get(gone) is None and olga.site.job(kept).state == "failed"
