"""The jobs of a search as CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime
from typing import Any

import pytest
from werkzeug.test import TestResponse

from flask_understudy.rest import exporting
from tests.flask_understudy.rest.conftest import EVERY_SCOPE, PREFIX, Api


def rows(answer: TestResponse) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text)))


def plain(name: str, value: Any) -> Any:
    """A value as both tell it."""
    if name.endswith("At") and value:
        return datetime.fromisoformat(value)
    return "" if value is None else str(value)


@pytest.mark.requirement("L02")
def test_it_has_the_rows_and_fields_of_the_list(api: Api) -> None:
    api.send("a@b.c", tags=["vip", "new"], priority=-5)
    api.fail("the disk is\nfull")
    api.site.worker.run(api.send("x@y.z"))

    answer = api("GET", "/export")
    listed = api.get("")["data"]

    found = rows(answer)
    assert list(found[0]) == list(listed[0])
    assert answer.headers["Content-Disposition"] == 'attachment; filename="jobs.csv"'
    assert "Link" not in answer.headers
    for row, job in zip(found, listed, strict=True):
        assert {name: plain(name, value) for name, value in row.items() if name != "tags"} == {
            name: plain(name, value) for name, value in job.items() if name != "tags"
        }
        assert json.loads(row["tags"]) == job["tags"]
    assert "-5" in [row["priority"] for row in found]


def test_a_search_is_downloaded_as_it_is_found(api: Api) -> None:
    api.send("a@b.c")
    failed = api.fail("boom")

    for query in ("status=failed", "queue=reports&sort=created_at", "error=boom", "type=broken&q=boom"):
        assert [row["id"] for row in rows(api("GET", f"/export?{query}"))] == [failed], query
    assert rows(api("GET", "/export?status=active")) == []


@pytest.mark.requirement("P04")
@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(A1)", "＝1"])
def test_what_a_spreadsheet_would_run_is_inert(sqlite_api: Api, text: str) -> None:
    sqlite_api.send("a@b.c", correlation_id=text, owner=text)

    [row] = rows(sqlite_api("GET", "/export"))

    assert row["correlationId"] == row["owner"] == "'" + text


@pytest.mark.requirement("P04")
@pytest.mark.parametrize("scopes", ["read", f"{EVERY_SCOPE} tenants"])
def test_what_jobs_carry_is_not_in_it(sqlite_api: Api, scopes: str) -> None:
    sqlite_api.site.worker.run(sqlite_api.send("ada@example.com", 1, "s3cret"))

    answer = sqlite_api.as_(scopes=scopes)("GET", "/export")

    assert len(rows(answer)) == 1
    assert "ada@example.com" not in answer.text and "s3cret" not in answer.text


@pytest.mark.requirement("P04")
def test_other_tenants_jobs_and_payloads_stay_theirs(api: Api) -> None:
    api.send("x@y.z", tenant="other")
    mine = api.send("a@b.c")

    assert [row["id"] for row in rows(api("GET", "/export"))] == [mine]
    assert len(rows(api.as_(scopes="read tenants")("GET", "/export"))) == 2
    assert api("GET", "/export?tenant=other").status_code == 403
    assert api.as_(scopes="read")("GET", "/export?payload=to:a@b.c").status_code == 403
    assert len(rows(api("GET", "/export?payload=to:a@b.c"))) == 1


def test_a_link_leads_on_to_what_is_left(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "PAGE", 2)
    sent = {api.send(str(n), tags=["a b"]) for n in range(5)}
    found: list[str] = []
    path: str | None = "/export?tag=a%20b&tag=none&limit=3"

    lengths = []
    while path is not None:
        answer = api("GET", path)
        lengths.append(len(rows(answer)))
        found += [row["id"] for row in rows(answer)]
        link: Any = re.fullmatch(r'<(.+)>; rel="next"', answer.headers.get("Link", ""))
        path = link[1].removeprefix(PREFIX) if link else None

    assert lengths == [3, 2]
    assert set(found) == sent and len(found) == 5


def test_a_search_that_takes_too_long_goes_on_in_another_request(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_understudy.ledger.search.SCAN", 2)
    monkeypatch.setattr(exporting, "SECONDS", -1)
    oldest = api.send("first", tags=["rare"])
    for n in range(3):
        api.send(str(n))
    api.site.change(oldest, created_at=api.site.moment(-60))

    first = api("GET", "/export?tag=rare")
    link = re.fullmatch(r'<(.+)>; rel="next"', first.headers["Link"])

    assert rows(first) == []
    assert first.headers["Content-Disposition"] == 'attachment; filename="jobs-first-0.csv"'
    assert link is not None
    assert [row["id"] for row in rows(api("GET", link[1].removeprefix(PREFIX)))] == [oldest]


@pytest.mark.parametrize("query", ["limit=10001", "limit=0", "status=gone", "cursor=abc", "format=xlsx", "count=true"])
def test_a_wrong_query_is_refused(sqlite_api: Api, query: str) -> None:
    answer = sqlite_api.get(f"/export?{query}", 422)

    assert answer["errors"][0]["pointer"] == "/" + query.partition("=")[0]


def test_a_cursor_of_the_list_does_not_lead_on_here(sqlite_api: Api) -> None:
    for n in range(2):
        sqlite_api.send(str(n))

    sqlite_api.get(f"/export?cursor={sqlite_api.get('?limit=1')['nextCursor']}", 422)
