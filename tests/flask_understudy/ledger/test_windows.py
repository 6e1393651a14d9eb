"""Debounce and throttle: of many sends with one key few become jobs, whoever sends at the same moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_understudy.clock.announce import promote
from flask_understudy.clock.prune import forget
from flask_understudy.errors import InvalidJob
from flask_understudy.ledger import Window, transitions
from tests.flask_understudy.conftest import Site

HOUR = 3_600_000


@pytest.fixture
def work(site: Site) -> Any:
    return declare(site)


def declare(site: Site, name: str = "work") -> Any:
    @site.jobs.actor(actor_name=name)
    def work(n: int) -> None: ...

    return work


def send(work: Any, n: int, **options: Any) -> str:
    return str(work.send_with_options(args=(n,), **{"dedup_key": "page", **options}).message_id)


def at_once(site: Site, work: Any, n: int, **options: Any) -> set[str]:
    """Send from several threads, and return the ids that were answered."""

    def one(i: int) -> str:
        with site.app.app_context():
            return send(work, i, **options)

    with ThreadPoolExecutor(4) as threads:
        return set(threads.map(one, range(n)))


# -- debounce ----------------------------------------------------------------------------------------------------------


def test_debounced_sends_become_one_job_with_the_last_arguments(site: Site, work: Any) -> None:
    first = send(work, 1, debounce=HOUR)
    before = site.job(first).run_at
    site.change(first, run_at=site.moment(1))
    second = send(work, 2, debounce=HOUR)

    (job,) = site.all_jobs()
    assert (first, second) == (job.id, job.id)
    assert (job.state, job.args, job.dedup_key) == ("delayed", [2], None)
    assert abs(job.run_at - before) < timedelta(minutes=1)


def test_a_debounced_job_runs_at_last_however_often_it_is_sent(site: Site, work: Any) -> None:
    id = send(work, 1, debounce=HOUR, debounce_max=2 * HOUR)
    site.change(id, created_at=site.moment(-5400))

    send(work, 2, debounce=HOUR, debounce_max=2 * HOUR)

    assert timedelta(minutes=28) < site.job(id).run_at - datetime.now(UTC) < timedelta(minutes=31)


def test_what_is_sent_after_its_time_has_come_is_another_job(site: Site, work: Any) -> None:
    first = send(work, 1, debounce=HOUR)
    site.change(first, run_at=site.moment(-1))
    promote(site.state)

    second = send(work, 2, debounce=HOUR)

    assert first != second
    assert [job.args for job in site.all_jobs()] == [[1], [2]]


def test_a_retry_of_a_debounced_job_is_no_place_for_others_arguments(site: Site, work: Any) -> None:
    first = send(work, 1, debounce=HOUR)
    site.change(first, run_at=site.moment(-1))
    promote(site.state)
    process = site.process()
    claimed = site.claim(process, first)
    assert claimed is not None
    second = send(work, 2, debounce=HOUR)

    with site.state.database.transaction() as connection:
        ending = transitions.Ending(first, claimed.fence, "delayed", "retried", delay_ms=HOUR)
        transitions.end(connection, process.id, [ending])
    third = send(work, 3, debounce=HOUR)

    assert (site.job(first).state, site.job(first).args) == ("delayed", [1])
    assert (second, site.job(second).args) == (third, [3])


def test_senders_at_the_same_moment_debounce_into_one_job(site: Site, work: Any) -> None:
    assert len(at_once(site, work, 20, debounce=HOUR)) == 1
    assert len(site.all_jobs()) == 1


def test_keys_are_the_actor_s_and_the_tenant_s_own(site: Site, work: Any) -> None:
    other = declare(site, "other")
    for actor, tenant in ((work, "acme"), (work, "birch"), (other, "acme")):
        send(actor, 1, debounce=HOUR, tenant=tenant)
        send(actor, 1, throttle=HOUR, tenant=tenant)

    assert len(site.all_jobs()) == 6


# -- throttle ----------------------------------------------------------------------------------------------------------


def test_a_throttled_job_runs_at_once_and_others_in_its_window_do_not(site: Site, work: Any) -> None:
    first = send(work, 1, throttle=HOUR)
    site.worker.drain()
    second = send(work, 2, throttle=HOUR)

    assert first == second
    assert [(job.state, job.args) for job in site.all_jobs()] == [("completed", [1])]


def test_the_next_window_has_a_job_of_its_own(site: Site, work: Any) -> None:
    send(work, 1, throttle=HOUR)
    site.execute(f"UPDATE understudy_windows SET until = {site.moment(-1)}")
    send(work, 2, throttle=HOUR)
    send(work, 3, throttle=HOUR)

    assert [job.args for job in site.all_jobs()] == [[1], [2]]


def test_the_last_one_of_a_window_runs_at_its_end(site: Site, work: Any) -> None:
    first = send(work, 1, throttle=HOUR, keep="last")
    ids = {send(work, n, throttle=HOUR, keep="last") for n in (2, 3, 4)}

    now, later = site.all_jobs()
    assert (now.id, now.args, now.state) == (first, [1], "waiting")
    assert (ids, later.args, later.state) == ({later.id}, [4], "delayed")
    assert timedelta(minutes=59) < later.run_at - datetime.now(UTC) < timedelta(minutes=61)


def test_what_is_sent_after_the_last_one_has_run_waits_for_the_window_that_it_began(site: Site, work: Any) -> None:
    send(work, 1, throttle=HOUR, keep="last")
    trailing = send(work, 2, throttle=HOUR, keep="last")
    site.change(trailing, run_at=site.moment(-1))
    promote(site.state)
    site.execute(f"UPDATE understudy_windows SET until = {site.moment(3600)}")

    again = send(work, 3, throttle=HOUR, keep="last")

    assert (site.job(trailing).args, site.job(again).args) == ([2], [3])
    assert timedelta(minutes=59) < site.job(again).run_at - datetime.now(UTC) < timedelta(minutes=61)


@pytest.mark.parametrize(("keep", "n"), [("first", 1), ("last", 2)])
def test_senders_at_the_same_moment_share_a_window(site: Site, work: Any, keep: str, n: int) -> None:
    assert len(at_once(site, work, 20, throttle=HOUR, keep=keep)) == n
    assert len(site.all_jobs()) == n


def test_a_window_of_a_transaction_that_rolled_back_never_was(site: Site, work: Any) -> None:
    with site.app.app_context():
        site.db.session.add(site.Note(text="not kept"))
        send(work, 1, throttle=HOUR)
        site.db.session.rollback()

    send(work, 2, throttle=HOUR)

    assert [job.args for job in site.all_jobs()] == [[2]]


def test_windows_that_are_over_are_forgotten(site: Site, work: Any) -> None:
    send(work, 1, throttle=HOUR)
    send(work, 1, throttle=HOUR, dedup_key="other")
    site.execute(f"UPDATE understudy_windows SET until = {site.moment(-1)} WHERE key = 'work:page'")

    forget(site.state)

    with site.db_session() as session:
        assert [window.key for window in session.query(Window)] == ["work:other"]


# -- what cannot be ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"debounce": HOUR, "throttle": HOUR}, "not both"),
        ({"debounce": HOUR, "dedup_key": None}, "needs a dedup_key"),
        ({"throttle": HOUR, "dedup_key": None}, "needs a dedup_key"),
        ({"debounce": HOUR, "delay": 1000}, "it decides when the job runs"),
        ({"throttle": HOUR, "run_at": datetime(2100, 1, 1, tzinfo=UTC)}, "more than ten years|it decides"),
        ({"debounce": 0}, "debounce is 0; it takes milliseconds from 1"),
        ({"throttle": -5}, "throttle is -5; it takes milliseconds from 1"),
        ({"throttle": float("nan")}, "throttle is nan"),
        ({"debounce": "soon"}, "debounce is 'soon'"),
        ({"debounce": True}, "debounce is True"),
        ({"debounce": 1000, "debounce_max": 10}, "as many ms or more"),
        ({"debounce_max": 10}, "no debounce that it could bound"),
        ({"keep": "last"}, "no throttle that it could be about"),
        ({"throttle": 5, "keep": "middle"}, "'first' .default. or 'last'"),
    ],
)
def test_what_does_not_go_together_is_refused(sqlite_site: Site, options: dict[str, Any], said: str) -> None:
    work = declare(sqlite_site)

    with pytest.raises(InvalidJob, match=said):
        send(work, 1, **options)
    assert sqlite_site.all_jobs() == []
