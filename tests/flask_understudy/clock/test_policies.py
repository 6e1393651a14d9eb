"""What becomes of slots that were missed, and of those that come while an earlier job has not ended."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import select
from sqlalchemy.orm import Session

from flask_understudy.clock import declare, fire
from flask_understudy.ledger import Schedule, ScheduleFire
from flask_understudy.operations import schedules as operations
from tests.flask_understudy.conftest import Site

pytestmark = pytest.mark.requirement("G7", "I6")

Declare = Callable[..., None]
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


class DatabaseTime:
    """The database's time as the clock reads it; set by the test, as no test can wait for a change of clocks."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self, _connection: Any) -> datetime:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> DatabaseTime:
    given = DatabaseTime()
    for module in ("clock.schedules", "clock.declared", "operations.schedules"):
        monkeypatch.setattr(f"flask_understudy.{module}.now", given)
    return given


@pytest.fixture
def schedule(site: Site, time: DatabaseTime) -> Declare:
    """Declare a schedule of a job, at noon."""

    def declared(expression: str = "every 10 minutes", **how: Any) -> None:
        site.jobs.schedule(expression, name="work", **how)(site.jobs.actor(actor_name="work")(lambda: None))
        declare(site.state)

    return declared


def slots(site: Site) -> list[tuple[str, str]]:
    """The slots in order: time and outcome."""
    with Session(site.state.database.own_engine) as session:
        found = session.scalars(select(ScheduleFire).order_by(ScheduleFire.slot))
        return [(f"{slot.slot:%H:%M}", slot.outcome) for slot in found]


def reasons(site: Site) -> set[str]:
    with Session(site.state.database.own_engine) as session:
        return set(session.scalars(select(ScheduleFire.reason).where(ScheduleFire.reason.is_not(None))))


def row(site: Site) -> Schedule:
    return operations.find(site.state, "work")


class TestMissed:
    """Nobody was there to fire them."""

    def test_latest_fires_the_latest_one_within_the_grace(
        self, site: Site, time: DatabaseTime, schedule: Declare
    ) -> None:
        schedule(missed="latest")
        time.now = NOON + timedelta(minutes=35)
        assert fire(site.state) == 1
        assert slots(site) == [("12:10", "skipped"), ("12:20", "skipped"), ("12:30", "fired")]
        assert reasons(site) == {"it was missed, and a later slot was due as well"}

    def test_latest_skips_what_is_older_than_its_grace(self, site: Site, time: DatabaseTime, schedule: Declare) -> None:
        schedule("0 13 * * *", grace=timedelta(minutes=30))
        time.now = NOON + timedelta(minutes=91)
        assert fire(site.state) == 0
        assert slots(site) == [("13:00", "skipped")]
        assert reasons(site) == {"it was missed by 1860 s, and 1800 s are made up for"}
        assert row(site).next_run_at == NOON + timedelta(hours=25)

    def test_a_longer_grace_is_kept(self, site: Site, time: DatabaseTime, schedule: Declare) -> None:
        schedule("0 13 * * *", grace=86_400)
        time.now = NOON + timedelta(hours=20)
        assert fire(site.state) == 1
        assert slots(site) == [("13:00", "fired")]

    def test_skip_fires_a_slot_on_time_and_no_other(self, site: Site, time: DatabaseTime, schedule: Declare) -> None:
        schedule(missed="skip")
        time.now = NOON + timedelta(minutes=10, seconds=59)
        assert fire(site.state) == 1
        time.now = NOON + timedelta(minutes=31, seconds=5)
        assert fire(site.state) == 0
        assert slots(site) == [("12:10", "fired"), ("12:20", "skipped"), ("12:30", "skipped")]

    def test_all_fires_each_of_them(self, site: Site, time: DatabaseTime, schedule: Declare) -> None:
        schedule(missed="all")
        time.now = NOON + timedelta(minutes=35)
        assert fire(site.state) == 3
        assert slots(site) == [("12:10", "fired"), ("12:20", "fired"), ("12:30", "fired")]
        assert len(site.all_jobs()) == 3

    def test_all_means_a_hundred_at_the_most_and_the_others_are_on_record(
        self, site: Site, time: DatabaseTime, schedule: Declare
    ) -> None:
        schedule("every 1 minute", missed="all")
        time.now = NOON + timedelta(minutes=250)
        assert fire(site.state) == 100
        assert fire(site.state) == 0
        with Session(site.state.database.own_engine) as session:
            first, *fired = session.scalars(select(ScheduleFire).order_by(ScheduleFire.slot))
        assert (first.outcome, first.slot, first.until) == (
            "skipped",
            NOON + timedelta(minutes=1),
            NOON + timedelta(minutes=150),
        )
        assert [f.slot for f in fired] == [NOON + timedelta(minutes=n) for n in range(151, 251)]


class TestOverlap:
    """An earlier job has not ended."""

    def come(self, site: Site, time: DatabaseTime, minutes: int) -> int:
        time.now = NOON + timedelta(minutes=minutes, seconds=1)
        return fire(site.state)

    def test_allow_starts_beside_it(self, site: Site, time: DatabaseTime, schedule: Declare) -> None:
        schedule(overlap="allow")
        assert [self.come(site, time, m) for m in (10, 20)] == [1, 1]

    def test_skip_waits_for_a_slot_at_which_it_has_ended(
        self, site: Site, time: DatabaseTime, schedule: Declare
    ) -> None:
        schedule(overlap="skip")
        assert [self.come(site, time, m) for m in (10, 20, 30)] == [1, 0, 0]
        assert reasons(site) == {"a job of an earlier slot had not ended"}
        site.worker.drain()
        assert self.come(site, time, 40) == 1
        assert slots(site) == [("12:10", "fired"), ("12:20", "skipped"), ("12:30", "skipped"), ("12:40", "fired")]

    def test_queue_starts_one_when_it_has_ended(self, site: Site, time: DatabaseTime, schedule: Declare) -> None:
        schedule(overlap="queue")
        assert [self.come(site, time, m) for m in (10, 20, 25, 30)] == [1, 0, 0, 0]
        assert slots(site) == [("12:10", "fired"), ("12:20", "queued"), ("12:30", "skipped")]
        assert row(site).queued_slot == NOON + timedelta(minutes=20)

        site.worker.drain()
        assert [self.come(site, time, m) for m in (31, 32)] == [1, 0]

        assert slots(site) == [("12:10", "fired"), ("12:20", "fired"), ("12:30", "skipped")]
        assert row(site).queued_slot is None
        assert len(site.all_jobs()) == 2

    def test_a_failed_job_that_will_be_tried_again_has_not_ended(
        self, site: Site, time: DatabaseTime, schedule: Declare
    ) -> None:
        schedule(overlap="skip")
        self.come(site, time, 10)
        [job] = site.all_jobs()
        site.change(job.id, state="'delayed'", attempt="1")
        assert self.come(site, time, 20) == 0
        site.change(job.id, state="'failed'", finished_at=site.moment(0))
        assert self.come(site, time, 30) == 1

    def test_a_job_that_somebody_ran_by_hand_counts(self, site: Site, time: DatabaseTime, schedule: Declare) -> None:
        schedule(overlap="skip")
        operations.run_now(site.state, "work")
        assert self.come(site, time, 10) == 0
        assert slots(site) == [("12:00", "by_hand"), ("12:10", "skipped")]

    @pytest.mark.requirement("F04")
    def test_what_is_disabled_while_it_waits_does_not_start(
        self, site: Site, time: DatabaseTime, schedule: Declare
    ) -> None:
        schedule(overlap="queue")
        [self.come(site, time, m) for m in (10, 20)]
        operations.disable(site.state, "work")
        site.worker.drain()
        operations.enable(site.state, "work")
        assert self.come(site, time, 25) == 0
        assert slots(site) == [("12:10", "fired"), ("12:20", "skipped")]
        assert reasons(site) == {"the schedule was disabled before it could start"}

    def test_all_and_queue_together_lose_no_slot(self, site: Site, time: DatabaseTime, schedule: Declare) -> None:
        schedule(missed="all", overlap="queue")
        assert self.come(site, time, 40) == 1
        assert [outcome for _, outcome in slots(site)] == ["fired", "queued", "skipped", "skipped"]


class TestTime:
    """Clocks that change, are set, or are wrong; a leap day."""

    def walk(self, site: Site, time: DatabaseTime, begin: datetime, hours: int, minutes: int = 10) -> list[str]:
        """Let time pass, looking every few minutes; return the slots that fired, in UTC."""
        for n in range(hours * 60 // minutes + 1):
            time.now = begin + timedelta(minutes=minutes * n)
            fire(site.state)
        with Session(site.state.database.own_engine) as session:
            fired = session.scalars(select(ScheduleFire).order_by(ScheduleFire.slot))
            return [f"{slot.slot:%d %H:%M}" for slot in fired if slot.outcome == "fired"]

    def test_in_spring_what_is_skipped_fires_once_after_it(
        self, site: Site, time: DatabaseTime, schedule: Declare
    ) -> None:
        time.now = begin = datetime(2026, 3, 7, 12, tzinfo=UTC)
        schedule("30 2 * * *", timezone="America/New_York")
        assert self.walk(site, time, begin, 44) == ["08 07:00", "09 06:30"]

    def test_in_autumn_what_comes_twice_fires_once(self, site: Site, time: DatabaseTime, schedule: Declare) -> None:
        time.now = begin = datetime(2026, 10, 31, 12, tzinfo=UTC)
        schedule("30 1 * * *", timezone="America/New_York")
        assert self.walk(site, time, begin, 44) == ["01 05:30", "02 06:30"]

    def test_every_hour_is_every_hour_on_the_day_that_has_twenty_five(
        self, site: Site, time: DatabaseTime, schedule: Declare
    ) -> None:
        time.now = begin = datetime(2026, 10, 25, 0, tzinfo=UTC) - timedelta(hours=3)
        schedule("0 * * * *", timezone="Europe/Berlin")
        assert len(self.walk(site, time, begin, 8)) == 8

    def test_a_leap_day_fires_in_leap_years(self, site: Site, time: DatabaseTime, schedule: Declare) -> None:
        time.now = begin = datetime(2028, 2, 28, 23, tzinfo=UTC)
        schedule("0 0 29 2 *")
        assert self.walk(site, time, begin, 3) == ["29 00:00"]
        assert row(site).next_run_at == datetime(2032, 2, 29, tzinfo=UTC)

    def test_a_clock_that_jumps_ahead_and_back_fires_no_slot_twice(
        self, site: Site, time: DatabaseTime, schedule: Declare
    ) -> None:
        schedule(missed="all")
        for minutes in (10, 65, 20, 30, 61, 5, 70, 71):
            time.now = NOON + timedelta(minutes=minutes)
            fire(site.state)
        assert slots(site) == [(f"{NOON + timedelta(minutes=10 * n):%H:%M}", "fired") for n in range(1, 8)]
        assert len(site.all_jobs()) == 7

    def test_a_changed_expression_after_a_jump_back_fires_no_slot_twice(
        self, site: Site, time: DatabaseTime, schedule: Declare
    ) -> None:
        schedule()
        time.now = NOON + timedelta(minutes=20)
        fire(site.state)
        time.now = NOON + timedelta(minutes=15)
        site.execute("UPDATE understudy_schedules SET expression = 'every 1 day'")
        declare(site.state)  # the same as before again, reckoned from the earlier time
        time.now = NOON + timedelta(minutes=20)
        assert fire(site.state) == 0
        assert len(site.all_jobs()) == 1

    def test_a_date_fires_once_and_has_no_next_slot(self, site: Site, time: DatabaseTime, schedule: Declare) -> None:
        schedule("2026-06-01T15:00", timezone="Europe/Berlin")
        assert self.walk(site, time, NOON, 24, minutes=30) == ["01 13:00"]
        assert (row(site).next_run_at, row(site).last_run_at) == (None, datetime(2026, 6, 1, 13, tzinfo=UTC))

    def test_it_is_the_database_whose_time_counts(self, site: Site) -> None:
        """A host whose clock is a year ahead fires nothing."""
        site.jobs.schedule("every 1 hour", name="work")(site.jobs.actor(actor_name="work")(lambda: None))
        with time_machine.travel(datetime.now(UTC) + timedelta(days=365)):
            declare(site.state)
            assert fire(site.state) == 0
        assert row(site).next_run_at - datetime.now(UTC) <= timedelta(hours=1)
