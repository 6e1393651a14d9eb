"""Waiting for the end of a job in a program of one's own."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from flask_understudy.operations import waiting
from flask_understudy.waiting import WaitingRoom
from tests.flask_understudy.conftest import Site


@pytest.fixture
def work(site: Site) -> Any:
    @site.jobs.actor()
    def work() -> None: ...

    return work


def test_who_waits_gets_the_job_once_it_has_ended(site: Site, work: Any) -> None:
    id = work.send().message_id
    canceller = threading.Timer(0.1, site.jobs.cancel, [id])
    canceller.start()

    job = site.jobs.wait(id, 20)
    canceller.join()

    assert job is not None and job.state == "cancelled"


def test_what_has_not_ended_is_shown_as_it_is(site: Site, work: Any) -> None:
    job = site.jobs.wait(work.send().message_id, 0.01)

    assert job is not None and job.state == "waiting"
    assert site.jobs.wait("nothing", 20) is None


def test_a_caller_without_a_place_does_not_wait(site: Site, work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "wait_for_end", None)  # who waits fails
    site.state.waiting_room = WaitingRoom(0, 0)

    job = site.jobs.wait(work.send().message_id, 20, caller=("tenant", "ada"))

    assert job is not None and job.state == "waiting"
