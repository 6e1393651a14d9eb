"""Tallies: what ended is counted once, in the transaction that ended it, whoever folds it."""

from __future__ import annotations

import operator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_understudy import current_job
from flask_understudy.clock import fold, prune
from flask_understudy.ledger import Count, Rate, Tally, queries, rates, tallies, transitions
from flask_understudy.ledger.transitions import Ending
from flask_understudy.ledger.writer import Finish
from flask_understudy.operations import jobs as job_operations
from flask_understudy.operations import queues as queue_operations
from tests.flask_understudy.conftest import MakeSite, Site
from tools.waiting import wait_for

TRUTH = "SELECT queue, state, count(*) FROM understudy_jobs WHERE tenant LIKE :tenant GROUP BY queue, state"


@pytest.fixture
def work(site: Site) -> Any:
    @site.jobs.actor(queue_name="email", max_retries=2)
    def work(n: int = 0) -> None: ...

    return work


def rows(site: Site, model: Any) -> list[Any]:
    with site.db_session() as session:
        return list(session.scalars(sa.select(model)))


def tallied(site: Site) -> list[tuple[str, int]]:
    """What is told and not folded: (outcome, n)."""
    return sorted((row.outcome, row.n) for row in rows(site, Tally))


def finish(site: Site, process: Any, *messages: Any, **ending: Any) -> None:
    for message in messages:
        claimed = site.claim(process, message)
        assert claimed is not None
        end = Ending(claimed.id, claimed.fence, **ending) if ending else None
        process.writer.put(Finish(claimed.id, claimed.fence, ending=end))
    assert process.writer.flush()


def agrees(site: Site, tenant: str | None = None) -> bool:
    """Whether the stats are what counting every row gives."""
    with site.db_session() as session:
        truth = session.execute(sa.text(TRUTH), {"tenant": tenant or "%"}).all()
    told = queries.stats(site.state.database, [], tenant)
    counted = {(queue, state): n for queue, state, n in truth}
    known = {(queue, state): n for queue, numbers in told.items() for state, n in numbers.items() if n}
    totals = {queue: sum(n for (name, _), n in counted.items() if name == queue) for queue, _ in counted}
    names = ("waiting", "active", "completed", "failed", "delayed")
    return known == {key: n for key, n in counted.items() if key[1] in names} | {
        (queue, "total"): n for queue, n in totals.items()
    }


@pytest.mark.requirement("M07")
def test_a_completed_job_is_tallied_with_how_long_it_ran_and_waited(site: Site, work: Any) -> None:
    process, message = site.process(), work.send_with_options(tenant="aster")
    claimed = site.claim(process, message)
    site.change(message, created_at=site.moment(-90), run_at=site.moment(-60), started_at=site.moment(-20))

    process.writer.put(Finish(message.message_id, claimed.fence))  # type: ignore[union-attr]
    assert process.writer.flush()

    (told,) = rows(site, Tally)
    assert (told.tenant, told.queue, told.actor, told.outcome, told.n) == ("aster", "email", "work", "completed", 1)
    assert 20_000 <= told.busy_ms < 25_000
    assert 39_000 <= told.waited_ms <= 40_100  # from when it was due, not from when it was accepted


@pytest.mark.requirement("M07")
def test_times_are_never_negative_when_the_clock_was_set_back(site: Site, work: Any) -> None:
    process, message = site.process(), work.send()
    claimed = site.claim(process, message)
    site.change(message, run_at=site.moment(90), started_at=site.moment(60))
    process.writer.put(Finish(message.message_id, claimed.fence))  # type: ignore[union-attr]
    assert process.writer.flush()
    assert [(row.busy_ms, row.waited_ms) for row in rows(site, Tally)] == [(0, 0)]


@pytest.mark.requirement("M07")
def test_a_batch_of_the_writer_is_one_row_per_kind(site: Site, work: Any) -> None:
    process = site.process()
    claims = [site.claim(process, message) for message in site.jobs.send_many([work.message() for _ in range(6)])]
    notes = [Finish(job.id, job.fence) for job in claims[:4]]  # type: ignore[union-attr]
    notes += [
        Finish(job.id, job.fence, ending=Ending(job.id, job.fence, "delayed", "retried", delay_ms=9000))  # type: ignore[union-attr]
        for job in claims[4:]
    ]

    process.writer._write(notes)

    assert tallied(site) == [("completed", 4), ("retried", 2)]


@pytest.mark.requirement("M07")
@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ({"state": "failed", "outcome": "failed", "reason": "error"}, [("failed", 1)]),
        ({"state": "cancelled", "outcome": "cancelled"}, [("cancelled", 1)]),
        ({"state": "delayed", "outcome": "retried", "delay_ms": 60_000}, [("retried", 1)]),
        ({"state": "waiting", "outcome": "handed_back", "charged": 0}, []),
    ],
)
def test_other_ends_are_tallied_by_what_became_of_the_job(
    site: Site, work: Any, ending: dict[str, Any], told: list[Any]
) -> None:
    message = work.send()
    site.change(message, created_at=site.moment(-90), run_at=site.moment(-60))
    finish(site, site.process(), message, **ending)
    assert tallied(site) == told
    assert all(59_000 < row.waited_ms < 65_000 for row in rows(site, Tally))


@pytest.mark.requirement("M07", "G4")
def test_an_end_that_came_too_late_is_not_tallied(site: Site, work: Any) -> None:
    process, message = site.process(), work.send()
    claimed = site.claim(process, message)
    finish_ = Finish(message.message_id, claimed.fence)  # type: ignore[union-attr]
    process.writer._write([finish_])
    process.writer._write([finish_])
    process.writer._write([Finish(message.message_id, claimed.fence + 1)])  # type: ignore[union-attr]
    assert tallied(site) == [("completed", 1)]


@pytest.mark.requirement("G5", "M07")
def test_what_its_own_transaction_completed_is_tallied_once(site: Site) -> None:
    @site.jobs.actor(queue_name="email")
    def keep(fail: bool = False) -> None:
        with current_job.transaction() as session:
            session.add(site.Note(text="kept"))
            if fail:
                raise ValueError("rolled back")

    site.worker.run(keep.send().message_id)
    assert tallied(site) == [("completed", 1)]

    site.worker.run(keep.send(fail=True).message_id)
    assert tallied(site) == [("completed", 1), ("retried", 1)]
    assert agrees(site)


@pytest.mark.requirement("L05", "I08")
def test_stats_are_exact_after_every_move(site: Site, work: Any) -> None:
    def check() -> None:
        assert agrees(site)
        assert agrees(site, "aster")

    process = site.process()
    ids = [work.send_with_options(tenant=tenant).message_id for tenant in ["aster", "birch"] * 6]
    check()
    finish(site, process, *ids[:2])
    check()
    finish(site, process, *ids[2:5], state="failed", outcome="failed", reason="error")
    check()
    job_operations.cancel(site.state, ids[5])
    check()
    fold(site.state)
    check()
    for id in (ids[2], ids[5]):
        job_operations.retry(site.state, id)
        check()
    job_operations.delete(site.state, ids[3])
    check()
    site.execute(f"UPDATE understudy_jobs SET expires_at = {site.moment(-1)} WHERE id = '{ids[6]}'")
    with site.state.database.transaction() as connection:
        assert len(transitions.expire(connection)) == 1
    check()
    for id in ids[7:9]:
        site.claim(process, id)
    site.kill(process)
    with site.state.database.transaction() as connection:
        assert len(transitions.rescue(connection, process.id, [ids[7]], "died")) == 2
    assert ("retried", 1) in tallied(site)  # the one that is blamed; the other was handed back
    check()
    assert queue_operations.drain(site.state, "email") == 7
    check()
    fold(site.state)
    assert queue_operations.clean(site.state, "email", "cancelled", 0) == 7
    check()
    prune(site.state)
    fold(site.state)
    check()
    assert tallied(site) == []


@pytest.mark.requirement("N03", "L05")
def test_what_retention_deletes_is_taken_off(make_site: MakeSite, ledger_url: str) -> None:
    site = make_site(ledger_url, UNDERSTUDY_MAX_HISTORY=1)

    @site.jobs.actor(queue_name="email")
    def work() -> None: ...

    for _ in range(3):
        site.worker.run(work.send().message_id)
    assert prune(site.state) == 2
    assert agrees(site)
    fold(site.state)
    assert [(row.state, row.n) for row in rows(site, Count)] == [("completed", 1)]


@pytest.mark.requirement("M07")
def test_rates_are_kept_by_the_minute_and_in_sum(site: Site, work: Any) -> None:
    site.execute(
        "INSERT INTO understudy_tallies (at, tenant, queue, actor, outcome, n, busy_ms, waited_ms) VALUES "
        "('2026-01-01 10:00:59.900000', 'a', 'email', 'work', 'completed', 2, 30, 5), "
        "('2026-01-01 10:00:01.000000', 'b', 'email', 'work', 'completed', 1, 10, 5), "
        "('2026-01-01 10:01:00.000000', 'a', 'email', 'work', 'completed', 1, 7, 0), "
        "('2026-01-01 10:01:00.000000', 'a', 'email', '', 'completed', -1, 0, 0)"
        if site.state.database.is_sqlite
        else "INSERT INTO understudy_tallies (at, tenant, queue, actor, outcome, n, busy_ms, waited_ms) VALUES "
        "('2026-01-01 10:00:59.9+00', 'a', 'email', 'work', 'completed', 2, 30, 5), "
        "('2026-01-01 10:00:01+00', 'b', 'email', 'work', 'completed', 1, 10, 5), "
        "('2026-01-01 10:01:00+00', 'a', 'email', 'work', 'completed', 1, 7, 0), "
        "('2026-01-01 10:01:00+00', 'a', 'email', '', 'completed', -1, 0, 0)"
    )
    with site.state.database.transaction() as connection:
        assert tallies.fold(connection) == 4
    first, second = (datetime(2026, 1, 1, 10, minute, tzinfo=UTC) for minute in (0, 1))
    told = {row.minute: (row.n, row.busy_ms, row.waited_ms) for row in rows(site, Rate)}
    assert told == {datetime(1970, 1, 1, tzinfo=UTC): (4, 47, 10), first: (3, 40, 10), second: (1, 7, 0)}
    assert {(row.tenant, row.n) for row in rows(site, Count)} == {("a", 2), ("b", 1)}

    fold(site.state)  # these minutes are more than 30 days old

    assert [(row.minute.year, row.n) for row in rows(site, Rate)] == [(1970, 4)]


@pytest.mark.requirement("M07")
def test_minutes_of_more_than_two_days_ago_are_told_by_the_hour(site: Site) -> None:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    fine = [now - timedelta(hours=hours, minutes=1) for hours in (0, 47)]
    old = [now - timedelta(hours=49, minutes=minutes) for minutes in (60, 30, 29)]
    with Session(site.state.database.engine) as session:
        for at in [*fine, *old]:
            session.add(Rate(minute=at, queue="email", actor="work", outcome="completed", n=2, busy_ms=10, waited_ms=4))
        session.add(Rate(minute=old[1], queue="email", actor="work", outcome="failed", n=1, busy_ms=0, waited_ms=0))
        session.commit()
    before = rates.since(site.state.database, 84, 120)

    def gather() -> int:
        with site.state.database.transaction() as connection:
            return tallies.gather_minutes(connection)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda _: gather(), range(8))) == 3

    told = {(row.minute, row.outcome): (row.n, row.busy_ms, row.waited_ms) for row in rows(site, Rate)}
    assert told == {
        **{(at, "completed"): (2, 10, 4) for at in fine},
        (old[0], "completed"): (6, 30, 12),
        (old[0], "failed"): (1, 0, 0),
    }
    after = rates.since(site.state.database, 84, 120)
    key = operator.attrgetter("minute_ms", "queue", "outcome")
    assert sorted(after.rows, key=key) == sorted(before.rows, key=key)


@pytest.mark.requirement("M07", "L05")
def test_two_clocks_fold_each_tally_once(site: Site, work: Any) -> None:
    process = site.process()
    for n in range(40):
        finish(site, process, work.send_with_options(tenant=f"t{n % 4}"))
    assert len(rows(site, Tally)) == 40

    def fold_one() -> None:
        for _ in range(20):
            with site.state.database.transaction() as connection:
                tallies.fold(connection, 3)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(fold_one) for _ in range(4)]:
            done.result()
    assert rows(site, Tally) == []
    assert sorted(row.n for row in rows(site, Count)) == [10] * 4
    assert {row.n for row in rows(site, Rate) if row.minute.year == 1970} == {40}


@pytest.mark.requirement("L05", "M07")
def test_stats_are_exact_while_a_clock_folds(site: Site, work: Any) -> None:
    process = site.process()
    messages = site.jobs.send_many([work.message() for _ in range(60)])
    seen: set[int] = set()
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(lambda: [finish(site, process, message) for message in messages])
        while not done.done():
            seen.add(site.jobs.stats()["email"]["total"])
            fold(site.state)
        done.result()
    assert seen == {60}


@pytest.mark.requirement("M07")
def test_the_clock_folds_by_itself(carried_site: Site) -> None:
    @carried_site.jobs.actor(queue_name="email")
    def work() -> None: ...

    carried_site.start_worker()
    work.send()
    wait_for(lambda: [(row.state, row.n) for row in rows(carried_site, Count)] == [("completed", 1)], "the folding")


def test_a_recount_makes_good_what_was_done_by_hand(site: Site, work: Any) -> None:
    finish(site, site.process(), work.send(), work.send())
    fold(site.state)
    site.execute("DELETE FROM understudy_jobs")
    assert site.jobs.stats()["email"]["completed"] == 2
    tallies.recount(site.state.database)
    assert site.jobs.stats()["email"]["total"] == 0
