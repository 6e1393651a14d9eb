"""An exception is raised in a running job's thread, and nowhere else."""

from __future__ import annotations

import functools
import logging
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import dramatiq
import pytest
from dramatiq.middleware import Interrupt, Shutdown, TimeLimitExceeded

from flask_understudy.context import RunningJob
from flask_understudy.interrupts import Interrupts, interruptible
from tests.flask_understudy.conftest import MakeSite, Site
from tools.waiting import wait_for


def job(id: str = "a") -> RunningJob:
    nothing: Any = lambda *_: None  # noqa: E731
    return RunningJob(id, "actor", "queue", 1, None, 1, "", "", None, nothing, nothing, nothing)


def spin(seconds: float) -> None:
    """Run bytecode for so long, so that an interrupt could arrive."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pass


def run(interrupts: Interrupts, running: RunningJob, fn: Callable[[], Any]) -> Any:
    """Run a function as a job's actor, as a worker does."""
    interrupts.enter(running)
    try:
        return interruptible(fn)()
    finally:
        interrupts.leave()


def test_a_job_is_interrupted_by_its_id() -> None:
    interrupts, ended = Interrupts(), []

    def work(id: str) -> None:
        try:
            run(interrupts, job(id), lambda: spin(1))
            ended.append((id, None))
        except Shutdown:
            ended.append((id, "Shutdown"))

    threads = [threading.Thread(target=work, args=(id,)) for id in ("a", "b")]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(interrupts.running()) == 2, "both to run")
    assert [j.id for j in interrupts.raise_in("b", Shutdown)] == ["b"]
    for thread in threads:
        thread.join()
    assert sorted(ended, key=str) == [("a", None), ("b", "Shutdown")]
    assert interrupts.running() == []


def test_the_job_s_flag_is_set_with_it() -> None:
    interrupts, running = Interrupts(), job()

    def work() -> None:
        interrupts.raise_in(None, Shutdown)
        spin(1)

    with pytest.raises(Shutdown):
        run(interrupts, running, work)
    assert running.cancelled


def test_what_was_raised_and_not_delivered_is_taken_back() -> None:
    interrupts = Interrupts()
    for _ in range(100):
        interrupts.enter(job())
        outcome = "closed"
        try:
            interruptible(lambda: threading.Thread(target=interrupts.raise_in, args=(None, Shutdown)).start())()
        except Shutdown:
            outcome = "hit"
        spin(0.0005)
        interrupts.leave()
        assert outcome in {"closed", "hit"}


def test_before_the_actor_runs_it_waits_until_it_does() -> None:
    interrupts = Interrupts()
    interrupts.enter(job())
    assert len(interrupts.raise_in(None, Shutdown)) == 1
    spin(0.01)  # hooks
    with pytest.raises(Shutdown):
        interruptible(lambda: spin(1))()
    spin(0.01)
    interrupts.leave()


def test_after_the_actor_ran_nothing_is_raised() -> None:
    interrupts = Interrupts()
    assert interrupts.raise_in(None, Shutdown) == []
    interrupts.enter(job())
    interruptible(lambda: None)()
    assert interrupts.raise_in(None, Shutdown) == []
    spin(0.01)
    interrupts.leave()
    assert interrupts.raise_in(None, Shutdown) == []
    spin(0.01)


def test_an_attempt_is_interrupted_once() -> None:
    interrupts, caught = Interrupts(), []

    def work() -> None:
        for _ in range(2):
            try:
                interrupts.raise_in(None, Shutdown)
                spin(0.05)
            except Shutdown:
                caught.append(1)

    run(interrupts, job(), work)
    assert caught == [1]


def test_an_actor_called_by_another_one_is_part_of_it() -> None:
    interrupts = Interrupts()
    inner = interruptible(lambda: "inner")

    def outer() -> None:
        assert inner() == "inner"
        interrupts.raise_in(None, Shutdown)
        spin(1)

    with pytest.raises(Shutdown):
        run(interrupts, job(), outer)


def test_outside_of_a_job_an_actor_is_a_plain_function() -> None:
    assert interruptible(lambda n: n + 1)(1) == 2


@pytest.mark.requirement("C04")
def test_a_limit_interrupts_its_own_thread_alone() -> None:
    interrupts, ended = Interrupts(), {}

    def work(id: str, limit: float) -> None:
        interrupts.enter(job(id))
        interrupts.limit(limit)
        began = time.monotonic()
        try:
            interruptible(spin)(1)
            ended[id] = "ran"
        except TimeLimitExceeded:
            ended[id] = time.monotonic() - began
        finally:
            interrupts.leave()

    threads = [threading.Thread(target=work, args=args) for args in (("short", 0.1), ("long", 60))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended["long"] == "ran"
    assert 0.1 <= ended["short"] < 0.9


def test_the_watch_ends_when_there_is_nothing_to_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_understudy.interrupts.TICK_SECONDS", 0.005)
    interrupts = Interrupts()
    for _ in range(2):
        interrupts.enter(job())
        interrupts.limit(60)
        assert interrupts._watcher_pid == os.getpid()
        interrupts.leave()
        wait_for(lambda: interrupts._watcher_pid is None, "the watch to end")

    interrupts.enter(job())
    interrupts.limit(0.05)
    with pytest.raises(TimeLimitExceeded):
        interruptible(spin)(2)
    interrupts.leave()


@pytest.mark.requirement("C04", "G3")
def test_interrupts_at_any_moment_hit_actors_alone(
    make_site: MakeSite, sqlite_ledger: str, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    """Jobs end by themselves, well or badly, while they are interrupted: each end is recorded, and no hook is hit."""
    site = make_site(sqlite_ledger)
    caplog.set_level(logging.CRITICAL, "dramatiq")
    broken: list[str] = []

    class Hooks(dramatiq.Middleware):
        def before_process_message(self, broker: Any, message: Any) -> None:
            self.run()

        def after_process_message(self, *_: Any, **__: Any) -> None:
            self.run()

        def run(self) -> None:
            try:
                spin(0.002)
            except BaseException as problem:
                broken.append(repr(problem))
                raise

    site.jobs.broker.add_middleware(Hooks())

    @site.jobs.actor(max_retries=0)
    def work(n: int) -> None:
        spin(0.002)
        if n % 2:
            raise ValueError("by itself")

    stop = threading.Event()
    worker = site.worker._worker()

    def interrupt_at_random() -> None:
        chance = random.Random(7)
        while not stop.is_set():
            time.sleep(chance.uniform(0, 0.006))
            worker.interrupts.raise_in(None, TimeLimitExceeded)

    # Threads take turns every 5 ms otherwise, which is longer than a job, and then always at the same places.
    request.addfinalizer(functools.partial(sys.setswitchinterval, sys.getswitchinterval()))
    sys.setswitchinterval(0.0003)
    thread = threading.Thread(target=interrupt_at_random)
    thread.start()
    try:
        messages = site.jobs.send_many([work.message(n) for n in range(120)])
        site.worker.drain()
    except Interrupt as problem:
        broken.append(f"outside: {problem!r}")
    finally:
        stop.set()
        thread.join()

    ends = Counter((job.error or job.state).partition(":")[0] for job in map(site.job, messages))
    assert broken == []
    assert set(ends) == {"completed", "ValueError", "TimeLimitExceeded"}
    assert {site.job(message).fence for message in messages} == {1}
    assert worker.interrupts.running() == []


@pytest.mark.requirement("promise-G11")
def test_a_job_that_asks_for_it_is_interrupted_when_the_worker_stops(carried_site: Site) -> None:
    site, heard, began = carried_site, [], threading.Event()

    @dramatiq.actor(notify_shutdown=True)
    def polite() -> None:
        try:
            began.set()
            spin(20)
        except Shutdown:
            heard.append("polite")
            raise

    @dramatiq.actor()
    def quiet() -> str:
        time.sleep(0.5)
        return "ran to its end"

    site.start_worker()
    first, second = polite.send(), quiet.send()
    site.eventually("active", second)
    assert began.wait(20)
    site.jobs.stop_worker()
    assert heard == ["polite"]
    assert (site.job(first).state, site.job(first).attempt) == ("waiting", 0)
    assert site.job(first).hand_backs >= 1  # once more when a claim was under way
    assert site.job(second).result == "ran to its end"
