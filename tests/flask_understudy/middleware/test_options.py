"""What an actor may declare."""

from __future__ import annotations

from typing import Any

import dramatiq
import pytest

from flask_understudy.errors import ConfigError
from tests.flask_understudy.conftest import Site


@pytest.mark.requirement("B01", "C03", "H17")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attempts": 3, "max_retries": 3}, "attempts=3 and max_retries=3 disagree"),
        ({"attempts": 0}, "attempts is 0; it takes a whole number, 1 or more"),
        ({"max_retries": -1}, "max_retries is -1"),
        ({"fallback": "wait"}, "fallback is 'wait'; it takes one of sync, hold, fail"),
        ({"min_backoff": -1}, "min_backoff is -1; it takes a number from 0 to 316224000000"),
        ({"backoff_factor": "5"}, "backoff_factor is '5'"),
        ({"jitter": float("nan")}, "jitter is nan"),
        ({"time_limit": True}, "time_limit is True"),
        ({"on_failure": 7}, "on_failure is 7; it takes an actor or its name"),
    ],
)
@pytest.mark.parametrize("how", ["understudy", "dramatiq"])
def test_a_wrong_option_is_refused_where_it_is_written(
    sqlite_site: Site, options: dict[str, Any], message: str, how: str
) -> None:
    decorator = sqlite_site.jobs.actor if how == "understudy" else dramatiq.actor
    with pytest.raises(ConfigError, match=f"Actor work: {message}"):

        @decorator(**options)
        def work() -> None: ...

    assert "work" not in sqlite_site.jobs.broker.actors


def test_an_unknown_option_is_refused(sqlite_site: Site) -> None:
    with pytest.raises(ValueError, match="atempts"):

        @sqlite_site.jobs.actor(atempts=3)
        def work() -> None: ...


@pytest.mark.requirement("C03")
def test_attempts_and_retries_that_agree_are_accepted(sqlite_site: Site) -> None:
    @sqlite_site.jobs.actor(attempts=4, max_retries=3, time_limit=float("inf"))
    def work() -> None: ...

    assert sqlite_site.job(work.send()).max_attempts == 4
    assert sqlite_site.worker.drain()[0].state == "completed"
