"""Asking people: the link, the page behind it, and what the job hears."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from werkzeug.test import Client

from flask_understudy import step
from flask_understudy.operations import approvals
from tests.flask_understudy.conftest import Site
from tests.flask_understudy.rest.conftest import who
from tests.flask_understudy.steps.test_steps import described


@pytest.fixture
def links() -> list[str]:
    return []


@pytest.fixture
def asking(site: Site, links: list[str]) -> Any:
    """An actor that asks for an approval."""
    site.app.config["SECRET_KEY"] = "a secret for tests, long enough"
    site.jobs.authorizer(who)

    @site.jobs.actor(max_retries=0)
    def ask(seconds: float = 3600) -> Any:
        decision = step.approve(
            "manager", prompt="Pay <b>7</b>?", to="ann", timeout=timedelta(seconds=seconds), notify=links.append
        )
        return [decision.approved, decision.state, decision.by, decision.comment]

    return ask


@pytest.fixture
def browser(site: Site) -> Client:
    return site.app.test_client()


@pytest.mark.requirement("B14")
def test_a_link_shows_a_page_and_decides_only_when_it_is_posted(
    site: Site, asking: Any, links: list[str], browser: Client
) -> None:
    message = asking.send()
    assert site.worker.run(message).state == "delayed"
    [link] = links

    for _ in range(3):  # as mail scanners do
        page = browser.get(link)
        assert page.status_code == 200
        assert "Pay &lt;b&gt;7&lt;/b&gt;?" in page.text
        assert "<script" not in page.text
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["Cache-Control"] == "no-store"
        browser.head(link)
    assert site.job(message).state == "delayed"

    posted = browser.post(link, data={"decision": "approve", "comment": "fine"})
    assert (posted.status_code, "Approved" in posted.text) == (200, True)
    assert site.job(message).state == "waiting"

    again = browser.post(link, data={"decision": "reject"})
    assert again.status_code == 409
    assert "This was approved already, by link:ann." in again.text
    assert "Approved" in browser.get(link).text

    assert site.worker.run(message).result == [True, "approved", "link:ann", "fine"]
    assert links == [link]
    assert described(site, message) == [("manager", "completed"), ("manager/notify", "completed")]


def test_a_no_is_a_decision_as_well(site: Site, asking: Any, links: list[str], browser: Client) -> None:
    message = asking.send()
    site.worker.run(message)
    browser.post(links[0], data={"decision": "reject"})

    assert site.worker.run(message).result == [False, "rejected", "link:ann", ""]


def test_nobody_s_decision_is_no(site: Site, asking: Any, links: list[str], browser: Client) -> None:
    message = asking.send(0.001)
    site.worker.run(message)

    late = browser.post(links[0], data={"decision": "approve"})

    assert late.status_code == 409
    assert "its time is over" in late.text
    assert site.worker.run(message).result == [False, "expired", "", ""]
    assert described(site, message)[0] == ("manager", "timed_out")
    assert "Expired" in browser.get(links[0]).text


def test_a_decision_while_the_job_is_on_its_way_is_not_lost(site: Site, links: list[str], browser: Client) -> None:
    site.app.config["SECRET_KEY"] = "a secret for tests, long enough"
    site.jobs.authorizer(who)

    @site.jobs.actor(max_retries=0)
    def ask() -> bool:
        return step.approve(
            "manager", prompt="?", notify=lambda link: browser.post(link, data={"decision": "approve"}).status_code
        ).approved

    message = ask.send()
    assert site.worker.run(message).state == "waiting"
    assert site.worker.run(message).result is True


@pytest.mark.parametrize(
    ("form", "status"),
    [({}, 422), ({"decision": "maybe"}, 422), ({"decision": "approve", "comment": "x" * 1001}, 422)],
)
def test_a_form_that_makes_no_sense_decides_nothing(
    site: Site, asking: Any, links: list[str], browser: Client, form: dict[str, str], status: int
) -> None:
    message = asking.send()
    site.worker.run(message)

    assert browser.post(links[0], data=form).status_code == status
    assert site.job(message).state == "delayed"


def test_a_link_that_was_altered_opens_nothing(site: Site, asking: Any, links: list[str], browser: Client) -> None:
    site.worker.run(asking.send())

    for link in (links[0][:-1], links[0] + "x", links[0].rpartition("/")[0] + "/%00"):
        assert browser.get(link).status_code == 404
        assert browser.post(link, data={"decision": "approve"}).status_code == 404
    assert [a.state for a in approvals.listing(site.state)] == ["pending"]


def test_what_ended_cannot_be_decided(site: Site, asking: Any, links: list[str], browser: Client) -> None:
    message = asking.send()
    site.worker.run(message)
    site.jobs.cancel(message.message_id)

    assert browser.post(links[0], data={"decision": "approve"}).status_code == 409
    site.jobs.clean("default", "cancelled")
    assert browser.get(links[0]).status_code == 404


def test_without_the_api_there_is_no_link(sqlite_site: Site) -> None:
    @sqlite_site.jobs.actor(max_retries=0)
    def ask() -> None:
        step.approve("manager", prompt="?", notify=print)

    assert "is part of the REST API, which is not mounted" in str(sqlite_site.worker.run(ask.send()).error)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"prompt": ""}, "prompt is ''; it takes a text of 1 to 2000 characters"),
        ({"prompt": "?", "to": "x" * 201}, "it takes a text of 0 to 200 characters"),
        ({"prompt": "?", "timeout": timedelta(days=9999)}, "it takes a timedelta from 0 to 3660 days"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_in_words(sqlite_site: Site, given: Any, says: str) -> None:
    @sqlite_site.jobs.actor(max_retries=0)
    def ask() -> None:
        step.approve("manager", **given)

    assert says in str(sqlite_site.worker.run(ask.send()).error)


def test_the_link_names_the_server_where_that_is_known(site: Site, asking: Any, links: list[str]) -> None:
    site.app.config["SERVER_NAME"] = "jobs.example"
    site.app.config["PREFERRED_URL_SCHEME"] = "https"
    site.worker.run(asking.send())

    assert links[0].startswith("https://jobs.example/api/jobs/decide/")
