"""Firing schedules: at most one job per schedule and slot."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from flask_understudy.clock import declare, fire
from flask_understudy.errors import ConfigError
from flask_understudy.ledger import Schedule, ScheduleFire
from flask_understudy.operations import schedules as operations
from tests.flask_understudy.conftest import MakeSite, Site
from tools.waiting import wait_for

pytestmark = pytest.mark.requirement("G7", "I6", "V03")


def rows(site: Site, model: Any = Schedule) -> list[Any]:
    with Session(site.state.database.own_engine, expire_on_commit=False) as session:
        order = model.name if model is Schedule else model.slot
        return list(session.scalars(select(model).order_by(order)))


def named(session: Session, name: str) -> Schedule:
    return session.scalars(select(Schedule).filter_by(name=name)).one()


def due_since(site: Site, seconds: float, name: str = "work") -> datetime:
    """Let a schedule be due for so long; return its slot."""
    slot = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=seconds)
    with Session(site.state.database.own_engine) as session, session.begin():
        named(session, name).next_run_at = slot
    return slot


@pytest.fixture
def work(site: Site) -> Any:
    @site.jobs.schedule("every 1 hour", kwargs={"a": 1}, args=(7,))
    @site.jobs.actor(queue_name="maintenance")
    def work(*args: Any, **kwargs: Any) -> None: ...

    return work


class TestDeclare:
    """The rows follow the code."""

    pytestmark = pytest.mark.requirement("F03", "F05", "F06", "F08", "E09")

    def test_a_schedule_is_a_row_with_its_next_slot(self, site: Site, work: Any) -> None:
        declare(site.state)
        [row] = rows(site)
        assert (row.name, row.actor, row.expression, row.timezone) == ("work", "work", "every 1 hour", "UTC")
        assert (row.args, row.kwargs, row.enabled, row.source) == ([7], {"a": 1}, True, "code")
        assert timedelta(0) < row.next_run_at - datetime.now(UTC) <= timedelta(hours=1)
        assert (row.last_run_at, row.last_error) == (None, None)

    def test_declaring_again_changes_nothing(self, site: Site, work: Any) -> None:
        declare(site.state)
        [before] = rows(site)
        slot = due_since(site, 10)
        declare(site.state)
        [after] = rows(site)
        assert (after.next_run_at, after.updated_at) == (slot, before.updated_at)

    def test_a_changed_expression_has_a_new_slot(self, site: Site, work: Any) -> None:
        declare(site.state)
        due_since(site, 10)
        site.jobs.broker.schedules[0] = type(site.jobs.broker.schedules[0])(
            "work", "work", "0 4 * * 0", "Europe/Berlin"
        )
        declare(site.state)
        [row] = rows(site)
        assert (row.expression, row.timezone, row.args, row.kwargs) == ("0 4 * * 0", "Europe/Berlin", [], {})
        assert row.next_run_at > datetime.now(UTC)

    def test_one_that_the_code_dropped_fires_no_more(self, site: Site, work: Any) -> None:
        declare(site.state)
        due_since(site, 10)
        with site.app.app_context():
            site.jobs.schedules.register("by hand", work, "every 1 hour", {"a": 1})
        dropped = site.jobs.broker.schedules.pop()

        declare(site.state)

        assert [row.name for row in operations.listing(site.state)] == ["by hand"]
        assert fire(site.state) == 0
        site.jobs.broker.schedules.append(dropped)
        declare(site.state)
        assert [row.name for row in operations.listing(site.state)] == ["by hand", "work"]
        with Session(site.state.database.own_engine) as session:
            assert named(session, "work").next_run_at > datetime.now(UTC)

    @pytest.mark.requirement("F04")
    def test_what_an_operator_disabled_stays_so_when_the_code_drops_and_declares_it_again(
        self, site: Site, work: Any
    ) -> None:
        """As in a deployment, in which the clocks of both releases lead by turns."""
        declare(site.state)
        operations.disable(site.state, "work")
        dropped = site.jobs.broker.schedules.pop()
        declare(site.state)
        site.jobs.broker.schedules.append(dropped)
        declare(site.state)
        assert [(row.name, row.enabled) for row in operations.listing(site.state)] == [("work", False)]

    @pytest.mark.requirement("F04")
    def test_one_that_got_another_name_keeps_its_slots_and_its_switch(self, site: Site, work: Any) -> None:
        declare(site.state)
        slot = due_since(site, 10)
        operations.disable(site.state, "work")
        [before] = rows(site)
        site.jobs.broker.schedules[:] = [dataclasses.replace(site.jobs.broker.schedules[0], name="hourly work")]

        declare(site.state)

        [row] = rows(site)
        assert (row.id, row.name, row.enabled, row.next_run_at) == (before.id, "hourly work", False, slot)

    def test_two_that_do_the_same_are_not_taken_for_each_other(self, site: Site, work: Any) -> None:
        [one] = site.jobs.broker.schedules
        site.jobs.broker.schedules.append(dataclasses.replace(one, name="twin"))
        declare(site.state)
        before = {row.id for row in rows(site)}
        site.jobs.broker.schedules[:] = [dataclasses.replace(one, name="third")]

        declare(site.state)

        [third] = operations.listing(site.state)
        assert third.name == "third"
        assert third.id not in before

    def test_other_arguments_keep_the_slot_that_is_due(self, site: Site, work: Any) -> None:
        declare(site.state)
        slot = due_since(site, 10)
        site.jobs.broker.schedules[0] = dataclasses.replace(site.jobs.broker.schedules[0], args=(8,), overlap="skip")

        declare(site.state)

        [row] = rows(site)
        assert (row.args, row.overlap, row.next_run_at) == ([8], "skip", slot)

    def test_the_code_takes_over_what_was_made_at_runtime(self, site: Site, work: Any) -> None:
        schedules = site.jobs.broker.schedules
        newer, schedules[:] = schedules[:], []  # the release before, which did not declare it
        with site.app.app_context():
            site.jobs.schedules.register("work", work, "@daily", enabled=False)
        schedules[:] = newer
        declare(site.state)
        [row] = rows(site)
        assert (row.source, row.expression, row.enabled) == ("code", "every 1 hour", False)

    def test_clocks_that_declare_at_once_leave_one_row(self, site: Site, work: Any) -> None:
        barrier = threading.Barrier(4)

        def turn(_: int) -> None:
            barrier.wait()
            declare(site.state)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(turn, range(4)))
        assert [row.name for row in rows(site)] == ["work"]

    @pytest.mark.requirement("F04")
    def test_a_disabled_schedule_stays_so(self, site: Site, work: Any) -> None:
        declare(site.state)
        site.execute("UPDATE understudy_schedules SET enabled = false")
        declare(site.state)
        due_since(site, 10)
        assert fire(site.state) == 0
        assert not rows(site)[0].enabled

    @pytest.mark.requirement("F07")
    @pytest.mark.requirement("E14")
    def test_one_that_is_declared_off_waits_for_an_operator(self, site: Site, work: Any) -> None:
        site.jobs.schedule("every 1 hour", name="nightly", enabled=False)(work)
        declare(site.state)
        assert {row.name: row.enabled for row in rows(site)}["nightly"] is False

        site.jobs.schedules.enable("nightly")
        declare(site.state)
        assert {row.name: row.enabled for row in rows(site)}["nightly"] is True

    def test_nonsense_is_refused_where_it_is_written(self, sqlite_site: Site) -> None:
        with pytest.raises(ConfigError, match="is no cron expression"):
            sqlite_site.jobs.schedule("61 * * * *")
        with pytest.raises(ConfigError, match="is no time zone"):
            sqlite_site.jobs.schedule("* * * * *", timezone="Mars/Olympus")
        with pytest.raises(ConfigError, match="overlap is 'never'; it takes allow, skip, queue"):
            sqlite_site.jobs.schedule("* * * * *", overlap="never")
        with pytest.raises(ConfigError, match="'prio' is no option of a schedule"):
            sqlite_site.jobs.schedule("* * * * *", options={"prio": 1})

    @pytest.mark.requirement("F03")
    def test_a_name_is_declared_once(self, site: Site, work: Any) -> None:
        with pytest.raises(ConfigError, match="A schedule named 'work' is declared already; give this one a name"):
            site.jobs.schedule("every 1 day")(work)
        site.jobs.schedule("every 1 day", name="daily")(work)
        declare(site.state)
        assert [row.name for row in rows(site)] == ["daily", "work"]

    @pytest.mark.requirement("C20")
    def test_the_configured_zone_is_the_default(self, make_site: MakeSite, sqlite_ledger: str) -> None:
        site = make_site(sqlite_ledger, UNDERSTUDY_TIMEZONE="America/New_York")

        @site.jobs.schedule("0 9 * * *")
        @site.jobs.actor()
        def work() -> None: ...

        declare(site.state)
        assert rows(site)[0].timezone == "America/New_York"


class TestFire:
    """A slot that came is a job."""

    def test_nothing_fires_before_its_time(self, site: Site, work: Any) -> None:
        declare(site.state)
        assert fire(site.state) == 0
        assert site.all_jobs() == []

    @pytest.mark.requirement("F08")
    def test_a_due_slot_is_one_job(self, site: Site, work: Any) -> None:
        declare(site.state)
        slot = due_since(site, 10)

        assert [fire(site.state), fire(site.state)] == [1, 0]

        [job] = site.all_jobs()
        assert (job.actor, job.queue, job.args, job.kwargs) == ("work", "maintenance", [7], {"a": 1})
        assert job.tags == ["schedule:work"]
        [row], [fired] = rows(site), rows(site, ScheduleFire)
        assert (fired.slot, fired.outcome, fired.job_id) == (slot, "fired", job.id)
        assert (row.last_run_at, row.last_error) == (slot, None)
        assert row.next_run_at > datetime.now(UTC)
        assert site.worker.drain()[0].state == "completed"

    def test_clocks_that_turn_at_once_fire_a_slot_once(self, site: Site, work: Any) -> None:
        declare(site.state)
        due_since(site, 10)
        barrier = threading.Barrier(6)

        def turn(_: int) -> int:
            barrier.wait()
            return fire(site.state)

        with ThreadPoolExecutor(6) as pool:
            assert sum(pool.map(turn, range(6))) == 1
        assert len(site.all_jobs()) == 1

    def test_a_clock_that_was_set_back_fires_no_slot_twice(self, site: Site, work: Any) -> None:
        declare(site.state)
        slot = due_since(site, 10)
        fire(site.state)
        with Session(site.state.database.own_engine) as session, session.begin():
            named(session, "work").next_run_at = slot
        assert fire(site.state) == 0
        assert len(site.all_jobs()) == 1
        assert rows(site)[0].next_run_at > datetime.now(UTC)

    def test_the_latest_of_the_missed_slots_fires_and_the_others_are_recorded(self, site: Site) -> None:
        @site.jobs.schedule("every 10 minutes")
        @site.jobs.actor()
        def work() -> None: ...

        declare(site.state)
        first = due_since(site, 0)
        first = first.replace(minute=first.minute // 10 * 10, second=0) - timedelta(minutes=50)
        with Session(site.state.database.own_engine) as session, session.begin():
            named(session, "work").next_run_at = first
        assert fire(site.state) == 1
        found = rows(site, ScheduleFire)
        assert [f.slot for f in found] == [first + timedelta(minutes=10 * n) for n in range(6)]
        assert [f.outcome for f in found] == ["skipped"] * 5 + ["fired"]

    def test_a_slot_older_than_the_grace_is_skipped(self, site: Site) -> None:
        @site.jobs.schedule("0 0 1 1 *")
        @site.jobs.actor()
        def work() -> None: ...

        declare(site.state)
        slot = due_since(site, 3700)
        assert fire(site.state) == 0
        assert site.all_jobs() == []
        assert [(f.slot, f.outcome, f.job_id) for f in rows(site, ScheduleFire)] == [(slot, "skipped", None)]
        assert rows(site)[0].last_run_at is None
        assert rows(site)[0].next_run_at > datetime.now(UTC)

    def test_after_a_long_pause_the_latest_slot_still_fires(self, site: Site) -> None:
        @site.jobs.schedule("every 1 minute")
        @site.jobs.actor()
        def work() -> None: ...

        declare(site.state)
        due_since(site, 30 * 86_400)
        assert fire(site.state) == 1
        found = rows(site, ScheduleFire)
        assert [f.outcome for f in found] == ["skipped"] * 100 + ["fired"]
        assert datetime.now(UTC) - found[-1].slot < timedelta(minutes=2)
        assert found[0].until is not None, "those before the latest hundred are one line"
        assert found[1].slot - found[0].until == timedelta(minutes=1)

    @pytest.mark.requirement("F08")
    def test_an_actor_that_is_gone_is_an_error_on_the_row(self, site: Site, work: Any) -> None:
        declare(site.state)
        due_since(site, 10)
        del site.jobs.broker.actors["work"]
        assert fire(site.state) == 0
        [row] = rows(site)
        assert row.last_error == "No actor is named 'work' in this release"
        assert row.next_run_at > datetime.now(UTC)
        assert site.all_jobs() == []

    @pytest.mark.requirement("F08")
    def test_arguments_that_are_refused_are_an_error_on_the_row(self, site: Site, work: Any) -> None:
        declare(site.state)
        due_since(site, 10)
        site.state.config = dataclasses.replace(site.state.config, max_payload_bytes=1)
        assert fire(site.state) == 0
        [row] = rows(site)
        assert "bytes; 1 are accepted" in row.last_error
        assert site.all_jobs() == []
        assert row.next_run_at > datetime.now(UTC)

    def test_one_schedule_that_fails_does_not_stop_the_others(self, site: Site, work: Any) -> None:
        @site.jobs.schedule("every 1 hour")
        @site.jobs.actor()
        def other() -> None: ...

        declare(site.state)
        due_since(site, 10)
        due_since(site, 10, "other")
        site.execute("UPDATE understudy_schedules SET timezone = 'Mars/Olympus' WHERE name = 'other'")
        fire(site.state)
        assert [job.actor for job in site.all_jobs()] == ["work"]


class TestInAWorker:
    """The clock of a worker fires by itself, when it is told to."""

    pytestmark = pytest.mark.requirement("H07", "H08", "V07", "V08")

    @pytest.mark.parametrize("enabled", [True, False])
    def test_scheduler_enabled_is_the_switch(
        self, make_site: MakeSite, ledger_url: str, enabled: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = make_site(ledger_url, SCHEDULER_ENABLED=enabled, UNDERSTUDY_QUEUES={"maintenance": {}})

        @site.jobs.schedule("every 1 second")
        @site.jobs.actor(queue_name="maintenance")
        def work() -> None: ...

        site.start_worker()
        if enabled:
            wait_for(lambda: site.jobs.stats()["maintenance"]["completed"], "the first job")
        else:
            wait_for(lambda: "SCHEDULER_ENABLED is off: none fires" in caplog.text, "the warning")
            assert rows(site) == []

    @pytest.mark.requirement("C30")
    def test_the_poll_interval_is_the_most_that_it_sleeps(self, make_site: MakeSite, ledger_url: str) -> None:
        site = make_site(ledger_url, SCHEDULER_ENABLED=True, SCHEDULER_POLL_INTERVAL=3_600_000)

        @site.jobs.schedule("every 1 second")
        @site.jobs.actor()
        def work() -> None: ...

        site.start_worker()
        site.eventually("completed", work.send_with_options(delay=1_000))
        wait_for(lambda: [row for row in rows(site, ScheduleFire) if row.outcome == "fired"], "the first slot")

    def test_two_workers_fire_each_slot_once(self, make_site: MakeSite, ledger_url: str) -> None:
        ran: list[str] = []
        sites = [make_site(ledger_url, SCHEDULER_ENABLED=True, UNDERSTUDY_CLOCK_LEASE_SECONDS=0.3) for _ in range(2)]
        for site in sites:

            @site.jobs.schedule("every 1 second")
            @site.jobs.actor()
            def work() -> None:
                ran.append("x")

        for site in sites:
            site.start_worker()
        wait_for(lambda: len(ran) >= 3, "three slots")
        for site in sites:
            site.jobs.stop_worker()
        fires = rows(sites[0], ScheduleFire)
        assert len({f.slot for f in fires}) == len(fires)
        assert len([f for f in fires if f.outcome == "fired"]) == len(sites[0].all_jobs())
