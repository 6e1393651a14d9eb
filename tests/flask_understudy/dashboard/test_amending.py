"""Changing a job that waits, and replaying one with other arguments."""

from __future__ import annotations

import html
from datetime import UTC, datetime

import pytest

from tests.flask_understudy.dashboard.conftest import PREFIX, Person, signed_in
from tests.flask_understudy.dashboard.test_pages import HOSTILE
from tests.flask_understudy.dashboard.test_workers import audited
from tests.flask_understudy.rest.conftest import Api


def test_a_job_that_waits_is_changed(olga: Person) -> None:
    job = olga.api.send("ada@example.com")
    olga.press(
        olga.see(f"/jobs/{job}"), "amend_job", priority="-5", queue="reports", **{"runAt:utc": "2030-01-31T09:30"}
    )
    found = olga.site.job(job)
    assert (found.priority, found.queue, found.state) == (-5, "reports", "delayed")
    assert found.run_at == datetime(2030, 1, 31, 9, 30, tzinfo=UTC)
    assert "It is changed." in olga.see(f"/jobs/{job}")

    olga.press(olga.see(f"/jobs/{job}"), "amend_job", **{"runAt:utc": "2030-01-31T09:30:15"})
    found = olga.site.job(job)
    assert (found.priority, found.queue, found.run_at.second) == (-5, "reports", 15)
    assert audited(olga) == [("job.amend", job), ("job.amend", job)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "Say what shall change"),
        ({"priority": "5000"}, "priority: "),
        ({"queue": "nowhere"}, "nowhere"),
        ({"runAt:utc": "tomorrow"}, "runAt: "),
        ({"runAt:utc": "2001-05-01T00:00", "queue": "reports"}, "2001-05-01T00:00:00+00:00, which has passed"),
    ],
    ids=["nothing", "priority", "queue", "time", "past"],
)
def test_what_cannot_be_is_said_and_changes_nothing(sqlite_api: Api, changed: dict[str, str], said: str) -> None:
    olga = signed_in(sqlite_api)
    job = olga.api.send("ada@example.com")
    olga.press(olga.see(f"/jobs/{job}"), "amend_job", **changed)
    page = olga.see(f"/jobs/{job}")
    assert 'role="alert"' in page and said in page
    assert (olga.site.job(job).queue, olga.site.job(job).state) == ("email", "waiting")
    assert audited(olga) == []


def test_what_runs_or_has_ended_cannot_be_changed(olga: Person) -> None:
    job = olga.api.fail("boom")
    assert "amend_job" not in olga.see(f"/jobs/{job}")
    olga.send("/do/amend_job", {"csrf": olga.csrf(), "job_id": job, "priority": "1", "next": f"{PREFIX}/jobs/{job}"})
    assert 'role="alert"' in olga.see(f"/jobs/{job}")


@pytest.mark.requirement("O03")
def test_a_job_is_replayed_with_other_arguments(olga: Person) -> None:
    job = olga.api.send("ada@example.com", 1, "s3cret-value")
    page = olga.see(f"/jobs/{job}")
    form = page[page.index("Replay with other arguments") :]
    assert "s3cret-value" not in page

    payload = '{"to": "bob@example.com", "n": 2, "token": "another"}'
    answer = olga.press(form, "replay_job", **{"payload:json": payload})

    new = answer.headers["Location"].removeprefix(f"{PREFIX}/jobs/")
    assert new != job
    assert olga.site.job(new).kwargs == {"to": "bob@example.com", "n": 2, "token": "another"}
    assert f"/jobs/{job}" in olga.see(f"/jobs/{new}") and audited(olga) == [("job.replay", job)]


def test_what_the_api_may_not_send_gets_no_other_arguments(api: Api) -> None:
    olga = signed_in(api)
    job = api.send(actor="private")
    page = olga.see(f"/jobs/{job}")
    assert "other arguments" not in page and "Replay" in page

    form = {"csrf": olga.csrf(), "job_id": job, "payload:json": '{"to": "eve"}', "next": f"{PREFIX}/jobs/{job}"}
    olga.send("/do/replay_job", form)

    assert "cannot be sent through the API" in olga.see(f"/jobs/{job}")
    assert len(api.site.all_jobs()) == 1


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ('{"to": ', "not JSON"),
        ('{"to": 1}', "valid string"),
        ("[1]", "payload: "),
        ('{"n": 1, "n": 2}', "twice"),
        ('{"to": "eve@example.com", "n": 1, "token": "***"}', "give the value anew"),
        (f'{{"to": "{HOSTILE[:8]}", "no": "{HOSTILE[8:16]}"}}', "no"),
    ],
    ids=["open", "kind", "list", "twice", "withheld", "hostile"],
)
def test_what_is_refused_can_be_corrected(sqlite_api: Api, payload: str, said: str) -> None:
    olga = signed_in(sqlite_api)
    job = olga.api.send("ada@example.com", 1, "s3cret-value")
    form = {"csrf": olga.csrf(), "job_id": job, "edited": "payload", "payload:json": payload}
    answer = olga.browser.post(f"{PREFIX}/do/replay_job", data=form)
    assert 400 <= answer.status_code < 500
    assert said in html.unescape(answer.text) and payload in html.unescape(answer.text)
    assert "<script>" not in answer.text
    assert len(olga.site.all_jobs()) == 1

    olga.press(answer.text, "replay_job", **{"payload:json": '{"to": "bob@example.com"}'})
    assert len(olga.site.all_jobs()) == 2


def test_who_does_not_see_arguments_gives_none(api: Api) -> None:
    job = api.send("ada@example.com")
    operator = signed_in(api, "read operate")
    assert "other arguments" not in operator.see(f"/jobs/{job}") and "amend_job" in operator.see(f"/jobs/{job}")
    form = {"csrf": operator.csrf(), "job_id": job, "payload:json": '{"to": "eve"}', "next": f"{PREFIX}/jobs/{job}"}
    operator.send("/do/replay_job", form)
    assert "This needs the scope" in operator.see(f"/jobs/{job}")
    assert len(api.site.all_jobs()) == 1
