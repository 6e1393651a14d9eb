"""Batches: many jobs as one object, whose end is noticed once, whoever ends its last job."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flask_understudy import Limit, current_job
from flask_understudy.clock.batches import close_batches
from flask_understudy.clock.prune import forget
from flask_understudy.closing import close
from flask_understudy.errors import InvalidJob, JobConflict, JobNotFound
from flask_understudy.ledger import transitions
from flask_understudy.operations import batches, jobs
from flask_understudy.testing import TestWorker
from tests.flask_understudy.conftest import Site

pytestmark = pytest.mark.requirement("A11", "A12")


class Actors:
    """What the batches of these tests are made of."""

    def __init__(self, site: Site) -> None:
        self.failing = {3}

        @site.jobs.actor(max_retries=0)
        def work(n: int) -> int:
            if n in self.failing:
                raise ValueError(f"{n} does not work")
            return n

        @site.jobs.actor()
        def tell(what: str, batch_id: str = "") -> list[str]:
            return [what, batch_id, current_job.batch_id or ""]

        @site.jobs.actor()
        def deaf(what: str) -> str:
            return what

        self.site, self.work, self.tell, self.deaf = site, work, tell, deaf

    def told(self) -> list[str]:
        """What was sent at the ends of batches, in order."""
        return [job.args[0] for job in self.site.all_jobs() if job.actor in {"tell", "deaf"}]

    def send(self, n: int, **options: Any) -> Any:
        callbacks = {f"on_{what}": self.tell.message(what) for what in ("complete", "success", "failure")}
        return self.site.jobs.batch([self.work.message(i) for i in range(n)], **{**callbacks, **options})

    def drain(self) -> None:
        self.site.worker.drain()


@pytest.fixture
def actors(site: Site) -> Actors:
    return Actors(site)


def test_a_batch_counts_its_jobs_and_keeps_its_failures(actors: Actors) -> None:
    batch = actors.send(5, name="Letters")
    before = batch.progress()
    actors.drain()
    after = batch.progress()

    assert (before.name, before.state, before.total, before.waiting, before.percent) == ("Letters", "running", 5, 5, 0)
    assert (after.state, after.completed, after.failed, after.percent) == ("failed", 4, 1, 100)
    assert after.finished_at is not None
    assert [(job.args, job.error) for job in batch.failures()] == [([3], "ValueError: 3 does not work")]


@pytest.mark.parametrize(("n", "outcome"), [(3, "success"), (5, "failure")])
def test_what_follows_its_end_is_sent_once(actors: Actors, n: int, outcome: str) -> None:
    batch = actors.send(n)
    assert actors.told() == []

    actors.drain()
    for _ in range(2):
        close(actors.site.state)
        close_batches(actors.site.state)

    assert sorted(actors.told()) == ["complete", outcome]
    results = [job.result for job in actors.site.all_jobs() if job.actor == "tell"]
    assert {(id, of_job) for _, id, of_job in results} == {(batch.id, batch.id)}


def test_a_callback_without_the_parameter_is_not_given_the_batch_s_id(actors: Actors) -> None:
    actors.send(1, on_complete=actors.deaf.message("over"), on_success=None)

    actors.drain()

    assert actors.told() == ["over"]


def test_a_batch_of_nothing_is_over_at_once(actors: Actors) -> None:
    batch = actors.send(0)

    assert (batch.progress().state, batch.progress().percent) == ("completed", 100)
    assert sorted(actors.told()) == ["complete", "success"]


def test_a_batch_exists_exactly_when_the_transaction_does(actors: Actors) -> None:
    site = actors.site
    with site.app.app_context():
        site.db.session.add(site.Note(text="with it"))
        lost = actors.send(2)
        site.db.session.rollback()
        site.db.session.add(site.Note(text="with it"))
        kept = actors.send(0)
        assert actors.told() == []
        site.db.session.commit()

    with pytest.raises(JobNotFound):
        site.jobs.find_batch(lost.id)
    assert site.jobs.find_batch(kept.id).progress().state == "completed"
    assert (site.notes(), len(actors.told())) == (["with it"], 2)


def test_two_last_jobs_that_end_at_once_end_it_once(actors: Actors) -> None:
    site = actors.site
    for _ in range(5):
        batch = actors.send(2)
        with site.state.database.claims() as connection:
            claimed = transitions.claim_next(connection, "somebody", "default", 2)

        def finish(job: Any, batch: Any = batch) -> None:
            with site.state.database.transaction() as connection:
                transitions.complete(connection, "somebody", [(job.id, job.fence, None)])
            close(site.state, [batch.id])

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(finish, claimed))
        assert batch.progress().state == "completed"
        with site.state.database.claims() as connection:
            told = transitions.claim_next(connection, "somebody", "default", 9)
        assert sorted(job.args[0] for job in told) == ["complete", "success"]


def test_the_clock_ends_what_a_crash_left_open(actors: Actors) -> None:
    site, batch = actors.site, actors.send(1)
    with site.state.database.claims() as connection:
        (job,) = transitions.claim_next(connection, "somebody", "default", 1)
    with site.state.database.transaction() as connection:
        transitions.complete(connection, "somebody", [(job.id, job.fence, None)])
    assert batch.progress().state == "running"

    close_batches(site.state)

    assert batch.progress().state == "completed"
    assert len(actors.told()) == 2


def test_its_failed_jobs_are_retried_and_it_has_its_end_anew(actors: Actors) -> None:
    batch = actors.send(5)
    actors.drain()
    actors.failing.clear()

    assert batch.retry_failed() == 1
    open_again = batch.progress()
    actors.drain()

    assert (open_again.state, open_again.completed, open_again.failed, open_again.waiting) == ("running", 4, 0, 1)
    assert (batch.progress().state, batch.progress().completed, batch.progress().failed) == ("completed", 5, 0)
    assert sorted(actors.told()) == ["complete", "complete", "failure", "success"]
    with pytest.raises(JobConflict, match="no failed job"):
        batch.retry_failed()


def test_a_job_that_is_retried_by_itself_opens_its_batch_again(actors: Actors) -> None:
    batch = actors.send(4)
    actors.drain()
    actors.failing.clear()

    actors.site.jobs.retry(batch.failures()[0].id)

    assert batch.progress().state == "running"
    actors.drain()
    assert batch.progress().state == "completed"


def test_its_counts_are_right_when_its_jobs_are_deleted(actors: Actors) -> None:
    site, batch = actors.site, actors.send(5)
    with TestWorker(site.state) as worker:
        worker.run(site.worker.sent("work")[0])
        with site.state.database.transaction() as connection:  # it is open: nothing of it is deleted
            assert transitions.prune(connection, [], ["completed"], -1000, others=True) == 0
            assert transitions.delete(connection, [site.worker.sent("work")[0].id]) == 0
        worker.drain()

    with site.state.database.transaction() as connection:
        assert transitions.prune(connection, [], ["completed"], -1000, others=True) == 6
    assert (batch.progress().completed, batch.progress().failed) == (4, 1)
    actors.failing.clear()
    batch.retry_failed()
    assert (batch.progress().completed, batch.progress().waiting, batch.progress().percent) == (4, 1, 80)
    actors.drain()
    assert (batch.progress().completed, batch.progress().failed) == (5, 0)


def test_what_is_left_is_cancelled(actors: Actors) -> None:
    site, batch = actors.site, actors.send(4)
    process = site.process()
    running = site.worker.sent("work")[0]
    claimed = site.claim(process, running.id)
    assert claimed is not None

    assert batch.cancel() == (3, 1)
    assert batch.progress().state == "cancelling"
    with site.state.database.transaction() as connection:
        ending = transitions.Ending(claimed.id, claimed.fence, "delayed", "retried", delay_ms=0)
        transitions.end(connection, process.id, [ending])
    close_batches(site.state)

    assert (batch.progress().state, batch.progress().cancelled) == ("cancelled", 4)
    assert sorted(actors.told()) == ["complete", "failure"]
    with pytest.raises(JobConflict, match="has ended"):
        batch.cancel()


def test_a_cancelled_batch_takes_no_more_jobs_and_an_open_one_does(actors: Actors) -> None:
    batch = actors.send(1, concurrency=1)
    batch.add([actors.work.message(7), actors.work.message(8)])
    assert (batch.progress().total, batch.progress().waiting) == (3, 3)
    assert {job.limit_key for job in actors.site.all_jobs()} == {f"batch:{batch.id}"}

    batch.cancel()

    with pytest.raises(JobConflict, match="has ended or was cancelled"):
        batch.add([actors.work.message(9)])


def test_no_more_of_its_jobs_run_at_a_time_than_it_allows(actors: Actors) -> None:
    site = actors.site
    actors.send(5, concurrency=2)

    with site.state.database.claims() as connection:
        assert len(transitions.claim_next(connection, "somebody", "default", 9)) == 2
        assert transitions.claim_next(connection, "somebody", "default", 9) == []


def test_a_job_that_is_there_already_is_not_counted_twice(actors: Actors) -> None:
    actors.work.send_with_options(args=(1,), dedup_key="one")
    messages = [actors.work.message_with_options(args=(1,), dedup_key="one"), actors.work.message(2)]

    batch = actors.site.jobs.batch(messages)

    assert batch.progress().total == 1
    actors.drain()
    assert batch.progress().state == "completed"


def test_a_callback_that_this_release_does_not_know_is_noted(actors: Actors) -> None:
    batch = actors.send(1, on_success=None)
    del actors.site.jobs.broker.actors["tell"]

    actors.drain()

    assert batch.progress().state == "completed"
    assert "No actor is named 'tell'" in (batch.progress().error or "")


def test_batches_are_listed_and_forgotten(actors: Actors) -> None:
    site = actors.site
    ids = []
    for _ in range(3):
        ids.append(actors.send(0, on_complete=None, on_success=None, on_failure=None).id)
        site.tick()
    open_one = actors.send(1)

    found, after = batches.listing(site.state, n=2)
    rest, end = batches.listing(site.state, after=after, n=2)
    site.execute(f"UPDATE understudy_batches SET finished_at = {site.moment(-40 * 86_400)} WHERE total = 0")
    forget(site.state)

    assert [batch.id for batch in [*found, *rest]] == [open_one.id, *reversed(ids)]
    assert end is None
    assert [batch.id for batch in batches.listing(site.state)[0]] == [open_one.id]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"concurrency": 0}, "from 1 to 100000"),
        ({"concurrency": "ten"}, "from 1 to 100000"),
        ({"name": "x" * 201}, "a printable text"),
        ({"name": 7}, "a printable text"),
        ({"on_complete": "tell"}, "each a message of an actor"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_stored(sqlite_site: Site, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidJob, match=said):
        Actors(sqlite_site).send(2, **options)
    assert sqlite_site.all_jobs() == []
    assert batches.listing(sqlite_site.state) == ([], None)


def test_one_job_that_cannot_be_accepted_refuses_them_all(sqlite_site: Site) -> None:
    actors = Actors(sqlite_site)
    limited = sqlite_site.jobs.actor(actor_name="limited", limit=Limit(concurrency=1))(lambda: None)
    acme, birch = (actors.work.message_with_options(args=(1,), tenant=name) for name in ("acme", "birch"))

    with pytest.raises(InvalidJob, match="one tenant's"):
        sqlite_site.jobs.batch([acme, birch])
    with pytest.raises(InvalidJob, match="a limit of its own"):
        sqlite_site.jobs.batch([actors.work.message(1), limited.message()], concurrency=2)
    with pytest.raises(InvalidJob, match="do not fit"):
        sqlite_site.jobs.batch([actors.work.message(1)], on_complete=actors.tell.message())
    assert sqlite_site.all_jobs() == []


def test_a_job_of_an_open_batch_is_not_deleted(actors: Actors) -> None:
    batch = actors.send(2)
    first = actors.site.worker.sent("work")[0]
    TestWorker(actors.site.state).run(first)

    with pytest.raises(JobConflict, match="open batch"):
        jobs.delete(actors.site.state, first.id)

    actors.drain()
    assert jobs.delete(actors.site.state, first.id) == "deleted"
    assert batch.progress().completed == 2
