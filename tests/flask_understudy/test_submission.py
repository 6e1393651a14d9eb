"""What a sender may ask for; nothing of what is refused is stored."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import dramatiq
import pytest

from flask_understudy import Principal, acting_as
from flask_understudy.errors import InvalidJob, NotInitialised, PayloadTooLarge
from tests.flask_understudy.conftest import MakeSite, Site

SOON = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture
def work(site: Site) -> Any:
    @site.jobs.actor(actor_name="domain:work", queue_name="work")
    def work(*args: Any, **kwargs: Any) -> None: ...

    return work


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.requirement("C12")
@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(
            object(), "An argument of domain:work cannot be stored as JSON.*Pass ids, texts and numbers", id="object"
        ),
        (datetime(2030, 1, 1), "cannot be stored as JSON"),
        ({1, 2}, "cannot be stored as JSON"),
        (b"bytes", "cannot be stored as JSON"),
        (float("nan"), "cannot be stored as JSON"),
        (float("-inf"), "cannot be stored as JSON"),
        ("nul \x00", "holds the character NUL"),
        ({"nul \x00": 1}, "holds the character NUL"),
        ("half \ud83d", "a half of a character"),
        (cyclic(), "cannot be stored as JSON"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("where", ["args", "kwargs", "option"])
def test_values_that_are_no_json_are_refused(site: Site, work: Any, value: Any, message: str, where: str) -> None:
    given = {"args": {"args": (value,)}, "kwargs": {"kwargs": {"x": value}}, "option": {"pipe_ignore": value}}[where]
    with pytest.raises(InvalidJob, match=message if where != "option" else "An option of domain:work"):
        work.send_with_options(**given)
    assert site.all_jobs() == []


@pytest.mark.requirement("C12", "C17")
def test_arguments_above_the_limit_are_refused_with_both_sizes(site: Site, work: Any) -> None:
    with pytest.raises(PayloadTooLarge, match="take 262149 bytes; 262144 are accepted. Store the data and send its id"):
        work.send("x" * 262_143)
    with pytest.raises(PayloadTooLarge):
        work.send(text="ü" * 131_072)  # bytes count, not characters
    assert site.all_jobs() == []
    work.send("x" * 262_138)
    assert len(site.all_jobs()) == 1


@pytest.mark.requirement("C12", "C17")
def test_arguments_above_a_hundred_kilobytes_are_warned_about(
    sqlite_site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    @sqlite_site.jobs.actor()
    def work(text: str) -> None: ...

    with caplog.at_level(logging.WARNING):
        work.send("x" * 100_000)
        assert not caplog.records
        work.send("x" * 102_400)
    assert "The arguments of work take 102406 bytes; send references instead of data" in caplog.text


@pytest.mark.requirement("C12", "C17")
def test_both_size_limits_can_be_set(make_site: MakeSite, sqlite_ledger: str) -> None:
    site = make_site(sqlite_ledger, UNDERSTUDY_MAX_PAYLOAD_BYTES=100)

    @site.jobs.actor()
    def work(text: str) -> None: ...

    with pytest.raises(PayloadTooLarge, match="100 are accepted"):
        work.send("x" * 100)


@pytest.mark.requirement("C01")
@pytest.mark.parametrize("delay", [-1, 10**18, True, "60", float("nan"), 3660 * 86_400_000 + 1], ids=repr)
def test_a_wrong_delay_is_refused(site: Site, work: Any, delay: Any) -> None:
    with pytest.raises(InvalidJob, match=r"delay is .*; it takes milliseconds from 0 to \d+ \(ten years\)"):
        work.send_with_options(delay=delay)
    with pytest.raises(InvalidJob, match="delay is"):
        site.jobs.send_many([work.message()], delay=delay)
    assert site.all_jobs() == []


@pytest.mark.requirement("C01", "C11", "C15", "Q02")
@pytest.mark.parametrize("delay", [60_000, timedelta(minutes=1), 3_000_000, 30 * 86_400_000])
def test_a_delay_of_any_length_waits_in_the_ledger(site: Site, work: Any, delay: Any) -> None:
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay / 1000
    job = site.job(work.send_with_options(delay=delay))
    assert job.state == "delayed"
    assert abs((job.run_at - job.created_at).total_seconds() - seconds) < 0.01


@pytest.mark.requirement("C01")
def test_a_delay_of_nothing_is_no_delay(sqlite_site: Site) -> None:
    @sqlite_site.jobs.actor()
    def work() -> None: ...

    assert sqlite_site.job(work.send_with_options(delay=0)).state == "waiting"
    assert sqlite_site.job(work.send_with_options(delay=timedelta(0))).state == "waiting"


@pytest.mark.requirement("C02")
@pytest.mark.parametrize("name", ["run_at", "expires_at"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (datetime(2030, 1, 1, 9), "which has no time zone; add one"),
        ("2030-01-01T09:00Z", "it takes an aware datetime"),
        (1_900_000_000, "it takes an aware datetime"),
        (datetime(2024, 12, 25, 9, tzinfo=UTC), "which has passed; it is 20"),
        (datetime.max.replace(tzinfo=UTC), "more than ten years away"),
    ],
    ids=repr,
)
def test_a_wrong_time_is_refused(site: Site, work: Any, name: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidJob, match=f"domain:work: {name} is .*{message}"):
        work.send_with_options(**{name: value})
    assert site.all_jobs() == []


@pytest.mark.requirement("C02")
def test_a_time_in_any_zone_is_kept_to_the_microsecond(site: Site, work: Any) -> None:
    time = (SOON + timedelta(microseconds=7)).astimezone(timezone(timedelta(hours=-7)))
    job = site.job(work.send_with_options(run_at=time, expires_at=time + timedelta(hours=1)))
    assert (job.state, job.run_at, job.expires_at) == ("delayed", time, time + timedelta(hours=1))


@pytest.mark.requirement("C02", "A30")
def test_a_time_that_has_just_passed_runs_at_once(site: Site, work: Any) -> None:
    message = work.send_with_options(run_at=datetime.now(UTC) - timedelta(seconds=5))
    assert [job.id for job in site.worker.drain()] == [message.message_id]


@pytest.mark.requirement("C01", "C02")
def test_delay_and_time_together_are_refused(site: Site, work: Any) -> None:
    with pytest.raises(InvalidJob, match="give delay or run_at, not both"):
        work.send_with_options(delay=1, run_at=SOON)
    assert site.all_jobs() == []


@pytest.mark.requirement("C06", "C07")
@pytest.mark.parametrize("priority", [1001, -1001, "1", 1.5, True], ids=repr)
def test_a_wrong_priority_is_refused(site: Site, work: Any, priority: Any) -> None:
    with pytest.raises(InvalidJob, match="priority is .*; it takes a whole number from -1000 to 1000"):
        work.send_with_options(priority=priority)
    assert site.all_jobs() == []


@pytest.mark.requirement("C05")
@pytest.mark.parametrize("name", ["dedup_key", "tenant", "owner", "correlation_id"])
@pytest.mark.parametrize("value", ["x" * 256, "nul \x00", "line\nbreak", 7], ids=repr)
def test_a_wrong_word_is_refused(site: Site, work: Any, name: str, value: Any) -> None:
    with pytest.raises(InvalidJob, match=f"{name} is .*; it takes a printable text"):
        work.send_with_options(**{name: value})
    assert site.all_jobs() == []


@pytest.mark.parametrize("tags", ["one", [1], ["x" * 101], ["a\x00"], list("x" * 51)], ids=repr)
def test_wrong_tags_are_refused(site: Site, work: Any, tags: Any) -> None:
    with pytest.raises(InvalidJob, match="[Tt]ag"):
        work.send_with_options(tags=tags)
    assert site.all_jobs() == []


def test_tags_are_kept_in_order(site: Site, work: Any) -> None:
    assert site.job(work.send_with_options(tags={"b", "a"})).tags == ["a", "b"]
    assert site.job(work.send()).tags is None


@pytest.mark.requirement("D02", "C2")
def test_three_retries_are_four_attempts(site: Site, work: Any) -> None:
    assert site.job(work.send_with_options(max_retries=3)).max_attempts == 4


@pytest.mark.requirement("C03")
@pytest.mark.parametrize("options", [{"max_retries": 3, "attempts": 3}, {"attempts": 0}, {"max_retries": -1}])
def test_wrong_attempts_are_refused(site: Site, work: Any, options: dict) -> None:
    with pytest.raises(InvalidJob, match="domain:work.send_with_options: "):
        work.send_with_options(**options)
    assert site.all_jobs() == []


@pytest.mark.requirement("B01")
def test_an_unknown_actor_is_refused_with_those_there_are(site: Site, work: Any) -> None:
    message = dramatiq.Message("work", "domain:wrok", (), {}, {})
    with pytest.raises(InvalidJob, match="No actor is named 'domain:wrok'. Declared are: domain:work"):
        site.jobs.send_many([message])
    with pytest.raises(InvalidJob, match="No actor is named"):
        site.jobs.broker.enqueue(message)
    assert site.all_jobs() == []


@pytest.mark.parametrize("transaction", ["yes", 2, None])
def test_the_transaction_option_takes_a_switch(sqlite_site: Site, transaction: Any) -> None:
    @sqlite_site.jobs.actor()
    def work() -> None: ...

    if transaction is None:
        work.send_with_options(transaction=None)
        return
    with pytest.raises(InvalidJob, match="transaction is .*; it takes True or False"):
        work.send_with_options(transaction=transaction)
    assert sqlite_site.all_jobs() == []


@pytest.mark.requirement("B11", "C13", "Q01")
def test_a_send_returns_the_job_s_id(site: Site, work: Any) -> None:
    message = work.send(7, key="value")
    job = site.jobs.get(message.message_id)
    assert isinstance(message, dramatiq.Message)
    assert (job.id, job.actor, job.queue, job.state) == (message.message_id, "domain:work", "work", "waiting")
    assert (job.args, job.kwargs, job.attempt, job.max_attempts) == ([7], {"key": "value"}, 0, 4)
    assert job.created_at == job.run_at or abs(job.created_at - job.run_at) < timedelta(milliseconds=10)
    assert site.jobs.get("unknown") is None


@pytest.mark.requirement("P02")
def test_tenant_and_owner_come_from_whoever_acts(site: Site, work: Any) -> None:
    with acting_as(Principal(subject="user-7", tenant="aster")):
        theirs = site.job(work.send())
        named = site.job(work.send_with_options(tenant="birch", owner="user-8"))
    assert (theirs.tenant, theirs.owner) == ("aster", "user-7")
    assert (named.tenant, named.owner) == ("birch", "user-8")
    assert (site.job(work.send()).tenant, site.job(work.send()).owner) == ("", "")


@pytest.mark.requirement("P02")
def test_tenant_and_owner_come_from_the_authenticated_request(site: Site, work: Any) -> None:
    asked = []

    @site.jobs.authorizer
    def who(request: Any) -> Principal | None:
        asked.append(request.path)
        return Principal(subject=request.headers["X-User"], tenant="aster")

    @site.app.get("/send")
    def send() -> list[str]:
        return [work.send().message_id, work.send().message_id]

    ids = site.app.test_client().get("/send", headers={"X-User": "user-9"}).json

    assert [(site.job(id).tenant, site.job(id).owner) for id in ids] == [("aster", "user-9")] * 2
    assert asked == ["/send"]  # once per request
    assert site.job(work.send()).tenant == ""


def test_jobs_sent_by_a_job_belong_to_its_tenant_and_its_cause(site: Site, work: Any) -> None:
    @site.jobs.actor()
    def parent() -> str:
        return work.send().message_id

    message = parent.send_with_options(tenant="aster", owner="user-7")
    parent_job, child = site.worker.run(message), None
    child = site.job(parent_job.result)

    assert (child.tenant, child.owner, child.parent_id) == ("aster", "user-7", parent_job.id)
    assert child.correlation_id == parent_job.correlation_id == parent_job.id


@pytest.mark.requirement("P10")
def test_a_job_s_children_and_theirs_belong_to_its_tenant_however_they_are_sent(site: Site, work: Any) -> None:
    @site.jobs.actor()
    def child() -> list[str]:
        return [work.send().message_id]

    @site.jobs.actor()
    def parent() -> list[str]:
        return [child.send().message_id, *(m.message_id for m in site.jobs.send_many([work.message(), work.message()]))]

    with acting_as(Principal(subject="user-7", tenant="aster")):
        message = parent.send()
    children = site.worker.run(message).result
    grandchildren = site.worker.run(children[0]).result

    born = [site.job(id) for id in (*children, *grandchildren)]
    assert [(job.tenant, job.owner) for job in born] == [("aster", "user-7")] * 4


@pytest.mark.requirement("P02", "P10")
def test_whom_the_code_acts_as_goes_before_the_request_and_before_the_running_job(site: Site, work: Any) -> None:
    @site.jobs.authorizer
    def who(request: Any) -> Principal:
        return Principal(subject="user-9", tenant="aster")

    @site.app.get("/send")
    def send() -> list[str]:
        with acting_as(Principal(subject="nightly", tenant="birch")):
            named = work.send().message_id
        return [named, work.send().message_id]

    @site.jobs.actor()
    def for_each_tenant() -> list[str]:
        with acting_as(Principal(subject="nightly", tenant="birch")):
            named = work.send().message_id
        return [named, work.send().message_id]

    by_request = site.app.test_client().get("/send").json
    by_job = site.worker.run(for_each_tenant.send_with_options(tenant="aster", owner="user-9")).result

    expected = [("birch", "nightly"), ("aster", "user-9")]
    assert [(site.job(id).tenant, site.job(id).owner) for id in by_request] == expected
    assert [(site.job(id).tenant, site.job(id).owner) for id in by_job] == expected


@pytest.mark.requirement("P04", "P10")
def test_whom_the_code_around_a_worker_acts_as_is_not_whom_its_jobs_act_as(site: Site, work: Any) -> None:
    @site.jobs.actor()
    def parent() -> str:
        return work.send().message_id

    with acting_as(Principal(subject="operator", tenant="birch")):
        child = site.worker.run(parent.send_with_options(tenant="aster")).result

    assert site.job(child).tenant == "aster"


@pytest.mark.requirement("C04")
def test_dramatiq_s_own_options_travel_with_the_job(site: Site, work: Any) -> None:
    job = site.job(work.send_with_options(time_limit=5000, max_age=60_000, priority=1))
    assert job.options == {"time_limit": 5000, "max_age": 60_000}


@pytest.mark.requirement("K07")
@pytest.mark.parametrize("how", ["send", "many", "joined"])
def test_missing_tables_are_named_with_the_remedy(make_site: MakeSite, database_url: str, how: str) -> None:
    site = make_site(database_url)

    @site.jobs.actor()
    def work() -> None: ...

    with pytest.raises(NotInitialised, match="tables are missing or old.*Run `flask db upgrade`"):
        match how:
            case "send":
                work.send()
            case "many":
                site.jobs.send_many([work.message()])
            case _:
                with site.app.app_context():
                    work.send_with_options(transaction=True)


def test_sending_before_init_app_says_what_was_forgotten() -> None:
    from flask_understudy import Understudy

    jobs = Understudy()

    @jobs.actor()
    def work() -> None: ...

    with pytest.raises(NotInitialised, match=r"Did you forget jobs.init_app\(app\)\?"):
        work.send()
