"""The audit: who did what, found and led through."""

from __future__ import annotations

import csv
import io
import re

import pytest

from tests.flask_understudy.dashboard.conftest import PREFIX, Person, signed_in
from tests.flask_understudy.dashboard.test_pages import HOSTILE
from tests.flask_understudy.rest.conftest import Api


def test_an_empty_audit_says_so(olga: Person) -> None:
    assert "Nobody has done anything yet." in olga.see("/audit")


def test_it_says_who_did_what_and_is_searched(olga: Person) -> None:
    first, second = olga.api.fail("boom"), olga.api.fail("boom")
    olga.press(olga.see(f"/jobs/{first}"), "retry_job")
    olga.press(olga.see(f"/jobs/{second}"), "replay_job")

    page = olga.see("/audit")
    assert "job.retry</a>" in page and "job.replay</a>" in page and f"/jobs/{first}" in page
    assert "127.0.0.1" in page

    assert "job.replay</a>" not in olga.see("/audit?action=job.retry")
    assert second not in olga.see(f"/audit?target={first}")
    assert "Nothing like that was done." in olga.see("/audit?subject=igor")


def test_pages_lead_on_and_keep_what_is_looked_for(olga: Person) -> None:
    jobs = [olga.api.send("ada@example.com") for _ in range(26)]
    for job in jobs:
        olga.api.patch(f"/{job}", json={"priority": 1})
    first = olga.see("/audit?action=job.amend&limit=25")
    assert jobs[-1] in first and jobs[0] not in first
    following = re.search(r'rel="next" href="[^"?]*([^"]+)"', first)
    assert following is not None and "action=job.amend" in following[1]
    assert jobs[0] in olga.see("/audit" + following[1].replace("&amp;", "&"))


def test_days_are_chosen_and_what_is_shown_is_downloaded(olga: Person) -> None:
    old, new = olga.api.fail("=1+1"), olga.api.fail("boom")
    olga.press(olga.see(f"/jobs/{old}"), "retry_job")
    olga.press(olga.see(f"/jobs/{new}"), "retry_job")
    olga.site.execute(f"UPDATE understudy_audit SET at = '2026-03-01 23:30:00.000000' WHERE target = '{old}'")

    for days, shown in (
        ("until=2026-03-01", old),
        ("since=2026-03-01&until=2026-03-01", old),
        ("since=2026-03-02", new),
    ):
        page, file = olga.see(f"/audit?{days}"), olga.browser.get(f"{PREFIX}/audit.csv?{days}")
        assert shown in page and ({old, new} - {shown}).pop() not in page, days
        assert file.mimetype == "text/csv" and 'filename="audit.csv"' in file.headers["Content-Disposition"]
        lines = list(csv.DictReader(io.StringIO(file.text.lstrip("\ufeff"))))
        assert [(line["action"], line["target"], line["subject"]) for line in lines] == [("job.retry", shown, "olga")]
    assert "Nothing like that was done." in olga.see("/audit?until=2026-02-28")


@pytest.mark.parametrize("day", ["yesterday", "2026-13-01", "9999-12-31"])
def test_a_day_that_is_none_is_refused_with_a_word(olga: Person, day: str) -> None:
    assert ('role="alert"' in olga.see(f"/audit?until={day}")) is (day != "9999-12-31")
    assert olga.browser.get(f"{PREFIX}/audit.csv?since={day}").status_code == (200 if day == "9999-12-31" else 422)


def test_only_who_may_see_the_audit_downloads_it(api: Api) -> None:
    assert signed_in(api, "read operate").browser.get(f"{PREFIX}/audit.csv").status_code == 403


@pytest.mark.parametrize("before", ["0", "yesterday", "-1"])
def test_a_place_that_is_none_is_refused_with_a_word(olga: Person, before: str) -> None:
    assert 'role="alert"' in olga.see(f"/audit?before={before}")


def test_what_no_database_can_be_asked_for_is_refused(olga: Person) -> None:
    olga.see("/audit?subject=a%00b", 400)
    olga.see("/types/a%00b", 404)
    olga.send("/types/a%00b", {"csrf": olga.csrf()}, 404)


def test_hostile_details_are_shown_and_do_nothing(api: Api) -> None:
    operator = signed_in(api, "read admin operate tenants")
    operator.api.patch("/limits/smtp", json={"concurrency": 2}, query_string={"tenant": HOSTILE})
    page = operator.see("/audit")
    assert "limit.set" in page and "<script>alert" not in page and "<img src=x" not in page and ">49<" not in page


def test_the_audit_is_for_admins_of_the_tenant(api: Api) -> None:
    job = api.fail("boom")
    api.post(f"/{job}/retry")
    eve, reader = signed_in(api, tenant="birch"), signed_in(api, "read operate")
    assert job not in eve.see("/audit")
    assert "/audit" not in reader.see()
    reader.see("/audit", 403)
