"""Every legal move of a job, with its guard, and the moves that are refused."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flask_understudy import current_job
from flask_understudy.errors import JobConflict, JobNotFound
from flask_understudy.ledger import STATES, queries, transitions
from flask_understudy.ledger.transitions import Ending
from flask_understudy.worker import WorkerProcess
from tests.flask_understudy.conftest import MakeSite, Site

pytestmark = pytest.mark.requirement("G3", "I1")


@pytest.fixture
def work(site: Site) -> Any:
    @site.jobs.actor(max_retries=2)
    def work(n: int = 0) -> None: ...

    return work


def claim_next(site: Site, process: WorkerProcess, queue: str = "default", n: int = 100) -> list[Any]:
    with site.state.database.claims() as connection:
        return transitions.claim_next(connection, process.id, queue, n)


def complete(site: Site, process: WorkerProcess, *ends: tuple[str, int, str | None]) -> set[str]:
    with site.state.database.transaction() as connection:
        return transitions.complete(connection, process.id, ends)


def end(site: Site, process: WorkerProcess, ending: Ending) -> dict[str, str]:
    with site.state.database.transaction() as connection:
        return transitions.end(connection, process.id, [ending])


def promote(site: Site) -> list[Any]:
    with site.state.database.transaction() as connection:
        return transitions.promote(connection)


def rescue(site: Site, worker: str, blamed: list[str] | None = None) -> list[Any]:
    with site.state.database.transaction() as connection:
        return transitions.rescue(connection, worker, blamed, "Its worker died")


class TestT1Insert:
    """A job comes into being once."""

    def test_its_columns_are_what_the_sender_said_and_the_database_s_clock(self, site: Site, work: Any) -> None:
        job = site.job(work.send(1))
        assert (job.state, job.attempt, job.fence, job.hand_backs, job.crashes) == ("waiting", 0, 0, 0, 0)
        assert (job.progress, job.result, job.error, job.reason) == (0, None, None, None)
        assert (job.started_at, job.finished_at, job.worker_id, job.cancel_requested_at) == (None,) * 4
        assert job.created_at.tzinfo is not None


class TestT2Promote:
    """Delayed jobs whose time has come are waiting."""

    pytestmark = pytest.mark.requirement("C01", "C02", "C11")

    def test_only_when_their_time_has_come(self, site: Site, work: Any) -> None:
        due, later = (work.send_with_options(delay=60_000) for _ in range(2))
        site.change(due, run_at=site.moment(-0.01))
        assert [job.id for job in promote(site)] == [due.message_id]
        assert (site.job(due).state, site.job(later).state) == ("waiting", "delayed")

    def test_a_delayed_job_cannot_be_claimed(self, site: Site, work: Any) -> None:
        message = work.send_with_options(delay=60_000)
        site.change(message, run_at=site.moment(-1))
        process = site.process()
        assert site.claim(process, message) is None
        assert claim_next(site, process) == []

    def test_by_how_long_they_are_due(self, site: Site, work: Any) -> None:
        messages = [work.send_with_options(delay=60_000) for _ in range(3)]
        for seconds, message in zip((-1, -3, -2), messages, strict=True):
            site.change(message, run_at=site.moment(seconds))
        with site.state.database.transaction() as connection:
            assert [j.id for j in transitions.promote(connection, 1)] == [messages[1].message_id]

    def test_before_their_time_by_hand(self, site: Site, work: Any) -> None:
        mine, other = (work.send_with_options(delay=60_000) for _ in range(2))
        with site.state.database.transaction() as connection:
            transitions.hasten(connection, ids=[mine.message_id])
        assert (site.job(mine).state, site.job(other).state) == ("waiting", "delayed")


class TestT4Claim:
    """One worker has the job, and knows which claim of it."""

    pytestmark = pytest.mark.requirement("G4", "I2", "invariant-I10", "Q03")

    def test_the_row_says_who_and_how_often(self, site: Site, work: Any) -> None:
        message, process = work.send_with_options(args=(7,), tenant="aster", priority=1), site.process()

        claimed = site.claim(process, message)

        job = site.job(message)
        assert (job.state, job.worker_id, job.attempt, job.fence) == ("active", process.id, 1, 1)
        assert job.started_at >= job.created_at
        assert (claimed.id, claimed.actor, claimed.args, claimed.kwargs) == (job.id, "work", [7], {})
        assert (claimed.tenant, claimed.priority, claimed.attempt, claimed.max_attempts) == ("aster", 1, 1, 3)

    @pytest.mark.parametrize("state", [state for state in STATES if state != "waiting"])
    def test_only_waiting_jobs_are_claimed(self, site: Site, work: Any, state: str) -> None:
        message = work.send()
        site.change(message, state=f"'{state}'")
        assert site.claim(site.process(), message) is None
        assert claim_next(site, site.process()) == []
        assert site.job(message).fence == 0

    @pytest.mark.requirement("I4", "G8")
    def test_a_cancelled_job_is_never_claimed(self, site: Site, work: Any) -> None:
        message = work.send()
        assert site.jobs.cancel(message.message_id) == "cancelled"
        assert site.claim(site.process(), message) is None

    def test_a_paused_queue_is_left_alone_by_either_road(self, site: Site, work: Any) -> None:
        message, process = work.send(), site.process()
        site.jobs.pause("default")
        assert site.claim(process, message) is None
        assert claim_next(site, process) == []
        site.jobs.resume("default")
        assert site.claim(process, message) is not None

    def test_an_expired_job_is_left_alone_by_either_road(self, site: Site, work: Any) -> None:
        message, process = work.send(), site.process()
        site.change(message, expires_at=site.moment(-0.01))
        assert site.claim(process, message) is None
        assert claim_next(site, process) == []

    def test_an_unknown_id_claims_nothing(self, site: Site) -> None:
        assert site.claim(site.process(), "unknown") is None

    def test_the_next_are_taken_by_priority_then_first_come(self, site: Site, work: Any) -> None:
        for n, priority in enumerate((3, 1, 3, 2, 1)):
            work.send_with_options(args=(n,), priority=priority)
        process = site.process()
        assert [job.args[0] for job in claim_next(site, process, n=2)] == [1, 4]
        assert [job.args[0] for job in claim_next(site, process)] == [3, 0, 2]

    def test_the_next_are_of_one_queue(self, site: Site, work: Any) -> None:
        work.send()
        assert claim_next(site, site.process(), "other") == []

    @pytest.mark.parametrize("road", ["by id", "next"])
    def test_of_two_claimers_one_has_it(self, site: Site, work: Any, road: str) -> None:
        jobs = site.jobs.send_many([work.message(n) for n in range(40)])
        ids = [message.message_id for message in jobs]
        processes = [site.process() for _ in range(8)]
        barrier = threading.Barrier(8)

        def race(process: WorkerProcess) -> list[str]:
            barrier.wait()
            got: list[str] = []
            for i in range(0, 40, 4):
                with site.state.database.claims() as connection:
                    if road == "by id":
                        claimed = transitions.claim(connection, process.id, ids[i : i + 4])
                    else:
                        claimed = transitions.claim_next(connection, process.id, "default", 4)
                got += [job.id for job in claimed]
            return got

        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(race, processes))

        everything = [id for got in results for id in got]
        assert sorted(everything) == sorted(ids)
        assert {job.fence for job in site.all_jobs()} == {1}
        for process, got in zip(processes, results, strict=True):
            assert all(site.job(id).worker_id == process.id for id in got[:3])

    def test_of_two_processes_one_has_it(self, make_site: MakeSite, ledger_url: str) -> None:
        site = make_site(ledger_url)

        @site.jobs.actor()
        def work() -> None: ...

        messages = site.jobs.send_many([work.message() for _ in range(50)])
        claimers = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.flask_understudy.ledger.claimer", ledger_url]
                + [message.message_id for message in messages],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[3],
            )
            for _ in range(2)
        ]
        for claimer in claimers:
            assert claimer.stdout.readline() == "ready\n"
        for claimer in claimers:
            claimer.stdin.write("go\n")
            claimer.stdin.flush()
        claimed = [claimer.communicate(timeout=60)[0].split() for claimer in claimers]

        assert all(claimer.returncode == 0 for claimer in claimers)
        assert sorted(claimed[0] + claimed[1]) == sorted(message.message_id for message in messages)


class TestT5Finish:
    """Only the claim's holder ends it, once."""

    pytestmark = pytest.mark.requirement("G4", "I3")

    def test_completed_with_a_result(self, site: Site, work: Any) -> None:
        message, process = work.send(), site.process()
        site.claim(process, message)
        assert complete(site, process, (message.message_id, 1, '{"a": 1}')) == {message.message_id}
        job = site.job(message)
        assert (job.state, job.result, job.progress) == ("completed", {"a": 1}, 100)
        assert job.finished_at >= job.started_at

    @pytest.mark.parametrize(
        ("worker", "fence", "state"),
        [("other", 1, "active"), ("me", 2, "active"), ("me", 0, "active"), ("me", 1, "waiting"), ("me", 1, "failed")],
    )
    @pytest.mark.parametrize("how", ["complete", "end"])
    def test_not_by_anybody_else(self, site: Site, work: Any, worker: str, fence: int, state: str, how: str) -> None:
        message, me, other = work.send(), site.process(), site.process()
        site.claim(me, message)
        site.change(message, state=f"'{state}'")
        holder = me if worker == "me" else other
        if how == "complete":
            assert complete(site, holder, (message.message_id, fence, None)) == set()
        else:
            assert end(site, holder, Ending(message.message_id, fence, "failed", "failed")) == {}
        assert (site.job(message).state, site.job(message).attempt) == (state, 1)
        assert queries.attempts(site.state.database, message.message_id) == []

    def test_a_second_finish_changes_nothing(self, site: Site, work: Any) -> None:
        message, process = work.send(), site.process()
        site.claim(process, message)
        complete(site, process, (message.message_id, 1, "1"))
        assert complete(site, process, (message.message_id, 1, "2")) == set()
        assert end(site, process, Ending(message.message_id, 1, "failed", "failed")) == {}
        assert (site.job(message).state, site.job(message).result) == ("completed", 1)

    @pytest.mark.requirement("Q06", "Q07")
    def test_delayed_until_the_next_attempt(self, site: Site, work: Any) -> None:
        message, process = work.send(), site.process()
        site.claim(process, message)
        ending = Ending(message.message_id, 1, "delayed", "retried", delay_ms=5000, error="E: x", traceback="tb")
        assert end(site, process, ending) == {message.message_id: "delayed"}
        job, [attempt] = site.job(message), queries.attempts(site.state.database, message.message_id)
        assert (job.state, job.attempt, job.error, job.finished_at) == ("delayed", 1, "E: x", None)
        assert 4.9 < (job.run_at - attempt.finished_at).total_seconds() < 5.1
        assert (attempt.fence, attempt.number, attempt.outcome, attempt.traceback) == (1, 1, "retried", "tb")
        assert (attempt.worker_id, attempt.started_at) == (process.id, job.started_at)

    def test_a_cancelled_wish_turns_a_retry_into_the_end(self, site: Site, work: Any) -> None:
        message, process = work.send(), site.process()
        site.claim(process, message)
        site.jobs.cancel(message.message_id, "wrong customer")
        assert end(site, process, Ending(message.message_id, 1, "delayed", "retried", delay_ms=5)) == {
            message.message_id: "cancelled"
        }
        assert site.job(message).reason == "wrong customer"
        assert site.job(message).finished_at is not None

    def test_the_first_reason_of_a_job_that_stops_as_it_was_asked_is_kept(self, site: Site, work: Any) -> None:
        message, process = work.send(), site.process()
        site.claim(process, message)
        site.jobs.cancel(message.message_id, "wrong customer")
        site.jobs.cancel(message.message_id, "again")
        end(site, process, Ending(message.message_id, 1, "cancelled", "cancelled", reason="cancelled"))
        assert (site.job(message).state, site.job(message).reason) == ("cancelled", "wrong customer")

    def test_a_job_that_fails_although_it_was_to_stop_says_why_it_failed(self, site: Site, work: Any) -> None:
        message, process = work.send(), site.process()
        site.claim(process, message)
        site.jobs.cancel(message.message_id, "wrong customer")
        end(site, process, Ending(message.message_id, 1, "failed", "failed", reason="exhausted"))
        assert (site.job(message).state, site.job(message).reason) == ("failed", "exhausted")

    def test_a_cancelled_wish_does_not_undo_a_completion(self, site: Site, work: Any) -> None:
        message, process = work.send(), site.process()
        site.claim(process, message)
        site.jobs.cancel(message.message_id)
        complete(site, process, (message.message_id, 1, None))
        assert site.job(message).state == "completed"


class TestT6HandBack:
    """A claim that was given back costs nothing."""

    pytestmark = pytest.mark.requirement("promise-G11", "I2")

    def test_the_attempt_is_not_charged_and_the_fence_stays(self, site: Site, work: Any) -> None:
        message, process = work.send(), site.process()
        site.claim(process, message)
        end(site, process, Ending(message.message_id, 1, "waiting", "handed_back", charged=0))
        job = site.job(message)
        assert (job.state, job.attempt, job.hand_backs, job.fence) == ("waiting", 0, 1, 1)
        assert site.claim(process, message).attempt == 1
        assert site.job(message).fence == 2
        assert [a.outcome for a in queries.attempts(site.state.database, job.id)] == ["handed_back"]


class TestT7Rescue:
    """Jobs of a dead worker are taken back, jobs of a live one never."""

    pytestmark = pytest.mark.requirement("G6", "I2")

    def test_a_live_worker_keeps_its_jobs(self, site: Site, work: Any) -> None:
        message, process = work.send(), site.process()
        site.claim(process, message)
        assert rescue(site, process.id) == []
        assert site.job(message).state == "active"

    def test_a_dead_worker_s_jobs_wait_again(self, site: Site, work: Any) -> None:
        messages = [work.send() for _ in range(3)]
        process, other = site.process(), site.process()
        for message in messages[:2]:
            site.claim(process, message)
        site.claim(other, messages[2])
        site.kill(process)

        rows = rescue(site, process.id)

        assert sorted(row[0] for row in rows) == sorted(m.message_id for m in messages[:2])
        job = site.job(messages[0])
        assert (job.state, job.attempt, job.crashes, job.error) == ("waiting", 1, 1, "Its worker died")
        assert site.job(messages[2]).state == "active"
        assert queries.attempts(site.state.database, job.id)[0].outcome == "crashed"

    def test_only_those_that_were_running_are_blamed(self, site: Site, work: Any) -> None:
        running, claimed = work.send(), work.send()
        process = site.process()
        for message in (running, claimed):
            site.claim(process, message)
        site.kill(process)
        rescue(site, process.id, [running.message_id])
        assert (site.job(running).crashes, site.job(running).attempt) == (1, 1)
        assert (site.job(claimed).crashes, site.job(claimed).attempt, site.job(claimed).hand_backs) == (0, 0, 1)
        assert queries.attempts(site.state.database, claimed.message_id)[0].outcome == "handed_back"

    def test_a_job_that_killed_three_processes_is_poison(self, site: Site) -> None:
        @site.jobs.actor(max_retries=9)
        def work() -> None: ...

        message = work.send()
        states = []
        for _ in range(3):
            process = site.process()
            site.claim(process, message)
            site.kill(process)
            rescue(site, process.id)
            states.append((site.job(message).state, site.job(message).reason))
        assert states == [("waiting", None), ("waiting", None), ("failed", "poison")]
        assert site.job(message).finished_at is not None

    def test_a_job_without_attempts_left_has_failed(self, site: Site) -> None:
        @site.jobs.actor(max_retries=0)
        def work() -> None: ...

        message, process = work.send(), site.process()
        site.claim(process, message)
        site.kill(process)
        rescue(site, process.id)
        assert (site.job(message).state, site.job(message).reason) == ("failed", "exhausted")

    @pytest.mark.requirement("G8")
    def test_a_job_that_was_to_stop_is_cancelled(self, site: Site, work: Any) -> None:
        message, process = work.send(), site.process()
        site.claim(process, message)
        site.jobs.cancel(message.message_id, "wrong customer")
        site.kill(process)
        rescue(site, process.id)
        assert (site.job(message).state, site.job(message).reason) == ("cancelled", "wrong customer")

    def test_two_rescuers_take_a_job_back_once(self, site: Site, work: Any) -> None:
        messages = site.jobs.send_many([work.message() for _ in range(30)])
        process = site.process()
        for message in messages:
            site.claim(process, message)
        site.kill(process)
        barrier = threading.Barrier(4)

        def race(_: int) -> int:
            barrier.wait()
            return len(rescue(site, process.id))

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(race, range(4))) == 30
        assert {job.crashes for job in site.all_jobs()} == {1}

    def test_a_worker_that_comes_back_cannot_finish_what_was_taken(self, site: Site, work: Any) -> None:
        message, frozen, other = work.send(), site.process(), site.process()
        site.claim(frozen, message)
        site.kill(frozen)
        rescue(site, frozen.id)
        site.claim(other, message)
        assert complete(site, frozen, (message.message_id, 1, '"stale"')) == set()
        assert complete(site, other, (message.message_id, 2, '"fresh"')) == {message.message_id}
        assert site.job(message).result == "fresh"


class TestT9Cancel:
    """What has not started never starts; what runs is asked to stop."""

    pytestmark = pytest.mark.requirement("G8", "O04", "F02", "L03")

    @pytest.mark.parametrize("delay", [None, 60_000])
    def test_waiting_and_delayed_jobs_are_cancelled_at_once(self, site: Site, work: Any, delay: Any) -> None:
        message = work.send_with_options(delay=delay)
        assert site.jobs.cancel(message.message_id, "not needed") == "cancelled"
        job = site.job(message)
        assert (job.state, job.reason) == ("cancelled", "not needed")
        assert job.finished_at is not None
        assert [e.kind for e in queries.timeline(site.state.database, job.id)] == ["cancelled"]
        assert site.worker.drain(include_delayed=True) == []

    def test_an_active_job_is_asked(self, site: Site, work: Any) -> None:
        message = work.send()
        site.claim(site.process(), message)
        assert site.jobs.cancel(message.message_id) == "requested"
        assert site.jobs.cancel(message.message_id) == "requested"
        job = site.job(message)
        assert (job.state, job.cancel_requested_at is not None) == ("active", True)

    @pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
    def test_an_ended_job_is_not(self, site: Site, work: Any, state: str) -> None:
        message = work.send()
        site.change(message, state=f"'{state}'")
        with pytest.raises(JobConflict, match=f"is {state}; only a job that has not ended can be cancelled"):
            site.jobs.cancel(message.message_id)

    def test_an_unknown_job_is_not(self, site: Site) -> None:
        with pytest.raises(JobNotFound, match="There is no job 'unknown'"):
            site.jobs.cancel("unknown")

    def test_of_a_claim_and_a_cancellation_one_wins(self, site: Site, work: Any) -> None:
        for _ in range(15):
            message, process = work.send(), site.process()
            barrier = threading.Barrier(2)

            def meet(act: Callable[[], Any], barrier: threading.Barrier = barrier) -> Any:
                barrier.wait()
                return act()

            with ThreadPoolExecutor(2) as pool:
                claimed = pool.submit(meet, lambda m=message, p=process: site.claim(p, m))
                answer = pool.submit(meet, lambda m=message: site.jobs.cancel(m.message_id))
            if answer.result() == "cancelled":
                assert (claimed.result(), site.job(message).state) == (None, "cancelled")
            else:
                assert claimed.result() is not None
                assert site.job(message).state == "active"


class TestT10Expire:
    """What was not started in time fails."""

    def expire(self, site: Site) -> list[str]:
        with site.state.database.transaction() as connection:
            return [row[0] for row in transitions.expire(connection)]

    def test_waiting_and_delayed_jobs_fail(self, site: Site, work: Any) -> None:
        late = [work.send(), work.send_with_options(delay=60_000)]
        work.send()
        for message in late:
            site.change(message, expires_at=site.moment(-0.01))
        assert sorted(self.expire(site)) == sorted(m.message_id for m in late)
        job = site.job(late[0])
        assert (job.state, job.reason, job.error) == ("failed", "expired", "Expired before it could run")
        assert site.jobs.stats()["default"]["waiting"] == 1

    @pytest.mark.parametrize("state", ["active", "completed", "failed", "cancelled"])
    def test_others_do_not(self, site: Site, work: Any, state: str) -> None:
        message = work.send()
        site.change(message, state=f"'{state}'", expires_at=site.moment(-1))
        assert self.expire(site) == []
        assert site.job(message).state == state


class TestT11Retry:
    """A failed or cancelled job is the same job again, when somebody asks."""

    pytestmark = pytest.mark.requirement("O02", "L03", "I3", "S02")

    def test_it_has_attempts_as_at_first_and_its_history(self, site: Site) -> None:
        @site.jobs.actor(max_retries=1)
        def explode() -> None:
            raise ValueError("bad luck")

        message = explode.send_with_options(expires_at=None)
        site.worker.drain(include_delayed=True)
        assert (site.job(message).state, site.job(message).attempt) == ("failed", 2)

        site.jobs.retry(message.message_id)

        job = site.job(message)
        assert (job.state, job.reason, job.finished_at, job.max_attempts) == ("waiting", None, None, 4)
        site.worker.drain(include_delayed=True)
        assert (site.job(message).state, site.job(message).attempt) == ("failed", 4)
        assert len(queries.attempts(site.state.database, job.id)) == 4
        kinds = [(e.kind, e.message) for e in queries.timeline(site.state.database, job.id)]
        assert kinds == [("retried", "Reopened after failed")]

    def test_a_cancelled_job_can_be_reopened(self, site: Site, work: Any) -> None:
        message = work.send()
        site.jobs.cancel(message.message_id)
        site.jobs.retry(message.message_id)
        assert site.worker.run(message).state == "completed"

    def test_an_expired_job_loses_its_expiry(self, site: Site, work: Any) -> None:
        message = work.send()
        site.change(message, state="'failed'", expires_at=site.moment(-1))
        site.jobs.retry(message.message_id)
        assert site.worker.run(message).state == "completed"

    @pytest.mark.requirement("G6")
    def test_a_poisoned_job_starts_with_a_clean_slate(self, site: Site, work: Any) -> None:
        message = work.send()
        site.change(message, state="'failed'", crashes="3", hand_backs="50", reason="'poison'")
        site.jobs.retry(message.message_id)
        assert (site.job(message).crashes, site.job(message).hand_backs) == (0, 0)

    @pytest.mark.parametrize("state", ["waiting", "delayed", "active", "completed"])
    def test_other_states_refuse(self, site: Site, work: Any, state: str) -> None:
        message = work.send()
        site.change(message, state=f"'{state}'")
        with pytest.raises(JobConflict, match=f"is {state}; only failed and cancelled jobs can be retried"):
            site.jobs.retry(message.message_id)
        assert site.job(message).state == state

    def test_an_unknown_job_is_not_there(self, site: Site) -> None:
        with pytest.raises(JobNotFound):
            site.jobs.retry("unknown")

    @pytest.mark.requirement("C05")
    def test_a_live_twin_is_in_the_way(self, site: Site, work: Any) -> None:
        message = work.send_with_options(dedup_key="k")
        site.change(message, state="'failed'")
        twin = work.send_with_options(dedup_key="k")
        with pytest.raises(JobConflict, match="a live job holds its dedup key 'k'"):
            site.jobs.retry(message.message_id)
        assert site.job(message).state == "failed"
        assert queries.timeline(site.state.database, message.message_id) == []
        site.jobs.cancel(twin.message_id)
        site.jobs.retry(message.message_id)
        assert site.job(message).state == "waiting"

    def test_two_who_ask_at_once_reopen_it_once(self, site: Site, work: Any) -> None:
        message = work.send()
        site.change(message, state="'failed'")
        barrier = threading.Barrier(4)

        def ask(_: int) -> str:
            barrier.wait()
            try:
                site.jobs.retry(message.message_id)
            except JobConflict:
                return "refused"
            return "reopened"

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(ask, range(4))) == ["refused"] * 3 + ["reopened"]


class TestT12Prune:
    """Only ended jobs are ever deleted, with all that is known about them."""

    pytestmark = pytest.mark.requirement("G1", "N08", "Q09")

    def prune(self, site: Site, states: list[str] | None = None, **options: Any) -> int:
        with site.state.database.transaction() as connection:
            return transitions.prune(
                connection, ["default"], states or ["completed", "failed", "cancelled"], 60_000, **options
            )

    @pytest.mark.parametrize("state", STATES)
    def test_by_state(self, site: Site, work: Any, state: str) -> None:
        message = work.send()
        site.change(message, state=f"'{state}'", finished_at=site.moment(-61))
        is_ended = state in {"completed", "failed", "cancelled"}
        assert self.prune(site, list(STATES)) == (1 if is_ended else 0)
        assert (site.jobs.get(message.message_id) is None) is is_ended

    def test_by_age(self, site: Site, work: Any) -> None:
        old, young = work.send(), work.send()
        site.change(old, state="'failed'", finished_at=site.moment(-61))
        site.change(young, state="'failed'", finished_at=site.moment(-59))
        assert self.prune(site) == 1
        assert site.jobs.get(old.message_id) is None
        assert site.jobs.get(young.message_id) is not None

    def test_attempts_and_timeline_go_with_it(self, site: Site) -> None:
        @site.jobs.actor(max_retries=0)
        def explode() -> None:
            current_job.log("a line")
            raise ValueError

        message = explode.send()
        site.worker.run(message)
        site.change(message, finished_at=site.moment(-61))
        assert self.prune(site) == 1
        assert queries.attempts(site.state.database, message.message_id) == []
        assert queries.timeline(site.state.database, message.message_id) == []

    def test_at_the_most_so_many(self, site: Site, work: Any) -> None:
        for message in site.jobs.send_many([work.message() for _ in range(5)]):
            site.change(message, state="'failed'", finished_at=site.moment(-61))
        assert self.prune(site, n=3) == 3
        assert self.prune(site, n=3) == 2
