"""Failed jobs of a queue are reopened together."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_understudy.errors import InvalidJob
from flask_understudy.ledger import queries
from flask_understudy.ledger.scope import Scope
from flask_understudy.operations import reopening
from flask_understudy.operations.reopening import retry_failed
from tests.flask_understudy.conftest import MakeSite, Site
from tests.flask_understudy.rest.conftest import Api, open_api
from tools.waiting import wait_for

pytestmark = pytest.mark.requirement("O01")


@pytest.fixture
def api(site: Site) -> Api:
    return open_api(site)


def states(api: Api) -> Counter[str]:
    return Counter(job.state for job in api.site.all_jobs())


def test_every_failed_job_of_the_queue_is_reopened_a_page_at_a_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reopening, "BATCH", 2)
    failed = [api.fail(str(n)) for n in range(5)]
    cancelled, other = api.send(), api.send("", 1)
    api.site.jobs.cancel(cancelled)
    api.site.change(other, state="'failed'", finished_at=api.site.moment(0))

    assert retry_failed(api.site.state, "reports") == 5

    assert {api.site.job(id).state for id in failed} == {"waiting"}
    assert (api.site.job(cancelled).state, api.site.job(other).state) == ("cancelled", "failed")
    [line] = queries.timeline(api.site.state.database, failed[0])
    assert (line.kind, line.message) == ("retried", "Reopened after failed")


def test_what_was_sent_too_long_ago_stays_failed(api: Api) -> None:
    old, young = api.fail("old"), api.fail("young")
    api.site.change(old, created_at=api.site.moment(-3 * 86_400))

    assert api.site.jobs.retry_failed_jobs("reports", newer_than=timedelta(days=2)) == 1

    assert (api.site.job(old).state, api.site.job(young).state) == ("failed", "waiting")
    assert api.site.jobs.retry_failed_jobs("reports") == 1
    with pytest.raises(InvalidJob, match="nowhere"):
        api.site.jobs.retry_failed_jobs("nowhere")


def test_as_many_statements_reopen_one_job_as_a_hundred(api: Api) -> None:
    def reopened_with(n: int, **options: Any) -> tuple[int, int]:
        for _ in range(n):
            api.site.change(api.send(actor="broken", **options), state="'failed'", finished_at=api.site.moment(0))
        asked: list[str] = []

        def ask(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
            asked.append(statement)

        sa.event.listen(sa.Engine, "before_cursor_execute", ask)
        try:
            return retry_failed(api.site.state, "reports"), len(asked)
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", ask)

    one, statements = reopened_with(1)
    assert one == 1
    assert reopened_with(100) == (100, statements)
    assert reopened_with(100, dedup_key="one for all") == (1, statements)


@pytest.mark.requirement("P04")
def test_other_tenants_failed_jobs_stay(api: Api) -> None:
    ours, theirs = api.fail(), api.fail(tenant="other")

    assert retry_failed(api.site.state, "reports", Scope("acme")) == 1

    assert (api.site.job(ours).state, api.site.job(theirs).state) == ("waiting", "failed")


def test_of_those_that_share_a_key_one_is_reopened_and_none_beside_a_live_twin(api: Api) -> None:
    for _ in range(3):
        api.fail(dedup_key="three")
    twin = api.fail(dedup_key="live")
    api.send(actor="broken", dedup_key="live")

    assert retry_failed(api.site.state, "reports") == 1

    assert states(api) == {"failed": 3, "waiting": 2}
    assert api.site.job(twin).state == "failed"


def test_one_whose_twin_is_accepted_meanwhile_stays_and_the_others_are_reopened(
    make_site: MakeSite, postgres_ledger: str
) -> None:
    api = open_api(make_site(postgres_ledger))
    raced = api.fail(dedup_key="raced")
    others = [api.fail(str(n)) for n in range(3)]

    with ThreadPoolExecutor(1) as pool, api.site.app.app_context():
        api.site.db.session.add(api.site.Note(text="beside it"))
        api.actors["broken"].send_with_options(tenant="acme", dedup_key="raced", transaction=True)
        retried = pool.submit(retry_failed, api.site.state, "reports")
        wait_for(lambda: is_blocked(api), "the twin to be waited for")
        api.site.db.session.commit()
        assert retried.result(20) == 3

    assert api.site.job(raced).state == "failed"
    assert {api.site.job(id).state for id in others} == {"waiting"}


def is_blocked(api: Api) -> bool:
    with api.site.state.database.statement() as connection:
        waiting = connection.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(waiting.scalar_one())


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_beside_writes_they_are_reopened_with_them(api: Api, end: str) -> None:
    id = api.fail()

    with api.site.app.app_context():
        api.site.db.session.add(api.site.Note(text="x"))
        api.site.db.session.flush()
        assert retry_failed(api.site.state, "reports") == 1
        getattr(api.site.db.session, end)()

    assert api.site.job(id).state == ("waiting" if end == "commit" else "failed")


def test_an_unknown_queue_is_refused(sqlite_site: Site) -> None:
    api = open_api(sqlite_site)
    with pytest.raises(InvalidJob, match="No queue is named 'emial'. There are: email, reports"):
        retry_failed(api.site.state, "emial")
