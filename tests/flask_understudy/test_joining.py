"""A job sent beside uncommitted writes exists exactly when they do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import scoped_session, sessionmaker

from flask_understudy.joining import has_uncommitted_writes, watch
from tests.flask_understudy.conftest import MakeSite, Site

pytestmark = pytest.mark.requirement("G2")


@pytest.fixture
def work(site: Site) -> Any:
    @site.jobs.actor()
    def work(n: int = 0) -> None: ...

    return work


@pytest.fixture
def announced(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids that the transport was told, in order."""
    ids: list[str] = []
    announce = site.state.transport.announce

    def listen(jobs: Any) -> None:
        ids.extend(job.id for job in jobs)
        announce(jobs)

    monkeypatch.setattr(site.state.transport, "announce", listen)
    return ids


def exists(site: Site, message: Any) -> bool:
    """Whether anybody else can see the job."""
    with site.state.database.statement() as connection:
        found = connection.exec_driver_sql(
            f"SELECT count(*) FROM understudy_jobs WHERE id = '{message.message_id}'"
        ).scalar_one()
    return bool(found)


def add_note(site: Site) -> None:
    site.db.session.add(site.Note(text="note"))


def dirty_note(site: Site) -> None:
    site.db.session.scalars(sa.select(site.Note)).one().text = "changed"


def delete_note(site: Site) -> None:
    site.db.session.delete(site.db.session.scalars(sa.select(site.Note)).one())


WRITES: dict[str, Callable[[Site], Any]] = {
    "a new object": add_note,
    "a changed object": dirty_note,
    "a deleted object": delete_note,
    "a flushed object": lambda s: (add_note(s), s.db.session.flush()),
    "core insert": lambda s: s.db.session.execute(sa.insert(s.Note).values(text="core")),
    "core update": lambda s: s.db.session.execute(sa.update(s.Note).values(text="core")),
    "core delete": lambda s: s.db.session.execute(sa.delete(s.Note)),
    "text insert": lambda s: s.db.session.execute(sa.text("INSERT INTO note (text) VALUES ('text')")),
    "text update": lambda s: s.db.session.execute(sa.text("\n  update note SET text = 'text'")),
    "text with": lambda s: s.db.session.execute(
        sa.text("WITH t AS (SELECT 1) INSERT INTO note (text) SELECT 'x' FROM note")
    ),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_job_beside_a_write_is_rolled_back_with_it(
    site: Site, work: Any, announced: list[str], write: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "flask_understudy"), site.app.app_context():
        add_note(site)
        site.db.session.commit()
        WRITES[write](site)

        message = work.send()

        assert announced == []
        site.db.session.rollback()
    assert site.all_jobs() == []
    assert site.worker.drain() == []
    assert announced == []
    assert f"the transaction they were sent in was not committed: {message.message_id}" in caplog.text


@pytest.mark.requirement("G1", "Q01")
@pytest.mark.parametrize("write", WRITES)
def test_a_job_beside_a_write_is_committed_with_it_and_announced_then(
    site: Site, work: Any, announced: list[str], write: str
) -> None:
    with site.app.app_context():
        add_note(site)
        site.db.session.commit()
        WRITES[write](site)
        message = work.send()
        if not site.state.database.is_sqlite:
            assert not exists(site, message)
        assert announced == []

        site.db.session.commit()

        assert announced == [message.message_id]
    assert exists(site, message)


@pytest.mark.requirement("G1")
@pytest.mark.parametrize("statement", ["orm", "core", "text", "locking"])
def test_a_job_beside_reads_alone_is_committed_at_once(
    site: Site, work: Any, announced: list[str], statement: str
) -> None:
    with site.app.app_context():
        query = sa.select(site.Note)
        match statement:
            case "orm":
                site.db.session.scalars(query).all()
            case "core":
                site.db.session.execute(sa.select(site.Note.__table__)).all()
            case "text":
                site.db.session.execute(sa.text("SELECT 'update note' AS delete_me FROM note")).all()
            case _:
                site.db.session.execute(query.with_for_update()).all()

        message = work.send()

        assert announced == [message.message_id]
        assert exists(site, message)
        site.db.session.rollback()
    assert exists(site, message)


@pytest.mark.requirement("G1")
def test_a_job_after_the_commit_of_writes_is_committed_at_once(site: Site, work: Any) -> None:
    with site.app.app_context():
        add_note(site)
        site.db.session.flush()
        site.db.session.commit()
        first = work.send()
        assert exists(site, first)
        add_note(site)
        site.db.session.flush()
        site.db.session.rollback()
        site.db.session.scalars(sa.select(site.Note)).all()  # on the connection that wrote
        second = work.send()
        assert exists(site, second)


def rows(site: Site) -> int:
    with site.state.database.statement() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM note").scalar_one())


def test_a_block_of_rows_and_jobs_is_committed_at_its_end(site: Site, work: Any, announced: list[str]) -> None:
    with site.app.app_context():
        with site.jobs.transaction() as session:
            message = work.send()  # joins, although nothing is written yet
            assert announced == []
            session.add(site.Note(text="note"))

        assert (exists(site, message), rows(site), announced) == (True, 1, [message.message_id])


def test_a_block_that_raises_leaves_neither_rows_nor_jobs(site: Site, work: Any, announced: list[str]) -> None:
    messages = []
    with site.app.app_context(), pytest.raises(LookupError), site.jobs.transaction() as session:
        session.add(site.Note(text="note"))
        session.flush()
        messages.append(work.send())
        raise LookupError

    assert (exists(site, messages[0]), rows(site), announced) == (False, 0, [])


@pytest.mark.parametrize("tenant", ["", "acorn"])
def test_a_job_that_is_the_first_write_of_a_transaction_is_rolled_back_with_it(
    site: Site, work: Any, announced: list[str], tenant: str
) -> None:
    with site.app.app_context():
        message = work.send_with_options(tenant=tenant, transaction=True)

        site.db.session.rollback()

        assert (exists(site, message), announced) == (False, [])


def test_a_block_beside_the_caller_s_writes_leaves_the_commit_to_the_caller(
    site: Site, work: Any, announced: list[str]
) -> None:
    with site.app.app_context():
        add_note(site)
        with site.jobs.transaction():
            message = work.send()
        assert announced == []

        site.db.session.rollback()

        assert (exists(site, message), rows(site), announced) == (False, 0, [])


def test_a_session_removed_without_commit_takes_the_job_with_it_and_says_so(
    site: Site, work: Any, announced: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "flask_understudy"), site.app.app_context():
        add_note(site)
        message = work.send()
        site.db.session.remove()
        site.db.session.commit()
    assert site.all_jobs() == []
    assert announced == []
    assert "1 jobs do not exist" in caplog.text
    assert message.message_id in caplog.text


def test_a_request_that_fails_before_its_commit_leaves_no_job(site: Site, work: Any, announced: list[str]) -> None:
    @site.app.get("/signup")
    def signup() -> str:
        add_note(site)
        work.send()
        site.db.session.flush()
        raise RuntimeError("after the send")

    site.app.testing = False
    site.app.config["PROPAGATE_EXCEPTIONS"] = False

    assert site.app.test_client().get("/signup").status_code == 500
    assert (site.all_jobs(), site.notes(), announced) == ([], [], [])


@pytest.mark.requirement("U01")
def test_a_request_that_commits_leaves_row_and_job(site: Site, work: Any, announced: list[str]) -> None:
    @site.app.get("/signup")
    def signup() -> str:
        add_note(site)
        id = work.send().message_id
        site.db.session.commit()
        return id

    id = site.app.test_client().get("/signup").text
    assert (announced, site.notes(), site.job(id).state) == ([id], ["note"], "waiting")


def test_a_commit_that_fails_leaves_no_job(site: Site, work: Any, announced: list[str]) -> None:
    with site.app.app_context():
        add_note(site)
        work.send()
        site.db.session.add(site.Note(text=None))
        with pytest.raises(sa.exc.IntegrityError):
            site.db.session.commit()
        site.db.session.rollback()
        site.db.session.commit()
    assert (site.all_jobs(), announced) == ([], [])


class TestSavepoints:
    """Whatever happens to the savepoint a job was sent in happens to the job."""

    def test_rolled_back(self, site: Site, work: Any, announced: list[str]) -> None:
        with site.app.app_context():
            add_note(site)
            outer = work.send(1)
            savepoint = site.db.session.begin_nested()
            add_note(site)
            work.send(2)
            savepoint.rollback()
            site.db.session.commit()
        assert announced == [outer.message_id]
        assert [job.args for job in site.all_jobs()] == [[1]]
        assert site.notes() == ["note"]

    def test_released(self, site: Site, work: Any, announced: list[str]) -> None:
        with site.app.app_context():
            add_note(site)
            with site.db.session.begin_nested():
                add_note(site)
                message = work.send()
            assert announced == []
            site.db.session.commit()
        assert announced == [message.message_id]
        assert exists(site, message)

    def test_released_inside_a_transaction_that_rolls_back(self, site: Site, work: Any, announced: list[str]) -> None:
        with site.app.app_context():
            add_note(site)
            with site.db.session.begin_nested():
                add_note(site)
                work.send()
            site.db.session.rollback()
            site.db.session.commit()
        assert (announced, site.all_jobs()) == ([], [])

    def test_released_inside_a_savepoint_that_rolls_back(self, site: Site, work: Any, announced: list[str]) -> None:
        with site.app.app_context():
            add_note(site)
            outer = site.db.session.begin_nested()
            with site.db.session.begin_nested():
                add_note(site)
                work.send()
            outer.rollback()
            site.db.session.commit()
        assert (announced, site.all_jobs(), site.notes()) == ([], [], ["note"])

    def test_an_outer_one_rolled_back_while_an_inner_one_is_open(
        self, site: Site, work: Any, announced: list[str]
    ) -> None:
        with site.app.app_context():
            add_note(site)
            kept = work.send(1)
            outer = site.db.session.begin_nested()
            work.send(2)
            site.db.session.begin_nested()
            work.send(3)
            outer.rollback()
            site.db.session.commit()
        assert announced == [kept.message_id]
        assert [job.args for job in site.all_jobs()] == [[1]]

    def test_taken_before_the_first_write(self, site: Site, work: Any, announced: list[str]) -> None:
        with site.app.app_context():
            savepoint = site.db.session.begin_nested()
            add_note(site)
            site.db.session.flush()
            work.send(1)
            savepoint.commit()
            assert announced == []
            site.db.session.rollback()
            assert (site.all_jobs(), site.notes(), announced) == ([], [], [])

            with site.db.session.begin_nested():
                add_note(site)
                site.db.session.flush()
                message = work.send(2)
            site.db.session.commit()
        assert announced == [message.message_id]
        assert site.notes() == ["note"]

    def test_sent_after_one_was_rolled_back(self, site: Site, work: Any, announced: list[str]) -> None:
        with site.app.app_context():
            add_note(site)
            site.db.session.flush()
            savepoint = site.db.session.begin_nested()
            add_note(site)
            savepoint.rollback()
            message = work.send()
            site.db.session.commit()
        assert announced == [message.message_id]


class TestTransactionOption:
    """`transaction=True|False` overrides what would be found out."""

    def test_false_commits_at_once_beside_writes(self, make_site: MakeSite, postgres_ledger: str) -> None:
        site = make_site(postgres_ledger)

        @site.jobs.actor()
        def work() -> None: ...

        with site.app.app_context():
            add_note(site)
            site.db.session.flush()
            message = work.send_with_options(transaction=False)
            assert exists(site, message)
            site.db.session.rollback()
        assert exists(site, message)
        assert site.notes() == []

    def test_true_waits_for_the_commit_without_any_writes(self, site: Site, work: Any, announced: list[str]) -> None:
        with site.app.app_context():
            lost = work.send_with_options(transaction=True)
            site.db.session.rollback()
            kept = work.send_with_options(transaction=True)
            assert announced == []
            site.db.session.commit()
        assert announced == [kept.message_id]
        assert exists(site, kept)
        assert not exists(site, lost)

    def test_true_needs_an_application_context(self, site: Site, work: Any) -> None:
        with pytest.raises(ValueError, match="transaction=True needs an application context"):
            work.send_with_options(transaction=True)
        assert site.all_jobs() == []

    def test_one_call_cannot_do_both(self, site: Site, work: Any) -> None:
        messages = [work.message_with_options(transaction=wish) for wish in (True, False)]
        with site.app.app_context(), pytest.raises(ValueError, match="the same for all jobs of one call"):
            site.jobs.send_many(messages)
        assert site.all_jobs() == []


@pytest.mark.requirement("G1")
def test_outside_of_an_application_context_jobs_are_committed_at_once(
    site: Site, work: Any, announced: list[str]
) -> None:
    message = work.send()
    assert exists(site, message)
    assert announced == [message.message_id]


def test_many_jobs_join_together(site: Site, work: Any, announced: list[str]) -> None:
    with site.app.app_context():
        add_note(site)
        site.jobs.send_many([work.message(n) for n in range(3)])
        site.db.session.rollback()
        add_note(site)
        messages = site.jobs.send_many([work.message(n) for n in range(3)])
        site.db.session.commit()
    assert announced == [message.message_id for message in messages]
    assert len(site.all_jobs()) == 3


def test_the_sender_sees_its_uncommitted_job(site: Site, work: Any) -> None:
    with site.app.app_context():
        add_note(site)
        message = work.send()
        assert site.jobs.get(message.message_id).state == "waiting"
        site.db.session.rollback()
        assert site.jobs.get(message.message_id) is None


def test_a_job_may_join_its_own_work(site: Site, work: Any, announced: list[str]) -> None:
    @site.jobs.actor(max_retries=0)
    def parent(fails: bool) -> None:
        add_note(site)
        work.send()
        if fails:
            raise RuntimeError
        site.db.session.commit()

    assert site.worker.run(parent.send(True)).state == "failed"
    assert site.worker.sent(work) == []
    assert site.worker.run(parent.send(False)).state == "completed"
    assert len(site.worker.sent(work)) == 1
    assert site.notes() == ["note"]


def test_an_announcement_that_fails_does_not_break_the_commit(
    site: Site, work: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(jobs: Any) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(site.state.transport, "announce", explode)
    with site.app.app_context():
        add_note(site)
        message = work.send()
        site.db.session.commit()
    assert exists(site, message)
    assert "workers find them in the ledger" in caplog.text


def test_watching_twice_is_harmless(site: Site, work: Any, announced: list[str]) -> None:
    with site.app.app_context():
        watch(site.db.session, site.db.engine)
        add_note(site)
        message = work.send()
        site.db.session.commit()
    assert announced == [message.message_id]


def test_two_sessions_do_not_mix_their_jobs(make_site: MakeSite, postgres_ledger: str) -> None:
    site = make_site(postgres_ledger)

    @site.jobs.actor()
    def work(n: int) -> None: ...

    with site.app.app_context():
        add_note(site)
        work.send(1)
        with site.app.app_context():
            add_note(site)
            work.send(2)
            site.db.session.commit()
        site.db.session.rollback()
    assert [job.args for job in site.all_jobs()] == [[2]]


def test_writes_are_forgotten_with_their_transaction(site: Site) -> None:
    with site.app.app_context():
        session = site.db.session()
        assert not has_uncommitted_writes(session)
        add_note(site)
        assert has_uncommitted_writes(session)
        session.flush()
        assert has_uncommitted_writes(session)
        session.commit()
        assert not has_uncommitted_writes(session)
        session.execute(sa.text("DELETE FROM note"))
        assert has_uncommitted_writes(session)
        session.rollback()
        assert not has_uncommitted_writes(session)


def test_each_of_many_applications_is_watched(sqlite_ledger: str) -> None:
    """A session factory that was thrown away must not be taken for the next one at its address."""
    engine = sa.create_engine(sqlite_ledger)
    for _ in range(100):
        sessions = scoped_session(sessionmaker(engine))
        watch(sessions, engine)
        session = sessions()
        session.execute(sa.text("DELETE FROM note"))
        assert has_uncommitted_writes(session)
        sessions.remove()
    engine.dispose()
