"""An exception is raised in a running job's thread, and nowhere else."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import dramatiq
import pytest
from dramatiq.middleware import Interrupt, Shutdown, TimeLimitExceeded

from flask_understudy.context import RunningJob
from flask_understudy.interrupts import Interrupts
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


def test_a_job_is_interrupted_by_its_id() -> None:
    interrupts, caught = Interrupts(), []

    def work(id: str) -> None:
        interrupts.enter(job(id))
        try:
            spin(1)
            caught.append((id, None))
        except Shutdown:
            caught.append((id, "Shutdown"))
        finally:
            interrupts.leave()

    threads = [threading.Thread(target=work, args=(id,)) for id in ("a", "b")]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(interrupts.running()) == 2, "both to run")
    assert [j.id for j in interrupts.raise_in("b", Shutdown)] == ["b"]
    for thread in threads:
        thread.join()
    assert sorted(caught, key=str) == [("a", None), ("b", "Shutdown")]
    assert interrupts.running() == []


def test_the_job_s_flag_is_set_with_it() -> None:
    interrupts, running = Interrupts(), job()
    interrupts.enter(running)
    try:
        with pytest.raises(Shutdown):
            interrupts.raise_in(None, Shutdown)
            spin(1)
    finally:
        interrupts.leave()
    assert running.cancelled


def test_what_was_raised_and_not_delivered_is_taken_back() -> None:
    """A thread that left is not hit by what was raised while it was inside."""
    interrupts = Interrupts()
    for _ in range(50):
        interrupts.enter(job())
        raised, left = threading.Event(), threading.Event()

        def raise_it(raised: threading.Event = raised) -> None:
            interrupts.raise_in(None, Shutdown)
            raised.set()

        thread = threading.Thread(target=raise_it)
        try:
            thread.start()
            time.sleep(0.0005)
        except Shutdown:
            pass
        finally:
            try:
                interrupts.leave()
                left.set()
            except Shutdown:
                interrupts.leave()
        thread.join()
        spin(0.001)


def test_nobody_is_hit_outside() -> None:
    interrupts = Interrupts()
    assert interrupts.raise_in(None, Shutdown) == []
    interrupts.enter(job())
    interrupts.leave()
    assert interrupts.raise_in(None, Shutdown) == []
    spin(0.01)


@pytest.mark.requirement("C04")
def test_a_limit_interrupts_its_own_thread_alone() -> None:
    interrupts, ended = Interrupts(), {}

    def work(id: str, limit: float) -> None:
        interrupts.enter(job(id))
        interrupts.limit(limit)
        began = time.monotonic()
        try:
            spin(1)
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

    def watchers() -> int:
        return sum(thread.name == "understudy-time-limits" for thread in threading.enumerate())

    wait_for(lambda: watchers() == 0, "those of other tests to end")
    for _ in range(2):
        interrupts.enter(job())
        interrupts.limit(60)
        interrupts.leave()
        assert watchers() == 1
        wait_for(lambda: watchers() == 0, "the watch to end")

    interrupts.enter(job())
    interrupts.limit(0.05)
    try:
        with pytest.raises(TimeLimitExceeded):
            spin(2)
    finally:
        interrupts.leave()


@pytest.mark.requirement("C04", "G3")
def test_a_limit_that_is_met_at_the_very_end_hits_no_hook(make_site: MakeSite, sqlite_ledger: str) -> None:
    """Many jobs end just as their limit is up: each is recorded once, and no hook is interrupted."""
    site = make_site(sqlite_ledger)
    broken: list[str] = []

    class Hooks(dramatiq.Middleware):
        def after_process_message(
            self, broker: Any, message: Any, *, result: Any = None, exception: Any = None
        ) -> None:
            try:
                spin(0.003)
            except BaseException as problem:
                broken.append(repr(problem))
                raise

    site.jobs.broker.add_middleware(Hooks())

    @site.jobs.actor(max_retries=0)
    def work(seconds: float) -> None:
        spin(seconds)

    stop = threading.Event()
    worker = site.worker._worker()

    def interrupt_at_random() -> None:
        chance = random.Random(7)
        while not stop.is_set():
            time.sleep(chance.uniform(0, 0.004))
            worker.interrupts.raise_in(None, TimeLimitExceeded)

    thread = threading.Thread(target=interrupt_at_random)
    thread.start()
    try:
        messages = site.jobs.send_many([work.message(0.002) for _ in range(150)])
        site.worker.drain()
    except Interrupt as problem:
        broken.append(f"outside: {problem!r}")
    finally:
        stop.set()
        thread.join()

    states = [site.job(message).state for message in messages]
    assert broken == []
    assert set(states) <= {"completed", "failed"}
    assert states.count("failed") > 10
    assert states.count("completed") > 10
    assert {site.job(message).fence for message in messages} == {1}


@pytest.mark.requirement("promise-G11")
def test_a_job_that_asks_for_it_is_interrupted_when_the_worker_stops(carried_site: Site) -> None:
    site, heard = carried_site, []

    @dramatiq.actor(notify_shutdown=True)
    def polite() -> None:
        try:
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
    for message in (first, second):
        site.eventually("active", message)
    site.jobs.stop_worker()
    assert heard == ["polite"]
    assert (site.job(first).state, site.job(first).attempt, site.job(first).hand_backs) == ("waiting", 0, 1)
    assert site.job(second).result == "ran to its end"
