"""Publishing: the row in the log and the jobs of the subscribers exist together, or not at all."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
import sqlalchemy as sa

from flask_understudy import Event, Principal, acting_as, current_job
from flask_understudy.clock.prune import forget_events
from flask_understudy.errors import (
    BrokerUnavailable,
    InvalidEvent,
    InvalidJob,
    JobNotFound,
    NotInitialised,
    PayloadTooLarge,
)
from flask_understudy.events import publishing
from flask_understudy.ledger import PublishedEvent, waits
from flask_understudy.ledger.transitions import Due
from tests.flask_understudy.conftest import MakeSite, Site


class OrderPlaced(Event):
    order_id: int
    iban: str = ""
    note: str = ""


class FirstHired(Event, name="hired"):
    name: str


class Hired(Event, name="hired", version=2):
    first: str
    last: str = ""

    @classmethod
    def upcast(cls, payload: dict[str, Any], version: int) -> dict[str, Any]:
        first, _, last = payload["name"].partition(" ")
        return {"first": first, "last": last}


class Listeners:
    """Two actors that hear an order, and what they heard."""

    def __init__(self, site: Site) -> None:
        self.heard: list[tuple[str, Event]] = []

        @site.jobs.on(OrderPlaced, queue_name="email", sensitive=["iban"], max_retries=0)
        def confirm(event: OrderPlaced) -> str:
            """Write to the customer."""
            self.heard.append(("confirm", event))
            return f"confirmed {event.order_id}"

        @site.jobs.on(OrderPlaced, where=lambda event: event.order_id > 100)
        def audit(event: OrderPlaced) -> None:
            self.heard.append(("audit", event))

        self.confirm, self.audit = confirm, audit


@pytest.fixture
def listeners(site: Site) -> Listeners:
    return Listeners(site)


def log_of(site: Site) -> list[PublishedEvent]:
    with site.db_session() as session:
        return list(session.scalars(sa.select(PublishedEvent).order_by(PublishedEvent.at)))


@pytest.mark.requirement("V02")
def test_each_subscriber_gets_the_event_in_a_job_of_its_own(site: Site, listeners: Listeners) -> None:
    published = site.jobs.publish(OrderPlaced(order_id=101, iban="DE1", note="ring twice"))

    first, second = (site.job(id) for id in published.job_ids)
    assert (first.actor, first.queue) == ("on:order.placed:confirm", "email")
    assert (second.actor, second.queue) == ("on:order.placed:audit", "default")
    assert first.kwargs == second.kwargs == {"order_id": 101, "iban": "DE1", "note": "ring twice"}
    assert first.event_id == second.event_id == published.id
    [row] = log_of(site)
    assert (row.id, row.name, row.version, row.payload) == (published.id, "order.placed", 1, first.kwargs)
    site.worker.drain(raise_errors=True)
    event = OrderPlaced(order_id=101, iban="DE1", note="ring twice")
    assert sorted(name for name, _ in listeners.heard) == ["audit", "confirm"]
    assert [fact for _, fact in listeners.heard] == [event, event]
    assert site.job(first.id).result == "confirmed 101"


def test_a_subscriber_hears_what_it_wants_to(site: Site, listeners: Listeners) -> None:
    published = site.jobs.publish(OrderPlaced(order_id=100))

    assert [site.job(id).actor for id in published.job_ids] == ["on:order.placed:confirm"]


def test_a_filter_that_fails_loses_nothing_and_asks_again(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    answers: list[Any] = [ZeroDivisionError("at publish"), ZeroDivisionError("at run"), False]
    heard = []

    def ask(event: OrderPlaced) -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    @site.jobs.on(OrderPlaced, where=ask)
    def listen(event: OrderPlaced) -> None:
        heard.append(event)

    [id] = site.jobs.publish(OrderPlaced(order_id=1)).job_ids

    assert "The filter of on:order.placed:listen failed" in caplog.text
    assert site.worker.run(id).error == "ZeroDivisionError: at run"
    assert site.worker.run(id).state == "completed"
    assert heard == []


@pytest.mark.requirement("G2")
def test_an_event_beside_a_write_is_there_when_that_is_committed(site: Site, listeners: Listeners) -> None:
    with site.app.app_context():
        site.db.session.add(site.Note(text="order"))
        published = site.jobs.publish(OrderPlaced(order_id=101))
        assert log_of(site) == []
        site.db.session.commit()

    assert [row.id for row in log_of(site)] == [published.id]
    assert len(site.all_jobs()) == 2
    assert site.notes() == ["order"]


@pytest.mark.requirement("G2")
def test_an_event_beside_a_write_is_rolled_back_with_it(site: Site, listeners: Listeners) -> None:
    with site.app.app_context():
        site.db.session.add(site.Note(text="order"))
        site.jobs.publish(OrderPlaced(order_id=101))
        site.db.session.rollback()

    assert (log_of(site), site.all_jobs(), site.notes()) == ([], [], [])


def test_an_event_in_a_savepoint_is_rolled_back_with_it(site: Site, listeners: Listeners) -> None:
    with site.app.app_context():
        site.db.session.add(site.Note(text="order"))
        with pytest.raises(KeyError), site.db.session.begin_nested():
            site.jobs.publish(OrderPlaced(order_id=101))
            raise KeyError
        site.db.session.commit()

    assert (log_of(site), site.all_jobs(), site.notes()) == ([], [], ["order"])


def test_an_event_without_writes_is_committed_at_once(site: Site, listeners: Listeners) -> None:
    with site.app.app_context():
        site.jobs.publish(OrderPlaced(order_id=1))
        site.db.session.rollback()

    assert (len(log_of(site)), len(site.all_jobs())) == (1, 1)


def test_what_fails_half_way_leaves_nothing(site: Site, listeners: Listeners, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(connection: Any, jobs: Any) -> Any:
        raise RuntimeError("between the event and its jobs")

    monkeypatch.setattr("flask_understudy.storing.accept", fail)
    with pytest.raises(RuntimeError):
        site.jobs.publish(OrderPlaced(order_id=1))
    with site.app.app_context():
        site.db.session.add(site.Note(text="kept"))
        with pytest.raises(RuntimeError):
            site.jobs.publish(OrderPlaced(order_id=1))
        site.db.session.commit()

    assert (log_of(site), site.notes()) == ([], ["kept"])


def test_many_events_are_published_together_or_not_at_all(site: Site, listeners: Listeners) -> None:
    published = site.jobs.publish_many(OrderPlaced(order_id=n) for n in (1, 101))

    assert [len(one.job_ids) for one in published] == [1, 2]
    assert [site.job(id).event_id for one in published for id in one.job_ids] == [
        published[0].id,
        published[1].id,
        published[1].id,
    ]
    broken = OrderPlaced.model_construct(order_id="seven")
    with pytest.raises(InvalidEvent, match="order_id"):
        site.jobs.publish_many([OrderPlaced(order_id=1), broken])
    assert len(log_of(site)) == 2
    assert site.jobs.publish_many([]) == []


@pytest.mark.parametrize("given", [None, {"order_id": 1}, OrderPlaced, "order.placed"])
def test_what_is_no_event_is_not_published(sqlite_site: Site, given: Any) -> None:
    with pytest.raises(InvalidEvent, match="LeaveApproved"):
        sqlite_site.jobs.publish(given)


def test_an_event_that_is_too_large_is_refused(sqlite_site: Site) -> None:
    with pytest.raises(PayloadTooLarge, match=r"order\.placed"):
        sqlite_site.jobs.publish(OrderPlaced(order_id=1, note="x" * 300_000))

    assert log_of(sqlite_site) == []


@pytest.mark.parametrize("note", ["a\x00b", "\ud800"])
def test_a_text_that_no_database_stores_is_refused(sqlite_site: Site, note: str) -> None:
    with pytest.raises(InvalidJob, match="no database stores|JSON"):
        sqlite_site.jobs.publish(OrderPlaced(order_id=1, note=note))

    assert log_of(sqlite_site) == []


def test_nobody_listening_is_said_once(sqlite_site: Site, caplog: pytest.LogCaptureFixture) -> None:
    publishing._unheard.discard("order.placed")

    for n in (1, 2):
        assert sqlite_site.jobs.publish(OrderPlaced(order_id=n)).job_ids == ()

    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage().partition(" in this")[0] for record in warnings] == [
        "Nobody listens to the event 'order.placed'"
    ]
    assert len(log_of(sqlite_site)) == 2


def test_an_event_belongs_to_whoever_publishes_it(site: Site, listeners: Listeners) -> None:
    with acting_as(Principal("olga", "acme")):
        [id] = (published := site.jobs.publish(OrderPlaced(order_id=1))).job_ids
    site.jobs.publish(OrderPlaced(order_id=2), tenant="other", owner="otto", correlation_id="c1")

    first, second = log_of(site)
    assert (first.tenant, first.subject, first.correlation_id, first.job_id) == ("acme", "olga", published.id, None)
    assert (second.tenant, second.subject, second.correlation_id) == ("other", "otto", "c1")
    job = site.job(id)
    assert (job.tenant, job.owner, job.correlation_id) == ("acme", "olga", published.id)


def test_what_a_job_publishes_is_of_that_job(site: Site, listeners: Listeners) -> None:
    @site.jobs.actor()
    def place() -> str:
        return site.jobs.publish(OrderPlaced(order_id=1)).id

    parent = site.worker.run(place.send_with_options(tenant="acme", owner="olga"))

    [row] = log_of(site)
    assert (row.id, row.tenant, row.subject, row.job_id) == (parent.result, "acme", "olga", parent.id)
    assert row.correlation_id == parent.correlation_id
    [child] = [job for job in site.all_jobs() if job.event_id]
    assert (child.parent_id, child.tenant, child.correlation_id) == (parent.id, "acme", parent.correlation_id)


@pytest.mark.requirement("G5")
def test_an_event_in_a_job_s_transaction_is_published_with_its_completion(site: Site, listeners: Listeners) -> None:
    attempts = []

    @site.jobs.actor(max_retries=1, min_backoff=0)
    def place() -> None:
        attempts.append(1)
        with current_job.transaction() as session:
            session.add(site.Note(text="order"))
            site.jobs.publish(OrderPlaced(order_id=1))
            if len(attempts) == 1:
                raise KeyError("before the commit")

    place.send()
    site.worker.drain(include_delayed=True)

    assert (len(attempts), site.notes(), len(log_of(site)), len(listeners.heard)) == (2, ["order"], 1, 1)


@pytest.mark.requirement("B15")
def test_an_event_is_sent_by_its_name(site: Site, listeners: Listeners) -> None:
    site.jobs.send_event("order.placed", {"order_id": 7})
    site.worker.drain(raise_errors=True)

    assert listeners.heard == [("confirm", OrderPlaced(order_id=7))]
    for name, data, what in (
        ("order.plced", {"order_id": 7}, "Did you mean 'order.placed'"),
        ("order.placed", {"order_id": "x"}, "order_id"),
        ("order.placed", {"order_id": 1, "colour": 1}, "colour"),
        ("order.placed", None, "order_id"),
        ("order.placed", 7, "a mapping of names, and 7 was given"),
        (7, {}, "a text, and 7 was given"),
    ):
        with pytest.raises(InvalidEvent, match=what):
            site.jobs.send_event(name, data)
    assert len(log_of(site)) == 1


def test_a_subscriber_of_the_newest_version_hears_the_older_ones(site: Site) -> None:
    heard: list[Event] = []

    @site.jobs.on(Hired)
    def welcome(event: Hired) -> None:
        heard.append(event)

    [id] = site.jobs.publish(FirstHired(name="Ada Lovelace")).job_ids
    site.jobs.send_event("hired", {"name": "Alan Turing"}, version=1)
    site.jobs.send_event("hired", {"first": "Grace"})
    site.worker.drain(raise_errors=True)

    assert site.job(id).kwargs == {"first": "Ada", "last": "Lovelace"}
    assert heard == [Hired(first="Ada", last="Lovelace"), Hired(first="Alan", last="Turing"), Hired(first="Grace")]
    assert sorted(row.version for row in log_of(site)) == [1, 2, 2]


def test_a_subscriber_of_an_older_version_is_named_before_anything_is_lost(sqlite_site: Site) -> None:
    @sqlite_site.jobs.on(FirstHired)
    def welcome(event: FirstHired) -> None: ...

    with pytest.raises(InvalidEvent, match=r"on:hired:welcome cannot hear it.* up to version 1"):
        sqlite_site.jobs.publish(Hired(first="Ada"))

    assert log_of(sqlite_site) == []


def test_a_job_that_waited_through_a_release_is_brought_up(site: Site) -> None:
    """Its fields are of the version of when it was made."""
    heard: list[Event] = []

    @site.jobs.on(Hired)
    def welcome(event: Hired) -> None:
        heard.append(event)

    [id] = site.jobs.publish(Hired(first="x")).job_ids
    site.change(id, kwargs="""'{"name": "Ada Lovelace"}'""", options="'{}'")

    site.worker.run(id, raise_errors=True)

    assert heard == [Hired(first="Ada", last="Lovelace")]


def test_a_replay_is_a_new_event_for_those_who_listen_today(site: Site, listeners: Listeners) -> None:
    first = site.jobs.publish(OrderPlaced(order_id=101), tenant="acme", owner="olga")

    @site.jobs.on(OrderPlaced)
    def late(event: OrderPlaced) -> None: ...

    with acting_as(Principal("operator", "ops")):
        again = site.jobs.replay_event(first.id)
        only = site.jobs.replay_event(first.id, to="on:order.placed:late")

    assert len(again.job_ids) == 3
    assert [site.job(id).actor for id in only.job_ids] == ["on:order.placed:late"]
    rows = {row.id: row for row in log_of(site)}
    assert (rows[again.id].replay_of, rows[only.id].replay_of, rows[first.id].replay_of) == (first.id, first.id, None)
    assert {row.tenant for row in rows.values()} == {site.job(again.job_ids[0]).tenant} == {"acme"}
    assert rows[again.id].payload == rows[first.id].payload
    with pytest.raises(InvalidEvent, match=r"No subscriber.*'nobody'.*on:order.placed:late"):
        site.jobs.replay_event(first.id, to="nobody")
    with pytest.raises(JobNotFound):
        site.jobs.replay_event("nothing")


def test_the_log_is_kept_for_the_days_it_is_told_to(make_site: MakeSite, ledger_url: str) -> None:
    site = make_site(ledger_url, UNDERSTUDY_EVENT_DAYS=2)
    old, new = site.jobs.publish_many([OrderPlaced(order_id=1), OrderPlaced(order_id=2)])
    day = 86_400
    site.execute(f"UPDATE understudy_events SET at = {site.moment(-2 * day - 60)} WHERE id = '{old.id}'")
    site.execute(f"UPDATE understudy_events SET at = {site.moment(-2 * day + 60)} WHERE id = '{new.id}'")

    assert forget_events(site.state) == 1

    assert [row.id for row in log_of(site)] == [new.id]


def test_a_subscriber_that_must_not_miss_the_broker_refuses_the_event(make_site: MakeSite, sqlite_ledger: str) -> None:
    site = make_site(sqlite_ledger, "redis://127.0.0.1:1/0")

    @site.jobs.on(OrderPlaced, fallback="fail")
    def listen(event: OrderPlaced) -> None: ...

    assert not site.state.transport.check()
    with pytest.raises(BrokerUnavailable):
        site.jobs.publish(OrderPlaced(order_id=1))

    assert log_of(site) == []


def test_jobs_that_wait_for_an_event_are_announced_once_it_is_committed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    seen: list[Any] = []

    def meet(connection: sa.Connection, events: Any) -> list[Due]:
        rows = connection.exec_driver_sql("SELECT count(*) FROM understudy_events").scalar_one()
        seen.append((rows, [(event.name, event.payload["order_id"]) for event in events]))
        return [Due("waiter", "default", 3, 0)]

    monkeypatch.setattr(waits, "meet", meet)
    monkeypatch.setattr(site.state.transport, "announce", lambda jobs: told.append((len(log_of(site)), list(jobs))))

    with site.app.app_context():
        site.db.session.add(site.Note(text="order"))
        site.jobs.publish(OrderPlaced(order_id=7))
        assert told == []
        site.db.session.commit()
    site.jobs.publish(OrderPlaced(order_id=8))

    due = [Due("waiter", "default", 3, 0)]
    assert seen == [(1, [("order.placed", 7)]), (2, [("order.placed", 8)])]
    assert told == [(1, due), (2, due)]


def test_missing_tables_are_named(make_site: MakeSite, sqlite_url: str) -> None:
    with pytest.raises(NotInitialised, match="flask db upgrade"):
        make_site(sqlite_url).jobs.publish(OrderPlaced(order_id=1))


def test_threads_that_publish_at_once_lose_nothing(site: Site, listeners: Listeners) -> None:
    def publish(n: int) -> None:
        for i in range(5):
            site.jobs.publish(OrderPlaced(order_id=200 + 10 * n + i))

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert (len(log_of(site)), len(site.all_jobs())) == (20, 40)
