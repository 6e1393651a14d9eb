"""What is refused at the send, before anything is stored, and what is not."""

from __future__ import annotations

import functools
import math
from typing import Any

import dramatiq
import pytest
from dramatiq.middleware import Middleware

from flask_understudy.errors import ConfigError, InvalidJob
from tests.flask_understudy.conftest import Site

pytestmark = pytest.mark.requirement("C12")


@pytest.fixture
def site(sqlite_site: Site) -> Site:
    return sqlite_site


@pytest.fixture
def add(site: Site) -> Any:
    @site.jobs.actor()
    def add(a: int, b: int, *, scale: int = 1) -> int:
        return (a + b) * scale

    return add


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"foo": 1}, "add: 'foo' is no option of a send. There are api, attempts, "),
        ({"max_retrys": 1}, "'max_retrys' is no option of a send. Did you mean 'max_retries'"),
        ({"dedupkey": "x"}, "Did you mean 'dedup_key'"),
        ({"on_success": "ad"}, "add: on_success is 'ad', and no actor has that name. Did you mean 'add'"),
        ({"on_failure": "nobody"}, "on_failure is 'nobody'"),
        ({"on_retry_exhausted": 7}, "on_retry_exhausted is 7"),
        ({"min_backoff": "5"}, "add: min_backoff is '5'; it takes a number"),
        ({"max_backoff": -1}, "max_backoff is -1"),
        ({"min_backoff": math.inf}, "min_backoff is inf"),
        ({"backoff_factor": True}, "backoff_factor is True"),
        ({"backoff_factor": 1e6}, "backoff_factor is 1000000.0; it takes a number from 0 to 1000"),
        ({"jitter": 2}, "jitter is 2; it takes a number from 0 to 1"),
        ({"time_limit": 10**400}, "time_limit is 1000"),
        ({"time_limit": math.nan}, "time_limit is nan"),
        ({"max_age": []}, "max_age is \\[\\]"),
        ({"dedup_key": 5}, "dedup_key is 5; it takes a printable text"),
        ({"pipe_target": {"actor": "add"}}, "pipe_target is no message of a known actor"),
    ],
)
def test_wrong_option_of_a_call_is_named(site: Site, add: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidJob, match=message):
        add.send_with_options(args=(1, 2), **options)

    assert site.all_jobs() == []


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, r"The arguments do not fit add\(a.*, b.*\).*: missing a required argument: 'a'"),
        ((1,), {}, "missing a required argument: 'b'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1, 2), {"b": 3}, "multiple values for argument 'b'"),
        ((1, 2), {"c": 3}, "unexpected keyword argument 'c'"),
        (({1: 2}, 3), {}, "a dict with the key 1; JSON has texts as keys, such as '1'"),
        ((1,), {"b": [{"x": {None: 1}}]}, "a dict with the key None"),
    ],
)
def test_arguments_that_do_not_fit_are_named(site: Site, add: Any, args: Any, kwargs: Any, message: str) -> None:
    with pytest.raises(InvalidJob, match=message):
        add.send_with_options(args=args, kwargs=kwargs)
    with pytest.raises(InvalidJob, match=message):
        site.jobs.send_many([add.message(1, 2), add.message(*args, **kwargs)])

    assert site.all_jobs() == []


def test_later_stages_of_a_pipeline_are_checked_when_it_is_sent(site: Site, add: Any) -> None:
    for wrong, message in (
        (add.message(1, 2), "too many positional arguments, the result of the step before included"),
        (add.message_with_options(args=(1,), foo=1), "'foo' is no option"),
        (add.message_with_options(args=(1,), pipe_ignore=True), "missing a required argument: 'b'"),
    ):
        with pytest.raises(InvalidJob, match=message):
            (add.message(1, 2) | add.message(3) | wrong).run()
    assert site.all_jobs() == []

    (add.message(1, 2) | add.message(3) | add.message_with_options(args=(4, 5), pipe_ignore=True)).run()
    assert [job.result for job in site.worker.drain()] == [3, 6, 9]


def test_options_that_a_middleware_declares_are_accepted(site: Site, add: Any) -> None:
    class Colour(Middleware):
        @property
        def actor_options(self) -> set[str]:
            return {"colour"}

        def before_enqueue(self, broker: Any, message: Any, delay: Any) -> None:
            message.options["added_by_a_hook"] = 1

    site.jobs.broker.add_middleware(Colour())

    message = add.send_with_options(args=(1, 2), colour="red", time_limit=1000, max_age=5, min_backoff=0, jitter=1)

    assert site.job(message).options["colour"] == "red"


def test_a_function_says_for_itself_what_it_takes(site: Site) -> None:
    def with_session(fn: Any) -> Any:
        @functools.wraps(fn)
        def call(*args: Any) -> Any:
            return fn("session", *args)

        return call

    @site.jobs.actor()
    @with_session
    def decorated(session: str, a: int) -> None: ...

    @site.jobs.actor()
    async def later(a: int) -> None: ...

    @site.jobs.actor()
    def anything(*args: Any, **kwargs: Any) -> None: ...

    @site.jobs.actor()
    def named(*, a: int) -> None: ...

    decorated.send(1)
    later.send(1)
    anything.send(1, 2, x=3)
    named.send(a=1)
    for actor in (later, named):
        with pytest.raises(InvalidJob, match="do not fit"):
            actor.send()


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"max_retrys": 1}, "'max_retrys' is no option of an actor. Did you mean 'max_retries'"),
        ({"queue_name": "a b;"}, "queue_name is 'a b;'; it takes a letter"),
        ({"queue_name": 5}, "queue_name is 5"),
        ({"max_age": "1"}, "Actor work: max_age is '1'"),
        ({"min_backoff": math.inf}, "Actor work: min_backoff is inf"),
        ({"max_backoff": "x"}, "Actor work: max_backoff is 'x'"),
        ({"backoff_factor": 1e9}, "Actor work: backoff_factor is 1000000000.0"),
        ({"jitter": -1}, "Actor work: jitter is -1"),
        ({"time_limit": "30s"}, "Actor work: time_limit is '30s'"),
    ],
)
def test_wrong_option_of_an_actor_is_named(site: Site, declared: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):

        @site.jobs.actor(**declared)
        def work() -> None: ...


def test_no_limit_is_infinite(site: Site) -> None:
    @site.jobs.actor(time_limit=math.inf, max_age=math.inf)
    def work() -> str:
        return "done"

    assert site.worker.run(work.send()).result == "done"


def test_an_actor_with_an_unknown_callback_is_refused_at_its_first_send_and_at_boot(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    @site.jobs.actor(on_failure="tell_us")
    def work() -> None: ...

    with pytest.raises(InvalidJob, match="Actor work: on_failure is 'tell_us', and no actor has that name"):
        work.send()
    assert site.all_jobs() == []
    with pytest.raises(SystemExit):
        site.jobs.broker.emit_before("worker_boot", dramatiq.Worker(site.jobs.broker))
    assert "The worker cannot start: Actor work: on_failure is 'tell_us'" in caplog.text

    @site.jobs.actor()
    def tell_us(message: dict[str, Any], outcome: Any) -> None: ...

    assert site.worker.run(work.send()).state == "completed"
