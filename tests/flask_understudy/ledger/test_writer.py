"""What jobs left behind is written together, and nothing of it is dropped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from flask_understudy.ledger import queries
from flask_understudy.ledger.transitions import Ending
from flask_understudy.ledger.writer import Finish, LogLine, Progress, Writer
from flask_understudy.submission import new_job
from flask_understudy.worker import WorkerProcess
from tests.flask_understudy.conftest import MakeSite, Site
from tools.waiting import wait_for

pytestmark = pytest.mark.requirement("G3", "G4")


@pytest.fixture
def process(site: Site) -> Iterator[WorkerProcess]:
    process = site.process()
    yield process
    process.writer.close(1)


@pytest.fixture
def work(site: Site) -> Any:
    @site.jobs.actor()
    def work(n: int = 0) -> None: ...

    return work


def claimed(site: Site, process: WorkerProcess, work: Any, n: int) -> list[str]:
    ids = [message.message_id for message in site.jobs.send_many([work.message(i) for i in range(n)])]
    for id in ids:
        assert site.claim(process, id)
    return ids


def commits_of(site: Site) -> list[int]:
    """Count commits of the library's own engine; a list of one number."""
    count = [0]

    def committed(_: Any) -> None:
        count[0] += 1

    event.listen(site.state.database.own_engine, "commit", committed)
    return count


def test_many_finishes_are_one_commit(site: Site, process: WorkerProcess, work: Any) -> None:
    ids = claimed(site, process, work, 50)
    commits = commits_of(site)
    held = threading.Event()
    process.writer.put(Finish("none", 1, told=lambda _: held.wait(5)))
    wait_for(lambda: commits[0] == 1, "the first commit")

    for id in ids:
        process.writer.put(Finish(id, 1, "7"))
    held.set()

    assert process.writer.flush(5)
    assert commits[0] == 2
    assert {job.state for job in site.all_jobs()} == {"completed"}


def test_each_is_told_what_became_of_it(site: Site, process: WorkerProcess, work: Any) -> None:
    done, lost, failed = claimed(site, process, work, 3)
    site.change(lost, worker_id="'other'")
    told: dict[str, str | None] = {}
    endings = {failed: Ending(failed, 1, "failed", "failed", error="E")}
    for id in (done, lost, failed):
        process.writer.put(Finish(id, 1, ending=endings.get(id), told=lambda s, id=id: told.update({id: s})))
    process.writer.flush(5)
    assert told == {done: "completed", lost: None, failed: "failed"}


@pytest.mark.requirement("B09")
def test_a_result_that_the_database_refuses_harms_only_its_own_job(
    site: Site, process: WorkerProcess, work: Any
) -> None:
    good, bad, other = claimed(site, process, work, 3)
    refused = '{"half": "\\ud800"' if site.state.database.is_sqlite else "{not json"
    if site.state.database.is_sqlite:  # which checks nothing by itself
        site.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON understudy_jobs WHEN NEW.result LIKE '{%' "
            "BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    told: dict[str, str | None] = {}
    for id, result in ((good, "1"), (bad, refused), (other, "2")):
        process.writer.put(Finish(id, 1, result, told=lambda s, id=id: told.update({id: s})))
    assert process.writer.flush(10)

    assert [site.job(id).state for id in (good, bad, other)] == ["completed", "failed", "completed"]
    assert site.job(bad).error.startswith("The ledger refused the result: ")
    assert told == {good: "completed", bad: "failed", other: "completed"}


def test_a_lost_answer_to_a_commit_does_not_drop_the_finish(site: Site, process: WorkerProcess, work: Any) -> None:
    """The commit got through, its answer did not: the second try finds its own finish and says so."""
    [id] = claimed(site, process, work, 1)
    failures = [1]

    def lose_answer(connection: sa.Connection) -> None:
        if failures:
            failures.pop()
            connection.connection.dbapi_connection.commit()
            raise sa.exc.OperationalError("COMMIT", None, Exception("the answer was lost"))

    event.listen(site.state.database.own_engine, "commit", lose_answer)
    told: list[str | None] = []
    process.writer.put(Finish(id, 1, "7", told=told.append))
    assert process.writer.flush(10)
    assert (told, site.job(id).state, site.job(id).result) == (["completed"], "completed", 7)


def test_a_lost_answer_to_a_retry_s_commit_repeats_nothing(site: Site, process: WorkerProcess, work: Any) -> None:
    [id] = claimed(site, process, work, 1)
    failures = [1]

    def lose_answer(connection: sa.Connection) -> None:
        if failures:
            failures.pop()
            connection.connection.dbapi_connection.commit()
            raise sa.exc.OperationalError("COMMIT", None, Exception("the answer was lost"))

    event.listen(site.state.database.own_engine, "commit", lose_answer)
    process.writer.put(Finish(id, 1, ending=Ending(id, 1, "delayed", "retried", delay_ms=60_000)))
    assert process.writer.flush(10)
    assert (site.job(id).state, site.job(id).attempt) == ("delayed", 1)
    assert len(queries.attempts(site.state.database, id)) == 1


def test_a_database_that_is_away_is_waited_for(site: Site, process: WorkerProcess, work: Any) -> None:
    ids = claimed(site, process, work, 3)
    away = [True]

    def refuse(*_: Any) -> None:
        if away:
            raise sa.exc.OperationalError("BEGIN", None, Exception("the database is away"))

    event.listen(site.state.database.own_engine, "before_cursor_execute", refuse)
    for id in ids:
        process.writer.put(Finish(id, 1, '"kept"'))
    assert not process.writer.flush(0.3)
    away.clear()
    assert process.writer.flush(10)
    assert [site.job(id).result for id in ids] == ["kept"] * 3


def test_progress_and_lines_are_written_before_the_finish_of_their_job(
    site: Site, process: WorkerProcess, work: Any
) -> None:
    [id] = claimed(site, process, work, 1)
    for percent in range(0, 100, 10):
        process.writer.put(Progress(id, 1, percent, f"at {percent}" if percent < 50 else None))
    process.writer.put(LogLine(id, 1, "a line"))
    process.writer.flush(5)
    assert (site.job(id).progress, site.job(id).progress_message) == (90, "at 40")
    assert [line.message for line in queries.timeline(site.state.database, id)] == ["a line"]


@pytest.mark.parametrize(("fence", "state"), [(2, "active"), (1, "completed"), (1, "waiting")])
def test_progress_of_a_claim_that_is_over_is_dropped(
    site: Site, process: WorkerProcess, work: Any, fence: int, state: str
) -> None:
    [id] = claimed(site, process, work, 1)
    site.change(id, state=f"'{state}'")
    process.writer.put(Progress(id, fence, 50, None))
    process.writer.flush(5)
    assert site.job(id).progress == 0


def test_a_line_of_a_deleted_job_is_dropped(site: Site, process: WorkerProcess, work: Any) -> None:
    [id] = claimed(site, process, work, 1)
    site.execute("DELETE FROM understudy_jobs")
    process.writer.put(LogLine(id, 1, "a line"))
    assert process.writer.flush(5)


def follow_up(site: Site, work: Any, n: int) -> Any:
    return new_job(work.message(n), None, work, site.state.config, None, None)


def test_follow_ups_are_born_with_the_finish_and_announced_after_it(make_site: MakeSite, ledger_url: str) -> None:
    site = make_site(ledger_url)

    @site.jobs.actor()
    def work(n: int = 0) -> None: ...

    announced: list[str] = []
    process = site.process()
    writer = Writer(site.state.database, process.id, lambda jobs: announced.extend(job.id for job in jobs))
    kept, lost = claimed(site, process, work, 2)
    site.change(lost, worker_id="'other'")
    born, unborn = follow_up(site, work, 10), follow_up(site, work, 11)
    writer.put(Finish(kept, 1, follow_ups=[born]))
    writer.put(Finish(lost, 1, follow_ups=[unborn]))
    writer.flush(5)
    writer.close()

    assert announced == [born.id]
    assert site.job(born.id).args == [10]
    assert site.jobs.get(unborn.id) is None


@pytest.mark.requirement("C05")
def test_a_follow_up_that_meets_a_live_twin_is_not_born(site: Site, process: WorkerProcess, work: Any) -> None:
    twin = work.send_with_options(dedup_key="k")
    id = work.send().message_id
    site.claim(process, id)
    message = work.message_with_options(dedup_key="k")
    job = new_job(message, None, work, site.state.config, None, None)
    process.writer.put(Finish(id, 1, follow_ups=[job]))
    process.writer.flush(5)
    assert site.job(id).state == "completed"
    assert site.jobs.get(job.id) is None
    assert site.job(twin).state == "waiting"


def test_a_follow_up_that_the_database_refuses_fails_the_job(site: Site, process: WorkerProcess, work: Any) -> None:
    [id] = claimed(site, process, work, 1)
    job = follow_up(site, work, 1)
    job.queue = None
    process.writer.put(Finish(id, 1, "1", follow_ups=[job]))
    assert process.writer.flush(10)
    assert site.job(id).state == "failed"
    assert len(site.all_jobs()) == 1


def test_a_subscriber_s_error_does_not_stop_the_writer(site: Site, process: WorkerProcess, work: Any) -> None:
    first, second = claimed(site, process, work, 2)

    def explode(_: Any) -> None:
        raise RuntimeError("told")

    process.writer.put(Finish(first, 1, told=explode))
    process.writer.flush(10)
    process.writer.put(Finish(second, 1))
    assert process.writer.flush(10)
    assert [site.job(id).state for id in (first, second)] == ["completed", "completed"]


def test_closing_writes_what_is_left(site: Site, process: WorkerProcess, work: Any) -> None:
    ids = claimed(site, process, work, 20)
    for id in ids:
        process.writer.put(Finish(id, 1))
    assert process.writer.close(5)
    assert {site.job(id).state for id in ids} == {"completed"}
    wait_for(lambda: not process.writer._thread.is_alive(), "the thread to end")


def test_closing_without_work_is_at_once(site: Site, process: WorkerProcess) -> None:
    began = time.monotonic()
    assert process.writer.close(5)
    assert time.monotonic() - began < 1
