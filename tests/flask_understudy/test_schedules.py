"""`jobs.schedules`: schedules and dated jobs while the application runs, under the seeds' names too."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_understudy import Principal
from flask_understudy.clock import declare, fire
from flask_understudy.context import acting_as
from flask_understudy.errors import (
    InvalidJob,
    InvalidSchedule,
    JobConflict,
    JobNotFound,
    ScheduleConflict,
    ScheduleNotFound,
)
from flask_understudy.ledger import Schedule
from flask_understudy.schedules import RecurringJob, ScheduledJob, Schedules
from tests.flask_understudy.conftest import Site

DIGEST = {
    "name": "daily-digest",
    "type": "email:digest",
    "payload": {"kind": "daily"},
    "schedule": "0 9 * * *",
    "timezone": "America/New_York",
}


@pytest.fixture
def scheduler(site: Site) -> Any:
    """What the seeds call the scheduler, of an application with two actors."""

    @site.jobs.actor(actor_name="email:digest", queue_name="email")
    def digest(kind: str) -> None: ...

    @site.jobs.actor(actor_name="report:send", queue_name="reports")
    def send(report_id: str, recipients: list[str]) -> None: ...

    with site.app.app_context():
        yield site.jobs.schedules


@pytest.mark.requirement("F01", "F03", "K02")
def test_payloads_are_named_as_the_seeds_write_them(site: Site, scheduler: Schedules) -> None:
    payload, own = {"reportId": "r1", "recipients": ["a"]}, {"report_id": "r1", "recipients": ["a"]}
    wanted = {"name": "weekly", "type": "report:send", "payload": payload, "schedule": "0 8 * * 1", "timezone": "UTC"}

    made = scheduler.register_recurring(wanted)
    again = scheduler.register_recurring({**wanted, "payload": own})
    dated = scheduler.schedule("report:send", payload, datetime.now(UTC) + timedelta(days=1))
    sent = scheduler.run("weekly")

    assert made.payload == own
    assert made == again
    assert site.job(dated).kwargs == site.job(sent).kwargs == own
    with pytest.raises(InvalidJob, match="report_id is there twice"):
        scheduler.register_recurring({**wanted, "payload": {**payload, **own}})


@pytest.mark.requirement("E08", "F03", "F05", "K02", "U06")
def test_a_recurring_job_has_the_seeds_shape(site: Site, scheduler: Schedules) -> None:
    scheduler.register_recurring(DIGEST)

    [found] = scheduler.list_recurring()

    assert isinstance(found, RecurringJob)
    assert {key: getattr(found, key) for key in DIGEST} == DIGEST
    assert (found.enabled, found.last_run_at, found.last_error, found.options) == (True, None, None, {})
    assert found.next_run_at is not None
    assert found.next_run_at > found.created_at == found.updated_at
    assert found.id


@pytest.mark.requirement("F03")
def test_registering_at_every_start_changes_nothing(site: Site, scheduler: Schedules) -> None:
    first = scheduler.register_recurring(DIGEST)
    scheduler.disable_recurring("daily-digest")
    again = scheduler.register_recurring(DIGEST)
    assert (again.id, again.next_run_at, again.enabled) == (first.id, first.next_run_at, False)


@pytest.mark.requirement("F03")
def test_a_name_that_the_code_gave_up_is_free_again(site: Site, scheduler: Schedules) -> None:
    site.jobs.schedule("0 9 * * *", name="daily-digest", timezone="America/New_York")(
        site.jobs.broker.actors["email:digest"]
    )
    declare(site.state)
    with pytest.raises(ScheduleConflict, match="The code declares the schedule 'daily-digest'"):
        scheduler.register_recurring(DIGEST)
    site.jobs.broker.schedules.clear()
    declare(site.state)

    found = scheduler.register_recurring(DIGEST)

    assert (found.source, found.enabled) == ("runtime", True)
    assert found.next_run_at is not None


@pytest.mark.requirement("F03")
def test_what_the_code_declares_is_refused_before_a_clock_leads(site: Site, scheduler: Schedules) -> None:
    @site.jobs.schedule("@daily", name="daily")
    @site.jobs.actor
    def rest() -> None:
        """Once a day."""

    with pytest.raises(ScheduleConflict, match="The code declares the schedule 'daily'"):
        scheduler.register("daily", rest, "every 1 hour")
    assert scheduler.list() == []


def test_a_date_that_has_passed_is_refused(scheduler: Schedules) -> None:
    with pytest.raises(InvalidSchedule, match="its date has passed"):
        scheduler.register("late", "email:digest", "2020-01-01T00:00:00Z", {"kind": "daily"})
    assert scheduler.list() == []


def test_processes_that_register_at_once_leave_one(site: Site, scheduler: Schedules) -> None:
    def register(_: int) -> str:
        with site.app.app_context():
            return site.jobs.schedules.register_recurring(DIGEST).id

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(register, range(4)))) == 1
    assert len(scheduler.list()) == 1


@pytest.mark.requirement("F04")
def test_it_is_disabled_enabled_and_deleted_by_name(site: Site, scheduler: Schedules) -> None:
    scheduler.register_recurring(DIGEST)
    assert scheduler.disable_recurring("daily-digest").enabled is False
    assert scheduler.enable_recurring("daily-digest").enabled is True
    scheduler.delete_recurring("daily-digest")
    assert scheduler.list_recurring() == []
    for act in (scheduler.enable, scheduler.disable, scheduler.delete, scheduler.run, scheduler.get):
        with pytest.raises(ScheduleNotFound, match="There is no schedule 'daily-digest'"):
            act("daily-digest")


@pytest.mark.requirement("E11", "F03")
@pytest.mark.parametrize("interval", ["every 1 hour", "every 30 minutes", "every 1 day"])
def test_intervals_are_registered_as_the_seeds_write_them(scheduler: Schedules, interval: str) -> None:
    found = scheduler.register("cleanup", "email:digest", interval, {"kind": "x"})
    assert found.next_run_at is not None
    assert found.next_run_at - datetime.now(UTC) <= timedelta(days=1)


@pytest.mark.requirement("F03")
def test_what_is_registered_belongs_to_the_caller_s_transaction(site: Site, scheduler: Schedules) -> None:
    site.db.session.add(site.Note(text="with it"))
    scheduler.register_recurring(DIGEST)
    assert [job.name for job in scheduler.list()] == ["daily-digest"]
    site.db.session.rollback()
    assert scheduler.list() == []

    site.db.session.add(site.Note(text="with it"))
    scheduler.register_recurring(DIGEST)
    scheduler.run("daily-digest")
    site.db.session.commit()
    assert [job.name for job in scheduler.list()] == ["daily-digest"]
    assert [job.actor for job in site.all_jobs()] == ["email:digest"]


@pytest.mark.requirement("P03", "F03")
def test_it_belongs_to_the_tenant_of_whoever_registers_it(site: Site, scheduler: Schedules) -> None:
    with acting_as(Principal("ann", "acme")):
        scheduler.register_recurring(DIGEST)
        assert [job.tenant for job in scheduler.list()] == ["acme"]
        id = scheduler.run("daily-digest")
    assert scheduler.list() == []
    assert (site.job(id).tenant, site.job(id).owner) == ("acme", "ann")
    assert scheduler.get("daily-digest", tenant="acme").name == "daily-digest"


@pytest.mark.requirement("F08")
def test_a_job_that_cannot_be_sent_is_the_row_s_last_error(site: Site, scheduler: Schedules) -> None:
    scheduler.register_recurring(DIGEST)
    site.execute(f"UPDATE understudy_schedules SET next_run_at = {site.moment(-5)}, options = '{{\"priority\": 5000}}'")
    assert fire(site.state) == 0
    found = scheduler.get("daily-digest")
    assert "priority is 5000" in str(found.last_error)
    assert found.next_run_at is not None
    assert found.next_run_at > datetime.now(UTC)
    assert site.all_jobs() == []
    site.execute(f"UPDATE understudy_schedules SET next_run_at = {site.moment(-5)}, options = '{{}}'")
    assert fire(site.state) == 1
    assert scheduler.get("daily-digest").last_error is None


@pytest.mark.requirement("F07")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schedule": "nonsense"}, "is no schedule"),
        ({"timezone": "Nowhere"}, "is no time zone"),
        ({"type": "email:nobody"}, "No actor is named 'email:nobody'. Declared are: email:digest"),
        ({"payload": {"what": 1}}, "The payload does not fit email:digest"),
        ({"payload": [1]}, "it takes a mapping"),
        ({"payload": {"kind": object()}}, "cannot be stored as JSON"),
        ({"name": ""}, "it takes 1 to 90 printable characters"),
        ({"name": 5}, "it takes 1 to 90 printable characters"),
        ({"missed": "sometimes"}, "it takes latest, skip, all"),
        ({"grace": timedelta(days=8)}, "it takes 0 to 604800"),
        ({"grace": "soon"}, "it takes 0 to 604800"),
        ({"options": {"dedup_key": "x"}}, "is no option of a schedule"),
        ({"options": [1]}, "they take a mapping"),
        ({"cron": "* * * * *"}, "it takes name, type, schedule, and perhaps payload"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_stored(
    scheduler: Schedules, change: dict[str, Any], said: str
) -> None:
    with pytest.raises((InvalidSchedule, InvalidJob), match=said):
        scheduler.register_recurring({**DIGEST, **change})
    assert scheduler.list() == []


class TestScheduledJobs:
    """One job for one date."""

    pytestmark = pytest.mark.requirement("F01", "F02", "K01", "U06")
    payload = {"report_id": "123", "recipients": ["user@example.com"]}

    def test_it_waits_for_its_date(self, site: Site, scheduler: Schedules) -> None:
        date = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)

        id = scheduler.schedule("report:send", self.payload, date)

        [found] = scheduler.list_scheduled()
        assert isinstance(found, ScheduledJob)
        assert (found.id, found.type, found.payload) == (id, "report:send", self.payload)
        assert (found.scheduled_for, found.status, found.error) == (date, "scheduled", None)
        assert site.job(id).state == "delayed"

    def test_it_is_cancelled_and_does_not_start(self, site: Site, scheduler: Schedules) -> None:
        id = scheduler.schedule("report:send", self.payload, datetime.now(UTC) + timedelta(days=1))

        scheduler.cancel_scheduled_job(id)

        assert ScheduledJob.of(site.job(id)).status == "cancelled"
        assert scheduler.list_scheduled() == []
        assert site.worker.drain() == []
        with pytest.raises(JobConflict, match="is cancelled"):
            scheduler.cancel_scheduled_job(id)

    def test_once_it_is_due_it_is_enqueued_and_once_it_ran_it_stays(self, site: Site, scheduler: Schedules) -> None:
        id = scheduler.schedule("report:send", self.payload, datetime.now(UTC) + timedelta(days=1))
        site.change(id, state="'waiting'")
        assert ScheduledJob.of(site.job(id)).status == "enqueued"
        site.worker.drain()
        assert ScheduledJob.of(site.job(id)).status == "enqueued"
        with pytest.raises(JobConflict, match="has started"):
            scheduler.cancel_scheduled_job(id)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"date": datetime(2020, 1, 1, tzinfo=UTC)}, "which has passed"),
            ({"date": datetime(2030, 1, 1)}, "which has no time zone"),
            ({"date": datetime(2100, 1, 1, tzinfo=UTC)}, "more than ten years away"),
            ({"date": "tomorrow"}, "it takes an aware datetime"),
            ({"payload": {"what": 1}}, "The payload does not fit report:send"),
            ({"payload": None}, "it takes a mapping"),
            ({"type": "report:nobody"}, "No actor is named"),
            ({"run_at": 1}, "is no option of a scheduled job"),
            ({"queue": "nope"}, "nope"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, scheduler: Schedules, change: dict[str, Any], said: str) -> None:
        given = {"type": "report:send", "payload": self.payload, "date": datetime.now(UTC) + timedelta(days=1)}
        with pytest.raises(InvalidJob, match=said):
            scheduler.schedule(**{**given, **change})
        assert scheduler.list_scheduled() == []

    def test_an_unknown_one_is_not_found(self, scheduler: Schedules) -> None:
        with pytest.raises(JobNotFound):
            scheduler.cancel_scheduled_job("nope")


def test_preview_is_the_next_slots(scheduler: Schedules) -> None:
    first, second = scheduler.preview("every 1 hour", 2)
    assert second - first == timedelta(hours=1)
    with pytest.raises(InvalidSchedule, match="it takes 1 to 1000"):
        scheduler.preview("every 1 hour", 0)


@pytest.mark.requirement("F08")
def test_rows_keep_what_the_last_run_was(site: Site, scheduler: Schedules) -> None:
    scheduler.register_recurring(DIGEST)
    site.execute(f"UPDATE understudy_schedules SET next_run_at = {site.moment(-5)}")
    fire(site.state)
    with site.db_session() as session:
        [row] = session.query(Schedule).all()
    assert row.last_run_at is not None
    assert row.next_run_at > row.last_run_at
